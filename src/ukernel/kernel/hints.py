"""Words below a host cell that failed because it is the board's: it imports what the firmware has, or uses a name that only board
cells have. It runs in the sub-kernel; the traceback stays IPython's.
"""

import difflib
import importlib
import linecache
import re
import sys
import types
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ukernel.boards import signatures, syntax
from ukernel.boards.firmwaremodules import module_of

from . import cellmagic

__all__ = ["hint", "register"]

MAX_CELLS = 1000  # of the latest, in which a name is looked for
_CANNOT_IMPORT = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")
_NO_MAGIC = re.compile(r"magic (?:function )?`(%%?)(\w+)` not found")  # of IPython's
_SCOPES = ("funcdef", "classdef", "lambdef", "comp_for", "sync_comp_for")  # of parso's: what they bind is theirs
_CODE = ("funcdef", "classdef", "import_name", "import_from", "with_stmt")  # what they bind cannot be pulled
_VALUES = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, deque, array, type(None))
_VALUE_TYPES = frozenset(kind.__name__ for kind in _VALUES)  # what can be pulled, see values.WHAT_CAN
_MAKE_OBJECTS = ("ucore.open_pipe", "ucore.every", "open", "iter", "asyncio.create_task")
_WITHOUT_IMPORT = ("const",)  # what MicroPython's compiler knows of itself
_TO_RUN = f"to run this cell on the board, begin it with `{cellmagic.MAGIC}`."


def register(ip: Any, type_of: Callable[[str], str]) -> None:
    """Have an IPython shell print the words below the traceback. type_of: tells the type of a name on the board, see `linemagic.register`."""
    from IPython.core.error import UsageError

    def look(result: Any) -> None:
        error = result.error_in_exec
        known = (ImportError, NameError, AttributeError, UsageError)
        said = hint(error, _board_cells(ip), ip.user_ns, type_of) if isinstance(error, known) else ""
        if said:
            print(said, file=sys.stderr)

    ip.events.register("post_run_cell", look)


def _board_cells(ip: Any) -> list[str]:
    """Return the texts of this session's board cells, the latest first."""
    codes = ip.history_manager.input_hist_raw[: -MAX_CELLS - 1 : -1]
    return [code for code in codes if cellmagic.MAGIC in code and cellmagic.is_board_cell(code)]


def hint(
    error: BaseException, board_cells: list[str], user_names: dict[str, Any], type_of: Callable[[str], str] = lambda name: ""
) -> str:
    """Return what to say about an error of a host cell, empty where it has nothing to do with the board."""
    if isinstance(error, ModuleNotFoundError):
        return _about_module(error.name or "", board_cells)
    if isinstance(error, ImportError):
        match = _CANNOT_IMPORT.search(str(error))
        return _about_attribute(match[2], match[1]) if match else ""
    if isinstance(error, NameError):
        entry = _last_entry(error)
        if entry is None or entry.tb_frame.f_globals is not user_names:
            return ""  # of a library that has such a name by chance
        line = linecache.getline(entry.tb_frame.f_code.co_filename, entry.tb_lineno)
        return _about_name(error.name or "", line, board_cells, type_of)
    if isinstance(error, AttributeError) and isinstance(error.obj, type(sys)):
        return _about_attribute(error.obj.__name__, error.name or "")
    misspelt = _NO_MAGIC.search(str(error))
    if misspelt and difflib.get_close_matches(misspelt[2].lower(), ["ucore"], cutoff=0.7):
        return f"Did you mean `{misspelt[1]}ucore`?"
    return ""


def _about_module(name: str, board_cells: list[str]) -> str:
    top = name.split(".")[0]
    if module_of(top):
        return f"`{top}` is a module of MicroPython: {_TO_RUN}"
    imports = re.compile(rf"^[ \t]*(?:from[ \t]+{re.escape(top)}\b|import\b[^#\n]*\b{re.escape(top)}\b)", re.MULTILINE)
    if any(imports.search(code) for code in board_cells):
        return f"Cells of the board import `{top}`: {_TO_RUN}"
    return ""


def _about_attribute(module: str, name: str) -> str:
    """The Python here has a module of that name, too, but not all that MicroPython's has."""
    known = module_of(module)
    return f"`{module}.{name}` is MicroPython's: {_TO_RUN}" if known and signatures.find(f"{known}.{name}") else ""


def _about_name(name: str, line: str, board_cells: list[str], type_of: Callable[[str], str]) -> str:
    """What to say about a name that no cell of the host has bound. line: where it was used, empty where that is not known."""
    if name == "ucore":
        return f"`ucore` is the board's: {_TO_RUN}"
    if name in _WITHOUT_IMPORT:
        return f"`{name}` is MicroPython's: {_TO_RUN}"
    if name in sys.stdlib_module_names and module_of(name):
        used = re.search(rf"\b{re.escape(name)}\.(\w+)", line)
        if used and not hasattr(importlib.import_module(name), used[1]) and (said := _about_attribute(name, used[1])):
            return said  # to import it here would not help
        or_here = f" Or `import {name}` in this cell, for the computer's."
    else:
        or_here = ""
    bound = next(filter(None, (_binding(code, name) for code in board_cells)), None)
    if bound:
        return f"`{name}` is on the board: {_TO_RUN}" + (or_here or _how_to_copy(name, bound, type_of(name), board_cells))
    full = signatures.Names(board_cells).full(name)
    if "." in full and signatures.find(full):  # by a `from machine import *`
        return f"`{name}` is on the board, from `{full}`: {_TO_RUN}"
    known = module_of(name)
    if known and known not in sys.stdlib_module_names:
        return f"`{name}` is a module of MicroPython: {_TO_RUN}"
    kind = type_of(name)  # perhaps main.py has set it, or another notebook
    return f"`{name}` is on the board: {_TO_RUN}" + (or_here or _how_to_copy(name, _Bound(), kind, board_cells)) if kind else ""


def _how_to_copy(name: str, bound: "_Bound", kind: str, board_cells: list[str]) -> str:
    """The end of a hint: how the value comes to the host, where it is one that can. kind: its type, where the board has told it."""
    kind = kind.rpartition(".")[2]
    made_by = "" if kind else bound.made_by
    full = signatures.Names(board_cells).full(made_by) if made_by else ""
    if kind == "Pin" or full == "machine.Pin":
        return f" Or copy its level: `level = %ucore pull {name}.value()`."
    if made_by:
        if (full or made_by) in _MAKE_OBJECTS or made_by.rpartition(".")[2][:1].isupper():
            return ""
        return f" Or copy its value, if that is of numbers and text: `{name} = %ucore pull {name}`."
    is_value = kind in _VALUE_TYPES if kind else bound.is_value
    return f" Or copy its value: `{name} = %ucore pull {name}`." if is_value else ""


def _last_entry(error: BaseException) -> types.TracebackType | None:
    """Return the traceback's entry for the line that failed."""
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return entry


class _Bound(NamedTuple):
    """What a name stands for, as far as the text says. made_by: the dotted name of what was called for it."""

    is_value: bool = False  # none: a function, a class, a module, an object of the board's
    made_by: str = ""


def _binding(code: str, name: str) -> "_Bound | None":
    """Return what a cell's text binds to a global name of the board's."""
    if name not in code:
        return None
    try:
        tree = syntax.read(cellmagic.blank_magics(code)).tree(recover=True)
    except syntax.UnreadableError:
        return None
    plain = syntax.plain_name(name)
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if node.type == "name" and node.value == plain and _is_global(node):
            return _bound(node)
        nodes += getattr(node, "children", ())
    return None


def _bound(name: syntax.Node) -> _Bound:
    definition = name.get_definition()
    if definition is None or definition.type not in ("expr_stmt", "namedexpr_test"):
        return _Bound(definition is None or definition.type not in _CODE)
    value = definition.children[-1]
    if value.type == "annassign":
        value = value.children[-1]
    if value.type == "testlist_star_expr" and name.parent.type == "testlist_star_expr":  # a, b = 1, 2
        places = name.parent.children
        if len(places) == len(value.children):
            value = value.children[places.index(name)]
    if value.type == "lambdef":
        return _Bound()
    if value.type == "atom_expr" and value.children[-1].type == "trailer" and value.children[-1].children[0].value == "(":
        return _Bound(made_by="".join(part.get_code(include_prefix=False) for part in value.children[:-1]))
    return _Bound(is_value=True)


def _is_global(name: syntax.Node) -> bool:
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
