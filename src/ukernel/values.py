"""Values on their way between the host and a board, as source."""

import ast

__all__ = ["assignment", "literal", "parse_value"]

MAX_DEPTH = 50  # of a value's lists in lists; a board's stack holds no more


def assignment(name: str, text: str) -> str:
    """Return Python source that gives the name a board's value, known by its repr; the text itself if it is no value."""
    try:
        value = parse_value(text)
    except ValueError:
        value = text
    return f"{name} = {literal(value)}"


def parse_value(text: str) -> object:
    """Return the value that a board's repr stands for: what `literal` takes; an array is a list, a bytearray bytes.

    Raises ValueError for anything else.
    """
    try:
        return _evaluate(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(text) from None


def _evaluate(node: ast.expr) -> object:
    """`ast.literal_eval`, with the numbers that have a name instead of a literal."""
    if isinstance(node, ast.Name) and node.id in ("nan", "inf"):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -_evaluate(node.operand)  # type: ignore[operator]
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(_evaluate(item) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("array", "bytearray") and node.args:
        return _evaluate(node.args[-1])
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_evaluate(key): _evaluate(value) for key, value in zip(node.keys, node.values)}
    return ast.literal_eval(node)


def literal(value: object, depth: int = 0) -> str:
    """Return source for a value: None, bool, int, float, str, bytes, and lists, tuples, sets and dicts of them.

    NumPy's arrays and numbers become lists and numbers. Raises TypeError for anything else.
    """
    if depth > MAX_DEPTH:
        raise TypeError(f"lists in lists, more than {MAX_DEPTH} deep")
    for kind in (bool, int, str, bytes):
        if isinstance(value, kind):
            return kind.__repr__(value)  # a subclass, such as an enum, may say something else
    if value is None:
        return "None"
    if isinstance(value, float):
        text = float.__repr__(value)
        return text if text[-1].isdigit() else f"float({text!r})"
    if isinstance(value, (list, tuple, set, frozenset)):
        items = ", ".join([literal(item, depth + 1) for item in value])
        if isinstance(value, (set, frozenset)):
            return f"{{{items}}}" if value else "set()"
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        items = ", ".join([f"{literal(key, depth + 1)}: {literal(item, depth + 1)}" for key, item in value.items()])
        return f"{{{items}}}"
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return literal(value.tolist(), depth + 1)
    raise TypeError(f"{type(value).__name__}")
