"""What a shell is given to complete: boards, pipes, and a board's files. Nothing here may hold up who presses Tab.

No hub is started and no port is opened for it: what the hub that runs can tell is offered, within a second, and nothing else.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "complete_board_or_local",
    "complete_boards",
    "complete_files",
    "complete_folders",
    "complete_local_or_board",
    "complete_packages",
    "complete_pipes",
]

PATIENCE_S = 1.0


def _within(patience_s: float, find: Callable[[], list[tuple[str, str]]]) -> "list[CompletionItem]":
    """Return what ``find`` has found, (word, help) each, within the time; else nothing."""
    from click.shell_completion import CompletionItem

    found: list[tuple[str, str]] = []

    def work() -> None:
        try:
            found.extend(find())
        except BaseException:
            pass  # a shell that completes is no place for errors

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patience_s)
    return [CompletionItem(word, help=help or None) for word, help in found[:]]


def complete_boards(context: click.Context, option: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer boards by name and, where a path is begun, by port."""

    def find() -> list[tuple[str, str]]:
        boards = _known_boards()
        words = [(board["name"], board["description"]) for board in boards]
        words += [(board["port"], board["name"]) for board in boards if incomplete]
        return [(word, help) for word, help in words if word.startswith(incomplete)]

    return _within(PATIENCE_S, find)


def _known_boards() -> list[dict[str, Any]]:
    from ukernel.client import connection
    from ukernel.errors import UcoreError

    try:
        with connection.connect(start=False, timeout_s=PATIENCE_S) as hub:
            found: list[dict[str, Any]] = hub.request("boards_request", timeout_s=PATIENCE_S)["boards"]
            return found
    except UcoreError:
        from ukernel.ports import discovery

        here = discovery.find_boards() + discovery.find_virtual_boards()
        return [{"name": info.name, "port": info.port, "description": info.description} for info in here]


def complete_pipes(context: click.Context, argument: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer the pipes that are open."""

    def find() -> list[tuple[str, str]]:
        from ukernel.pipes.listing import pipes

        return [(pipe.name, f"of {pipe.board}") for pipe in pipes() if pipe.open and pipe.name.startswith(incomplete)]

    return _within(PATIENCE_S, find)


def complete_files(context: click.Context, argument: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer a board's files and folders."""
    return _within(PATIENCE_S, lambda: _files(context, incomplete, folders_only=False))


def complete_folders(context: click.Context, argument: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer a board's folders."""
    return _within(PATIENCE_S, lambda: _files(context, incomplete, folders_only=True))


def complete_packages(context: click.Context, argument: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer the packages on a board."""

    def find() -> list[tuple[str, str]]:
        board = _idle_board(context)
        if board is None:
            return []
        with board:
            return [(one.name, one.version) for one in board.packages.list() if one.name.startswith(incomplete)]

    return _within(PATIENCE_S, find)


def complete_board_or_local(context: click.Context, argument: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer a board's files; and for the last of several words files here, too."""
    from click.shell_completion import CompletionItem

    here = [CompletionItem(incomplete, type="file")] if context.params.get(argument.name or "") else []
    return [*complete_files(context, argument, incomplete), *here]


def complete_local_or_board(context: click.Context, argument: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Offer files here, by the shell's own means; and for the last of several words the board's folders, too."""
    from click.shell_completion import CompletionItem

    found = (
        _within(PATIENCE_S, lambda: _files(context, incomplete, folders_only=True))
        if context.params.get(argument.name or "")
        else []
    )
    return [*found, CompletionItem(incomplete, type="file")]


def _files(context: click.Context, incomplete: str, folders_only: bool) -> list[tuple[str, str]]:
    board = _idle_board(context)
    if board is None:
        return []
    colon = ":" if incomplete.startswith(":") else ""
    folder, slash, begun = incomplete[len(colon) :].rpartition("/")
    with board:
        found = board.files.ls(folder + slash)
    return [
        (colon + folder + slash + info.name + ("/" if info.is_folder else ""), "" if info.is_folder else f"{info.size:,} bytes")
        for info in found
        if info.name.startswith(begun) and (info.is_folder or not folders_only)
    ]


def _idle_board(context: click.Context) -> Any:
    """Return the board that is meant, where a hub has it and it runs nothing; else None. It is for none to wait, nor to open a port."""
    from ukernel import settings
    from ukernel.boards import connect
    from ukernel.boards.info import read_reply
    from ukernel.client import connection

    wanted = context.params.get("board") or context.find_root().params.get("board") or settings.board()
    with connection.connect(start=False, timeout_s=PATIENCE_S) as hub:
        boards = [board for board in read_reply(hub.request("boards_request", timeout_s=PATIENCE_S)) if board.state == "ready"]
    boards = [board for board in boards if wanted in (None, board.name, board.port)]
    if len(boards) != 1 or boards[0].running:
        return None
    return connect(boards[0].port, timeout=PATIENCE_S, output=lambda text: None)
