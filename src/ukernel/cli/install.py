"""`ucore install` and `ucore install-kernels`: µcore on a board, and the kernels in Jupyter."""

import argparse

from ukernel import settings

__all__ = ["add_port", "add_target", "install", "install_kernels"]


def add_port(parser: argparse.ArgumentParser) -> None:
    """Add which board is meant."""
    parser.add_argument(
        "board", metavar="PORT", nargs="?", help="port or name of the board; the only one that is connected by default"
    )


def install(options: argparse.Namespace) -> None:
    """Put µcore on a board that has MicroPython."""
    from ukernel.install import installer
    from ukernel.ports import discovery

    port = discovery.resolve(options.board or settings.board())
    copied = installer.ensure_agent(port, print)
    later = " Nothing starts by itself at boot: a notebook does it when it needs the board." if copied else ""
    print(f"µcore runs on {port}.{later}")


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add where the kernels go, and what is in them."""
    parser.add_argument("--user", action="store_true", help="for this user, whatever environment Jupyter runs in")
    parser.add_argument(
        "--provisioner",
        action="store_true",
        help="have the Jupyter server ready hub and board before it starts a kernel; it needs µcore in its own environment",
    )


def install_kernels(options: argparse.Namespace) -> None:
    """Put the kernelspecs where Jupyter finds them."""
    from ukernel.kernel import kernelspec

    for folder in kernelspec.install(user=options.user, provisioner=options.provisioner):
        print(f"Installed the kernel {folder.name} in {folder}")
