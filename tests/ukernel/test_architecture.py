"""docs/architecture.md is true: the modules that there are, and who imports whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
BOARD = {path.stem: path for path in (ROOT / "src" / "ucore").glob("*.py")}
HOST = {path.stem: path for path in (ROOT / "src" / "ukernel").glob("*.py") if path.stem != "__init__"}


def _imports(path: Path) -> set[str]:
    """Return the full names of what a file imports, anywhere in it, but for the sake of types."""
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(part for part in ("ukernel" if node.level else "", node.module) if part)
            found |= {f"{package}.{alias.name}" for alias in node.names}
    return found


def _nodes(node):
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child)


def _importers(name: str) -> set[str]:
    """Return the host modules that import this one, or anything out of it."""
    return {module for module, path in HOST.items() if any(f"{found}.".startswith(f"{name}.") for found in _imports(path))}


def test_the_page_names_every_module_and_no_other():
    section = re.search(r"^## The modules$(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert {name for name in (*BOARD, *HOST) if f"`{name}`" not in table} == set()
    named = set(re.findall(r"`(\w+)`", table))
    functions = {
        "open_pipe",
        "close_pipe",
        "is_pipe_open",
        "Pipe",
        "every",
        "producers",
        "subscribe",
        "collect",
        "live_plot",
        "stop_live",
    }
    assert named - functions - {"machine", "esp32", "ucore"} == {*BOARD, *HOST}


def test_every_file_and_module_that_a_newcomer_is_sent_to_is_there():
    section = re.search(r"^## Where the next thing goes$(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 8
    for _, change, proof in rows:
        first, *others = re.findall(r"`([\w/.]+)`", change)
        assert first in (*BOARD, *HOST) or list(ROOT.glob(first)) or list(ROOT.glob(f"src/*/{first}"))
        assert all((ROOT / "docs" / page).exists() for page in re.findall(r"[a-z]+\.md", proof))
        assert all(
            list(ROOT.glob(f"tests/**/{Path(test).name}"))
            for test in re.findall(r"`([\w/]+\.py)`", proof)
            if "benchmarks" not in test
        )


@pytest.mark.parametrize("name", sorted(BOARD))
def test_the_board_imports_nothing_of_the_host(name):
    assert not [found for found in _imports(BOARD[name]) if found.split(".")[0] == "ukernel"]


@pytest.mark.parametrize("name", sorted(set(HOST) - {"cpythonboard"}))
def test_the_host_imports_the_protocol_of_the_board_and_nothing_else(name):
    found = {found for found in _imports(HOST[name]) if found.split(".")[0] == "ucore"}
    assert all(f"{one}.".startswith("ucore.wire.") for one in found)


@pytest.mark.parametrize("name", ["errors", "settings", "tempfolder", "syntax", "cells", "source"])
def test_leaves_know_nobody_but_the_errors_and_the_syntax(name):
    found = {found for found in _imports(HOST[name]) if found.startswith("ukernel")}
    assert all(one.startswith(("ukernel.errors", "ukernel.syntax")) for one in found)


@pytest.mark.parametrize("name", ["kernel", "hub", "pykernel", "cpythonboard", "cli"])
def test_processes_are_imported_by_nobody(name):
    assert _importers(f"ukernel.{name}") == set()


def test_the_kernel_knows_boards_through_the_client_alone():
    kernel = re.search(r"^\| kernel \| (.*) \|$", PAGE, re.MULTILINE)[1]
    for name in set(re.findall(r"`(\w+)`", kernel)) & set(HOST):
        assert not _imports(HOST[name]) & {
            f"ukernel.{other}" for other in ("board", "ports", "stream", "session", "hub", "desk")
        }


def test_foreign_libraries_stay_where_they_belong():
    assert _importers("serial") == {"ports", "stream", "installer"}
    assert _importers("mpremote") == {"installer"}
    assert _importers("parso") == {"syntax"}


def test_who_only_reads_pipes_does_not_load_the_parser():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, ukernel.pipes; print('parso' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout == "False\n"
