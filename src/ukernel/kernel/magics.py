"""The magics of the Python side: ``%%ucore``, which there does nothing, and ``%ucore``.

The switchboard sends every board cell to the sub-kernel as well, so that one counter and one history serve both.
"""

from . import cellmagic, hints, linemagic

__all__ = ["load_ipython_extension"]

_PLACE = f"{cellmagic.MAGIC} belongs on the first line of a cell of its own: the whole cell then runs on the board."


def load_ipython_extension(ip) -> None:
    """Register the magics with an IPython shell."""
    ip.input_transformers_cleanup.append(_move_magic_to_first_line)

    def ucore(line, cell):
        _ucore_cell(ip, line, cell)

    ucore.__doc__ = f"Run the cell on the board.\n\n{cellmagic.usage()}"
    ip.register_magic_function(ucore, "cell", "ucore")
    # IPython takes a cell magic that is not at the cell's start for a line magic of that name.
    ip.register_magic_function(_misplaced, "line", cellmagic.MAGIC[1:])
    hints.register(ip, linemagic.register(ip))


def _move_magic_to_first_line(lines: list[str]) -> list[str]:
    """Move the magic to the first line, where IPython wants it, from below blank lines, comments, and `%%time`.

    What those do is the switchboard's; and `_ucore_cell` reads the cell as it was written. IPython wants no tab after the magic, either.
    """
    code = "".join(lines)
    found = cellmagic.find_magic(code)
    if not found:
        return lines
    # IPython refuses a cell magic with nothing below it; on the board, that is a cell which does nothing.
    empty = [] if code[found[1] :].strip() else ["\n", "\n"]
    options = code[found[0] + len(cellmagic.MAGIC) : found[1]].strip()
    return [
        f"{cellmagic.MAGIC} {options}".rstrip() + code[found[1] : found[1] + 1],
        *code[found[1] + 1 :].splitlines(keepends=True),
        *empty,
    ]


def _misplaced(line: str) -> None:
    from IPython.core.error import UsageError

    raise UsageError(_PLACE)


def _ucore_cell(ip, line: str, cell: str) -> None:
    from IPython.core.error import UsageError

    code = ip.kernel.get_parent("shell").get("content", {}).get("code", "")
    try:
        board_cell = cellmagic.parse(code)
    except cellmagic.UsageError as error:
        raise UsageError(str(error)) from None
    if board_cell is None:  # called from Python code, as magics do that run a cell
        raise UsageError(_PLACE)
