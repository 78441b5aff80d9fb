"""The syntax trees of the modules that are packed: several become one, and what the board does not need is left out."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar

from .names import DEFINITIONS, FOREIGN, PUBLIC, arguments, assigned, bound

__all__ = ["Fixed", "Fold", "Module", "Resolve", "Strip", "drop_methods", "drop_unused"]


Scope: TypeAlias = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Fixed: TypeAlias = Mapping[str, bool | int]
_ScopeT = TypeVar("_ScopeT", bound=Scope)
_FunctionT = TypeVar("_FunctionT", ast.FunctionDef, ast.AsyncFunctionDef)


class Strip(ast.NodeTransformer):
    """Takes out docstrings and annotations."""

    def _body(self, node: _ScopeT) -> _ScopeT:
        self.generic_visit(node)
        body = node.body
        if (
            body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            body.pop(0)
            if not body and not isinstance(node, ast.Module):
                body.append(ast.Pass())
        return node

    visit_Module = visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _body


class Module:
    """One source module: its global names, those that are constants, and where its imports come from."""

    def __init__(self, name: str, tree: ast.Module, fixed: Fixed):
        self.name = name
        self.tree = tree
        self.globals: set[str] = set()
        self.constants: dict[str, ast.Constant] = {}
        self.imports: list[ast.Import | ast.ImportFrom] = []  # of other packages
        self.aliases: dict[str, str] = {}  # local name -> our module
        self.borrowed: dict[str, tuple[str, str]] = {}  # local name -> (our module, its name)
        body = []
        waiting: list[ast.stmt] = list(tree.body)
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ucore":
                for alias in node.names:
                    if node.module == "ucore":
                        self.aliases[alias.asname or alias.name] = alias.name
                    else:
                        self.borrowed[alias.asname or alias.name] = (node.module.split(".")[1], alias.name)
            elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id in fixed:
                waiting[:0] = node.body if fixed[node.test.id] else node.orelse
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    self.imports.append(
                        ast.Import([alias])
                        if isinstance(node, ast.Import)
                        else ast.ImportFrom(node.module, [alias], node.level)
                    )
            else:
                body.append(node)
                if isinstance(node, DEFINITIONS):
                    self.globals.add(node.name)
                else:
                    self.globals.update(assigned(node))
        tree.body = body
        self.foreign = {alias.asname or alias.name for foreign in self.imports for alias in foreign.names}

    def find_constants(self, fixed: Fixed) -> None:
        """Take the constants out of the tree; ``fixed``: those that are settled by the board."""
        stored = [node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        kept = []
        known: dict[str, bool | int | bytes | str] = {}
        for node in self.tree.body:
            names = assigned(node)
            if isinstance(node, ast.Assign) and len(node.targets) == len(names) == 1 and stored.count(names[0]) == 1:
                name = names[0]
                if name in fixed:
                    known[name] = fixed[name]
                    self.constants[name] = ast.Constant(fixed[name])
                    continue
                try:
                    value = eval(
                        compile(ast.Expression(node.value), "constant", "eval"), {"__builtins__": {"ord": ord}}, dict(known)
                    )
                except Exception:
                    value = None
                # Mutable values, and the variables that start as a number, stay.
                if isinstance(value, (int, bytes, str)) and name.lstrip("_").isupper():
                    known[name] = value
                    self.constants[name] = ast.Constant(value)
                    continue
            kept.append(node)
        self.tree.body = kept


class Resolve(ast.NodeTransformer):
    """Gives every global name its one merged name, and puts constants in place."""

    def __init__(self, module: Module, modules: Mapping[str, Module]):
        self._module = module
        self._modules = modules
        self._locals: set[str] = set()

    def run(self) -> list[ast.stmt]:
        """Return the module's statements."""
        return [self.visit(node) for node in self._module.tree.body]

    def _find(self, module: str, name: str) -> ast.Name | ast.Constant:
        owner = self._modules[module]
        if name in owner.borrowed:
            return self._find(*owner.borrowed[name])
        if name in owner.constants:
            return owner.constants[name]
        if name in owner.foreign:
            return ast.Name(name, ast.Load())
        return ast.Name(_merged(module, name), ast.Load())

    def _function(self, node: _FunctionT) -> _FunctionT:
        outer = self._locals
        self._locals = outer | bound(node)
        if not outer and node.name in self._module.globals and node in self._module.tree.body:
            node.name = _merged(self._module.name, node.name)
        self.generic_visit(node)
        self._locals = outer
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        outer = self._locals
        self._locals = outer | {argument.arg for argument in arguments(node)}
        self.generic_visit(node)
        self._locals = outer
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if node in self._module.tree.body:
            node.name = _merged(self._module.name, node.name)
        self.generic_visit(node)
        return node

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [_merged(self._module.name, name) for name in node.names]
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._locals:
            return node
        if node.id in self._module.borrowed:
            return self._find(*self._module.borrowed[node.id])
        if node.id in self._module.globals:
            found = self._find(self._module.name, node.id)
            return ast.Name(found.id, node.ctx) if isinstance(found, ast.Name) else found
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        value = node.value
        if isinstance(value, ast.Name) and value.id in self._module.aliases and value.id not in self._locals:
            return self._find(self._module.aliases[value.id], node.attr)
        self.generic_visit(node)
        return node


def _merged(module: str, name: str) -> str:
    return name if name in PUBLIC else f"{name}__{module}"


class Fold(ast.NodeTransformer):
    """Computes what is known beforehand, and drops the branches that are never taken."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant):
            return ast.Constant(eval(compile(ast.fix_missing_locations(ast.Expression(node)), "fold", "eval")))
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.operand, ast.Constant) and isinstance(node.op, ast.Not):
            return ast.Constant(not node.operand.value)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        stop = isinstance(node.op, ast.Or)
        values: list[ast.expr] = []
        for value in node.values:
            if isinstance(value, ast.Constant) and isinstance(value.value, bool):
                if value.value is stop:
                    values.append(value)
                    break
                continue
            values.append(value)
        return ast.Constant(not stop) if not values else values[0] if len(values) == 1 else ast.BoolOp(node.op, values)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_Try(self, node: ast.Try) -> ast.Try | list[ast.stmt]:
        self.generic_visit(node)
        return node if node.handlers or node.finalbody else node.body

    def visit(self, node: ast.AST) -> Any:
        folded = super().visit(node)
        if getattr(folded, "body", None) == []:
            folded.body = [ast.Pass()]
        return folded


def drop_unused(tree: ast.Module) -> bool:
    """Leave out the functions and variables that nobody uses; True where there were any."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    used |= PUBLIC
    before = len(tree.body)
    tree.body = [node for node in tree.body if not (names := _defined(node)) or used.intersection(names)]
    return len(tree.body) < before


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, DEFINITIONS):
        return [node.name]
    return assigned(node)


def drop_methods(trees: list[ast.Module]) -> bool:
    """Leave out the methods whose name stands nowhere; True where there were any."""
    used = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | PUBLIC | FOREIGN
    dropped = False
    for owner in [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]:
        unused = [
            node
            for node in owner.body
            if isinstance(node, ast.FunctionDef) and node.name not in used and not node.name.startswith("__")
        ]
        owner.body = [node for node in owner.body if node not in unused]
        dropped = dropped or bool(unused)
    return dropped
