"""What the hub knows of its pipes."""

from collections.abc import Iterable
from typing import NamedTuple

from ukernel.errors import HubUnreachableError, UcoreError
from ukernel.protocol.reasons import EndReason
from ukernel.tables import Table

from .reasons import END_SENTENCES

__all__ = ["PipeState", "PipeStates", "did_you_mean", "pipes", "why_not_open"]

ANSWER_S = 2.0  # for the hub to answer: it knows without asking a board
MAX_NAMED = 10  # pipes that a sentence names


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
    losses: dict[str, int]
    frames_per_s: float
    bytes_per_s: float
    held: int
    ended: str


class PipeStates(Table[PipeState]):
    """A list of `PipeState`, which a notebook shows as a table."""

    COLUMNS = ("pipe", "board", "state", "frames", "per second", "lost", "readers")
    NONE = "No pipe is open."

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text, in the order of `COLUMNS`."""
        found: list[tuple[str, ...]] = []
        for pipe in self:
            lost = ", ".join(f"{count:,} ({cause})" for cause, count in pipe.losses.items()) or "none"
            rate = f"{pipe.frames_per_s:,.0f} frames, {pipe.bytes_per_s:,.0f} bytes" if pipe.open else ""
            state = "open" if pipe.open else f"ended: {pipe.ended}"
            found.append((pipe.name, pipe.board, state, f"{pipe.frames:,}", rate, lost, str(pipe.readers)))
        return found


def pipes() -> PipeStates:
    """Return the pipes that are open, and those that have ended lately, as a list of `PipeState`; none where no hub runs.

    Raises HubUnreachableError where UCORE_PIPE_PORT names a port on which nobody answers, HubDeniedError, or NoAnswerError if
    the hub does not answer.
    """
    from ukernel import settings
    from ukernel.client import connection

    try:
        hub = connection.connect_to_pipes()
    except HubUnreachableError:
        if settings.pipe_port() is not None:
            raise
        return PipeStates()
    with hub:
        reply = hub.request("pipes_request", {}, timeout_s=ANSWER_S)
    return PipeStates(
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
    )


def did_you_mean(name: str) -> str:
    """What is open instead of this pipe, as the end of a sentence: one that has its name on another board, or nearly its name, or what
    there is; empty where nobody can tell.
    """
    known = _known_pipes()
    if known is None:
        return ""
    there = [pipe for pipe in known if pipe.open]
    boards = sorted(pipe.board for pipe in there if pipe.name == name)
    if boards:
        return f" (it is open on {' and '.join(boards)}: to read that, say board={boards[0]!r})"
    names = sorted({pipe.name for pipe in there})
    found = similar_name(name, names)
    if found:
        return f" ({found!r} is open: did you mean that?)"
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f" (open now: {', '.join(map(repr, names[:MAX_NAMED]))}{more})" if names else " (no pipe is open)"


def why_not_open(name: str) -> str:
    """What the hub knows about a pipe that is not open, as sentences."""
    known = [pipe for pipe in _known_pipes() or () if pipe.name == name]
    elsewhere = sorted(pipe.board for pipe in known if pipe.open)
    if elsewhere:
        return f"it is open on {' and '.join(elsewhere)} only. To read that, say board={elsewhere[0]!r}."
    if known:
        last = known[-1]
        replay = f"; replay=True gives the {last.held:,} that the hub holds" if last.held else ""
        why = END_SENTENCES.get(last.ended, END_SENTENCES[EndReason.BOARD_GONE])  # one that may come back has not ended yet
        return f"it ended before this call, after {last.frames:,} frames: {why}. Call collect while the producer runs{replay}."
    return f"the board has not opened it{did_you_mean(name)}. Run the cell that opens and fills it."


def _known_pipes() -> PipeStates | None:
    """Return the hub's pipes; None where it cannot tell, for there is something more important to say."""
    try:
        return pipes()
    except (UcoreError, OSError):
        return None


def similar_name(name: str, names: Iterable[str]) -> str | None:
    """Return the one of these names that is nearly this one, None where there is none."""
    import difflib

    found = {other.casefold(): other for other in sorted(names) if other != name}
    alike = difflib.get_close_matches(name.casefold(), found, 1)
    return found[alike[0]] if alike else None
