"""Words below a host cell that failed because it is the board's: it imports what the firmware has, or uses a name that only board
cells have. It runs in the sub-kernel; the traceback stays IPython's.
"""

import re
import sys

from . import cells, signatures, syntax

__all__ = ["hint", "register"]

MAX_CELLS = 1000  # of the latest, in which a name is looked for
_CANNOT_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_SCOPES = ("funcdef", "classdef", "lambdef", "comp_for", "sync_comp_for")  # of parso's: what they bind is theirs
_CODE = ("funcdef", "classdef", "import_name", "import_from")
_TO_RUN = f"to run this cell on the board, begin it with `{cells.MAGIC}`."


def register(ip) -> None:
    """Have an IPython shell print the words below the traceback."""

    def look(result) -> None:
        error = result.error_in_exec
        said = hint(error, _board_cells(ip), ip.user_ns) if isinstance(error, (ImportError, NameError, AttributeError)) else ""
        if said:
            print(said, file=sys.stderr)

    ip.events.register("post_run_cell", look)


def _board_cells(ip) -> "list[str]":
    """Return the texts of this session's board cells, the latest first."""
    codes = ip.history_manager.input_hist_raw[: -MAX_CELLS - 1 : -1]
    return [code for code in codes if cells.MAGIC in code and cells.is_board_cell(code)]


def hint(error: BaseException, board_cells: "list[str]", user_names: dict) -> str:
    """Return what to say about an error of a host cell, empty where it has nothing to do with the board."""
    if isinstance(error, ModuleNotFoundError):
        return _about_module(error.name or "", board_cells)
    if isinstance(error, ImportError):
        match = _CANNOT_IMPORT.search(str(error))
        return _about_attribute(match[2], match[1]) if match else ""
    if isinstance(error, NameError):
        return _about_name(error.name or "", board_cells) if _is_of_cell(error, user_names) else ""
    if isinstance(error, AttributeError) and isinstance(error.obj, type(sys)):
        return _about_attribute(error.obj.__name__, error.name or "")
    return ""


def _about_module(name: str, board_cells: "list[str]") -> str:
    top = name.split(".")[0]
    if signatures.module_of(top):
        return f"`{top}` is a module of MicroPython: {_TO_RUN}"
    imports = re.compile(rf"^[ \t]*(?:from[ \t]+{re.escape(top)}\b|import\b[^#\n]*\b{re.escape(top)}\b)", re.MULTILINE)
    if any(imports.search(code) for code in board_cells):
        return f"Cells of the board import `{top}`: {_TO_RUN}"
    return ""


def _about_attribute(module: str, name: str) -> str:
    """The Python here has a module of that name, too, but not all that MicroPython's has."""
    known = signatures.module_of(module)
    return f"`{module}.{name}` is MicroPython's: {_TO_RUN}" if known and signatures.find(f"{known}.{name}") else ""


def _about_name(name: str, board_cells: "list[str]") -> str:
    if name == "ucore":
        return f"`ucore` is the board's: {_TO_RUN}"
    bound = next(filter(None, (_binding(code, name) for code in board_cells)), "")
    if bound:
        copies = f" Or copy its value: `{name} = %ucore pull {name}`." if bound == "value" else ""
        return f"`{name}` is on the board: {_TO_RUN}{copies}"
    full = signatures.Names(board_cells).full(name)
    if "." in full and signatures.find(full):  # by a `from machine import *`
        return f"`{name}` is on the board, from `{full}`: {_TO_RUN}"
    known = signatures.module_of(name)
    if known and known not in sys.stdlib_module_names:
        return f"`{name}` is a module of MicroPython: {_TO_RUN}"
    return ""


def _is_of_cell(error: BaseException, user_names: dict) -> bool:
    """Whether it is a cell's own line that failed, not one of a library that has such a name by chance."""
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return entry is not None and entry.tb_frame.f_globals is user_names


def _binding(code: str, name: str) -> str:
    """Return what a cell's text binds to a global name of the board's: "value", "code" (a function, a class, a module), or nothing."""
    if name not in code:
        return ""
    try:
        tree = syntax.read(cells.blank_magics(code)).tree(recover=True)
    except syntax.UnreadableError:
        return ""
    plain = syntax.plain_name(name)
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if node.type == "name" and node.value == plain and _is_global(node):
            definition = node.get_definition()
            return "code" if definition is not None and definition.type in _CODE else "value"
        nodes += getattr(node, "children", ())
    return ""


def _is_global(name) -> bool:
    """Whether a name of parso's is bound at the place where it stands, and is a global one there."""
    if name.parent.type == "global_stmt":
        return True
    if not name.is_definition() or name.parent.type == "trailer":  # an attribute
        return False
    node = name.parent if name.parent.type in ("funcdef", "classdef") and name.parent.name is name else name
    while (node := node.parent) is not None:
        if node.type in _SCOPES:
            return False
    return True
