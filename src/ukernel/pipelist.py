"""What the hub knows of its pipes."""

from typing import NamedTuple

from .errors import HubUnreachableError, UcoreError

__all__ = ["PipeState", "boards_with", "pipes", "resembling"]

ANSWER_S = 2.0


class PipeState(NamedTuple):
    """What the hub says about one pipe, or one that has ended lately.

    name, board, open. frames: written by the board so far, lost ones included. readers: who read it now. lost: of the
    frames, how many never reached the hub; `losses` the same per cause: "board" (no room there), "no_listener" (no
    host was listening). frames_per_s, bytes_per_s: over the last two seconds. held: of the frames, how many a replay
    would begin with. ended: why, as in `Pipe.end_reason`; empty while it is open.
    """

    name: str
    board: str
    open: bool
    frames: int
    readers: int
    lost: int
    losses: "dict[str, int]"
    frames_per_s: float
    bytes_per_s: float
    held: int
    ended: str


def pipes() -> "list[PipeState]":
    """Return the pipes that are open, and those that have ended lately; none where no hub runs.

    Raises HubUnreachableError where UCORE_PIPE_PORT names a port on which nobody answers, HubDeniedError, or NoAnswerError if
    the hub does not answer.
    """
    from . import client, settings

    try:
        hub = client.connect_to_pipes()
    except HubUnreachableError:
        if settings.pipe_port() is not None:
            raise
        return []
    with hub:
        reply = hub.request("pipes_request", {}, timeout_s=ANSWER_S)
    return [
        PipeState(
            pipe["name"],
            pipe["board"],
            pipe["open"],
            pipe["frames"],
            pipe["readers"],
            sum(pipe["lost"].values()),
            {cause: count for cause, count in pipe["lost"].items() if count},
            pipe["frames_per_s"],
            pipe["bytes_per_s"],
            pipe["held"],
            pipe["ended"],
        )
        for pipe in reply["pipes"]
    ]


def boards_with(name: str) -> "list[str]":
    """Return the boards on which a pipe of that name is open."""
    try:
        return sorted(pipe.board for pipe in pipes() if pipe.open and pipe.name == name)
    except (UcoreError, OSError):
        return []  # there is something more important to say


def resembling(name: str) -> "str | None":
    """Return the name of an open pipe that is nearly this one, None where there is none."""
    import difflib

    try:
        names = {pipe.name for pipe in pipes() if pipe.open} - {name}
    except (UcoreError, OSError):
        return None  # there is something more important to say
    found = {other.casefold(): other for other in sorted(names)}
    alike = difflib.get_close_matches(name.casefold(), found, 1)
    return found[alike[0]] if alike else None
