"""What holds for every test: who runs beside whom, what `--fast` leaves out, and that nothing is left behind (see `leftovers`).

Under pytest-xdist a group of tests runs on one worker, one test after the other. A file is a group: its tests share what they set up.
Some files are a group together, because they share more than that, or because they would disturb each other.
"""

import signal
from pathlib import Path

import pytest
from leftovers import pytest_configure, pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown  # noqa: F401 - pytest calls them

# A shell has its background jobs ignore Ctrl-C, and so would all that they start: here many tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
# Real kernels, browsers and chips; boards that are built, booted and mistreated again and again; runs of pytest in pytest.
SLOW = {
    HERE / path
    for path in (
        "browser",
        "chip",
        "endtoend",
        "ukernel/boards/test_file_faults.py",
        "ukernel/charts/test_picture.py",
        "ukernel/hub/test_full_memory.py",
        "ukernel/install/test_pack.py",
        "ukernel/recordings/test_recording.py",
        "ukernel/recordings/test_with_a_board.py",
        "ukernel/test_leftovers.py",
        "ukernel/virtual/test_boot.py",
        "ukernel/virtual/test_firmware.py",
        "ukernel/virtual/test_process.py",
    )
}
# A name for the group of a folder or of several files.
GROUPS = {
    "chip": ["chip"],  # they share the emulated chip, which is busy with one of them
    "browser": ["browser"],  # they share a JupyterLab
    "timing": [  # they look at how long something takes, which none of the others beside it makes longer
        "endtoend/test_coarse_slices.py",
        "endtoend/test_line_faults.py",
        "endtoend/test_line_speed.py",
        "endtoend/test_pipe_times.py",
        "endtoend/test_timers.py",
        "ukernel/link/test_emulator.py",
    ],
}
_GROUP_OF = {HERE / path: group for group, paths in GROUPS.items() for path in paths}
# These begin first, in this order, so that at the end no worker waits for another one's long group.
LONGEST = [
    "chip",
    "browser",
    "timing",
    "endtoend/test_quiet_end.py",
    "endtoend/test_hanging_board.py",
    "endtoend/test_linemagic.py",
    "ukernel/virtual/test_process.py",
    "endtoend/test_pipes_page.py",
    "endtoend/test_examples.py",
    "endtoend/test_endless_main.py",
    "ukernel/charts/test_chart.py",
    "ukernel/virtual/test_simulated.py",
    "ukernel/kernel/test_kernel_process.py",
    "ukernel/client/test_connection.py",
    "ukernel/cli/test_repl.py",
    "ukernel/hub/test_full_memory.py",
]


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="leave out real kernels, browsers, chips and the like")
    parser.addoption("--board", metavar="PORT", help="run what is marked board, on the board at this port, and nothing else")


def pytest_ignore_collect(collection_path, config):
    return True if config.getoption("--fast") and collection_path in SLOW else None  # every worker would import it all


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each group is one worker's. (pytest-xdist's own groups are part of a test's id, which pytest 9.2 does not let it change.)"""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(config.rootpath / nodeid.split("::")[0])

    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--fast"):
        kept, left = [], []
        for item in items:
            (left if item.get_closest_marker("slow") else kept).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept
    if port := config.getoption("--board"):
        _use_board(port, items)
    for item in items:
        if item.get_closest_marker("micropython") and not port:
            item.fixturenames.insert(0, "micropython")
    items.sort(key=lambda item: _turn(item.path))


def _use_board(port, items):
    # Those that open the port themselves are among the LONGEST: they have it before a hub holds it for the others' notebooks.
    from rig import Rig

    Rig.board_port = port
    for item in items:
        if not item.get_closest_marker("board"):
            item.add_marker(pytest.mark.skip(reason="not for --board: it brings a board of its own, or needs none"))


def group_of(path: Path) -> str:
    """Return the name of the group that the tests of a file belong to."""
    places = [path, *path.parents]
    return next((_GROUP_OF[place] for place in places if place in _GROUP_OF), path.relative_to(HERE).as_posix())


def _turn(path: Path) -> "tuple[int, bool]":
    """Return when a file's tests begin: the lowest first."""
    group = group_of(path)
    return (LONGEST.index(group) if group in LONGEST else len(LONGEST), not SLOW & {path, *path.parents})


@pytest.fixture(scope="session")
def board_port(request):
    """The port that `--board` names; None where tests bring boards of their own."""
    return request.config.getoption("--board")


@pytest.fixture(scope="session")
def micropython():
    """The virtual board's MicroPython, built if need be; a test that needs it is skipped where it cannot be built."""
    from ukernel.virtual import firmware

    try:
        return firmware.build()
    except firmware.FirmwareError as error:
        pytest.skip(f"no MicroPython here: {error}")
