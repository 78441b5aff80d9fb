"""A run of the tests leaves nothing behind: see `leftovers`, which looks. `--fast` is for between two edits."""

from pathlib import Path

from leftovers import pytest_configure, pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown  # noqa: F401 - pytest calls them

# Real kernels, browsers and chips.
SLOW = {Path(__file__).parent / folder for folder in ("browser", "chip", "endtoend")}


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="leave out real kernels, browsers, chips, and what is marked slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--fast"):
        kept, left = [], []
        for item in items:
            (left if item.get_closest_marker("slow") or SLOW & {*item.path.parents} else kept).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept
