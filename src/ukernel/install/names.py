"""The names in a packed package: which must stay, and which short ones the others get.

The lists are in ``names.ini`` beside this file.
"""

from __future__ import annotations

import ast
import builtins
import configparser
from pathlib import Path
from typing import TypeAlias

__all__ = ["DEFINITIONS", "FOREIGN", "PUBLIC", "Function", "arguments", "assigned", "bound", "rename_texts", "shorten"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_lists = configparser.ConfigParser()
_lists.optionxform = str  # type: ignore[assignment]  # names are what they are
_lists.read_string(Path(__file__).with_suffix(".ini").read_text(encoding="utf-8"))
_TEXTS = dict(_lists["texts"])
# Never renamed.
PUBLIC = {*_lists["public"]["names"].split(), *_lists["called"]["names"].split(), *_TEXTS.values()}
FOREIGN = set(_lists["foreign"]["names"].split())  # attributes that are not ours
_KEYWORDS = set(_lists["keywords"]["names"].split())
PINNED = dict(_lists["pinned"])
_ROM = _lists["rom"]["names"].split() + _lists["math"]["names"].split()  # every firmware knows them: the best first


def bound(function: Function) -> set[str]:
    """The names local to a function: arguments and what is assigned in it, its inner scopes included."""
    names = {argument.arg for argument in arguments(function)}
    free: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, DEFINITIONS) and node is not function:
            names.add(node.name)
            if not isinstance(node, ast.ClassDef):
                names.update(argument.arg for argument in arguments(node))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            free.update(node.names)
    return names - free


def arguments(function: Function) -> list[ast.arg]:
    """The arguments of a function, of all kinds."""
    found = function.args
    return [*found.posonlyargs, *found.args, *found.kwonlyargs, *filter(None, (found.vararg, found.kwarg))]


def assigned(node: ast.stmt) -> list[str]:
    """The global names that a statement of a module assigns: ours are plain names, one or several."""
    return [target.id for target in node.targets if isinstance(target, ast.Name)] if isinstance(node, ast.Assign) else []


def shorten(trees: list[ast.Module], imported: list[str]) -> None:
    """Rename what is ours: attributes of our classes (in all files alike), globals, and arguments that are given by position.

    What we import has a name in the firmware, too: ``imported`` are those that an attribute may take.
    """
    attributes = [node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    ours: set[str] = set()
    for node in [node for tree in trees for node in ast.walk(tree)]:
        if isinstance(node, ast.ClassDef):
            ours.update(part.name for part in node.body if isinstance(part, ast.FunctionDef))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            ours.add(node.attr)
    ours = {name for name in ours - PUBLIC - FOREIGN - set(_ROM) if not name.startswith("__")}
    pinned = {name: short for name, short in PINNED.items() if name in ours}
    ours -= pinned.keys()
    free = [name for name in dict.fromkeys([*_ROM, *imported]) if name not in attributes and name not in pinned.values()]
    always, often = (
        {node.attr for tree in part for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for part in (trees[:2], trees[2:3])
    )
    # What is always in memory chooses first, then the pipes: the best names are a byte each.
    order = sorted(ours, key=lambda name: (name not in always, name not in often, -attributes.count(name), name))
    renamed = dict(zip(order, free)) | pinned
    for tree in trees:
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names = [node.name for node in tree.body if isinstance(node, DEFINITIONS)]
        names += [name for node in tree.body for name in assigned(node)]
        free = [name for name in _ROM if name not in used and name not in names]
        short = dict(zip([name for name in dict.fromkeys(names) if name not in PUBLIC], free))
        methods = {part for node in tree.body if isinstance(node, ast.ClassDef) for part in node.body}
        for node in ast.walk(tree):
            if isinstance(node, DEFINITIONS):
                node.name = (renamed if node in methods else short).get(node.name, node.name)
            elif isinstance(node, ast.Global):
                node.names = [short.get(name, name) for name in node.names]
            elif isinstance(node, ast.Name):
                node.id = short.get(node.id, node.id)
            elif isinstance(node, ast.Attribute):
                node.attr = renamed.get(node.attr, node.attr)
        keywords = _KEYWORDS | {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                _shorten_arguments(node, keywords)


def rename_texts(tree: ast.Module) -> ast.Module:
    """Rename the functions that are called by their names' text, and the texts; return the tree."""
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            function.name = _TEXTS.get(function.name, function.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = _TEXTS.get(node.value, node.value)
    return tree


def _shorten_arguments(function: ast.FunctionDef, keywords: set[str]) -> None:
    inner = [node for node in ast.walk(function) if isinstance(node, (ast.FunctionDef, ast.Lambda)) and node is not function]
    taken = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    taken.update(argument.arg for node in inner for argument in arguments(node))
    free = [name for name in _ROM if name not in taken and not hasattr(builtins, name)]
    names = {}
    for argument in arguments(function):
        if argument.arg in _ROM or argument.arg in keywords or argument.arg in PUBLIC:
            continue
        if not any(argument.arg in bound(node) for node in inner):
            names[argument.arg] = free.pop(0)
            argument.arg = names[argument.arg]
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
