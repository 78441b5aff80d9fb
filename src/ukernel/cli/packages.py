"""`ucore mip`: the packages of a board, as `Board.packages` has them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ukernel.errors import UsageError

from . import output
from .commands import Entry, LazyGroup
from .completion import complete_packages
from .options import command, open_board

if TYPE_CHECKING:
    from ukernel.boards.packages import Package

__all__ = ["freeze", "install", "list_", "mip", "remove"]

mip = LazyGroup(
    "mip",
    (
        Entry("install", "packages", "install packages, and those that they need"),
        Entry("list", "packages", "list the packages on a board"),
        Entry("remove", "packages", "remove packages"),
        Entry("freeze", "packages", "print a list of packages, with versions and hashes, for `install -r`"),
    ),
    help="The packages of a board.",
)


@command("install", board=True, json=True)
@click.argument("names", nargs=-1, metavar="PACKAGE...")
@click.option("-r", "--requirements", "pinned", type=click.Path(readable=False), help="A list that `freeze` has printed.")
@click.option("--index", metavar="URL", help="Where packages are looked up. Default: micropython-lib.")
@click.option("--target", metavar="FOLDER", help="The board's folder for them. Default: its lib.")
@click.option("--mpy/--no-mpy", default=True, help="Bytecode where the index has it, or sources.")
def install(
    board: str | None,
    as_json: bool,
    names: tuple[str, ...],
    pinned: str | None,
    index: str | None,
    target: str | None,
    mpy: bool,
) -> None:
    """Install packages: NAME, NAME@VERSION, github:ORG/REPO[/PATH][@REF], a URL, or a path here with a slash in it, as ./folder."""
    if not names and pinned is None:
        raise UsageError("What is to be installed? `ucore mip install NAME`, or -r and a list.")
    text = Path(pinned).read_text(encoding="utf-8") if pinned is not None else None
    installed: list[Package] = []
    with open_board(board) as connected:
        if names:
            installed += connected.packages.install(*names, index=index, target=target, mpy=mpy, report=output.say)
        if text is not None:
            installed += connected.packages.install_pinned(text, report=output.say)
    _show(installed, as_json)


@command("list", board=True, json=True)
def list_(board: str | None, as_json: bool) -> None:
    """List the packages on a board."""
    with open_board(board) as target:
        found = target.packages.list()
    if not found and not as_json:
        print("The board has no packages. `ucore mip install NAME` brings one.")
        return
    _show(found, as_json)


@command("remove", board=True)
@click.argument("names", nargs=-1, required=True, metavar="PACKAGE...", shell_complete=complete_packages)
@click.option("--force", is_flag=True, help="Also what others need.")
def remove(board: str | None, names: tuple[str, ...], force: bool) -> None:
    """Remove packages from a board; what they needed stays."""
    from ukernel.boards.listing import describe_removed

    with open_board(board) as target:
        for name in names:
            print(describe_removed(target.packages.remove(name, force=force)))


@command("freeze", board=True)
def freeze(board: str | None) -> None:
    """Print the packages of a board with versions and hashes: a list that `ucore mip install -r` gives another board."""
    with open_board(board) as target:
        print(target.packages.freeze(), end="")


def _show(packages: "list[Package]", as_json: bool) -> None:
    from ukernel.boards.listing import PACKAGE_COLUMNS, package_rows

    if as_json:
        output.print_json([_row(package) for package in packages])
    else:
        output.print_table(PACKAGE_COLUMNS, package_rows(packages))


def _row(package: "Package") -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in package._asdict().items()}
