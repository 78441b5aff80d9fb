"""The pipes page, and the code blocks that stand on it."""

import ast
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "data" / "pipes-page.txt").read_text(encoding="utf-8")
# They would pass for code.
_HEADINGS = ("ucore.close_pipe(name)", "Pipe.write(data)", "Pipe.close()", "stop_live(name=None)")
# One block may follow another without a word between them; the page then names the side.
_NEXT_SIDE = ("%%ucore", "# host", "# microcontroller")


def find_blocks() -> list[str]:
    """Return the page's code blocks, top down. The page is plain text: code is what Python can read."""
    blocks: list[list[str]] = []
    inside = False
    for line in TEXT.splitlines():
        if _is_code(line) or (inside and line.startswith("    ")):
            if not inside or line.startswith(_NEXT_SIDE):
                blocks.append([])
            blocks[-1].append(line)
            inside = True
        elif inside and not line.strip():
            blocks[-1].append("")
        else:
            inside = False
    return ["\n".join(block).rstrip() for block in blocks]


def _is_code(line: str) -> bool:
    if line == "%%ucore" or line.startswith(("%matplotlib", "# ")):
        return True
    if not line.strip() or line.startswith(" ") or line in _HEADINGS:
        return False
    try:
        (statement,) = ast.parse(line + " pass" * line.endswith(":")).body
    except (SyntaxError, ValueError):
        return False
    return not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Name))  # a heading of one word
