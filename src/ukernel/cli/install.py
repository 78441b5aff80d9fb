"""`ucore install` and `ucore install-kernels`: µcore on a board, and the kernels in Jupyter."""

import click

from ukernel import settings

from . import output
from .completion import complete_boards
from .options import command

__all__ = ["install", "install_kernels"]


@command("install", board=True)
@click.argument("port", required=False, shell_complete=complete_boards)
def install(board: str | None, port: str | None) -> None:
    """Put µcore on a board that has MicroPython, and start it. PORT: as for -b."""
    from ukernel.install import installer
    from ukernel.ports import discovery

    found = discovery.resolve(port or board or settings.board())
    copied = installer.ensure_agent(found, _report)
    later = " Nothing starts by itself at boot: a notebook does it when it needs the board." if copied else ""
    print(f"µcore runs on {found}.{later}")


def _report(line: str) -> None:
    if not output.is_quiet():
        print(line, flush=True)


@command("install-kernels")
@click.option("--user", is_flag=True, help="For this user, whatever environment Jupyter runs in.")
@click.option(
    "--provisioner",
    is_flag=True,
    help="Have the Jupyter server ready hub and board before it starts a kernel; it needs µcore in its own environment.",
)
def install_kernels(user: bool, provisioner: bool) -> None:
    """Put the kernelspecs where Jupyter finds them."""
    from ukernel.kernel import kernelspec

    for folder in kernelspec.install(user=user, provisioner=provisioner):
        print(f"Installed the kernel {folder.name} in {folder}")
