"""`subscribe`, and the connection to the hub that every reader of a pipe has."""

import socket

from ucore.wire import check_name

from .arguments import as_positive
from .pipe import Pipe
from .reader import PipeReader

__all__ = ["HUB_S", "open_pipe_reader", "subscribe"]

HUB_S = 15.0  # to reach a hub, or to start one
AGAIN_HUB_S = 1.0  # to reach it again: one that runs answers at once


def subscribe(
    name: str,
    *,
    timeout: float | None = None,
    replay: bool = False,
    timestamps: bool = False,
    strict: bool = False,
    board: str | None = None,
    follow: bool = False,
) -> Pipe:
    """Return the pipe `name`: a context manager that yields one bytes object per `pipe.write` on the board.

    The subscription is in force when this returns: nothing written from then on is missed. It ends when the
    producer closes the pipe. The pipe may be opened later.

    timeout: seconds an iteration or `Pipe.read` waits for a chunk before it raises TimeoutError; None: for
        ever.
    replay: begin with what the hub still holds since the pipe was opened, at most 16 MiB; what it does not hold
        any more is counted in `Pipe.losses["replay"]`. A pipe of that name that has been closed is replayed, too,
        if none is open.
    timestamps: yield pairs (chunk, stamp): `stamp.time` says when the board wrote the chunk, by this computer's
        clock, and `stamp.error` by how much that may be off; both in seconds.
    strict: raise PipeEndedError, not a warning, when the pipe ends for another reason than being closed by
        the producer.
    board: whose pipe, by the board's name or port; None for the boards that the notebook uses, and for any board in a
        program that is no notebook with a board.
    follow: go on with the next opening of that name on that board, whyever one has ended: `Pipe.ends` says after which chunks and
        why, `Pipe.losses["between"]` what was written before the pipe was found again; a bad end is warned of
        (PipeEndedEarlyWarning).

    Raises ValueError for a bad name or timeout, or for strict and follow together, HubUnreachableError or HubDeniedError when there is no hub to
    ask.
    """
    if timeout is not None:
        timeout = as_positive(timeout, "timeout", "seconds")
    if strict and follow:
        raise ValueError("strict=True raises where a pipe ends, and follow=True goes on there: choose one.")
    reader = open_pipe_reader(name, board, replay=replay, timestamps=timestamps, follow=follow)
    return Pipe(reader, timeout=timeout, strict=strict, timestamps=bool(timestamps))


def open_pipe_reader(
    name: str,
    board: str | None,
    *,
    replay: bool = False,
    timestamps: bool = False,
    follow: bool = False,
    after_close: bool = True,
    hint: bool = True,
    warns: bool = True,
    hub_s: float = HUB_S,
) -> PipeReader:
    """Return a reader of the pipe, whose subscription is in force: as for `subscribe`, and as for `PipeReader`.

    hub_s: how long to try to reach a hub, or to start one.
    """
    from ukernel.client.connection import open_reader

    check_name(name)
    first, later = ["batches"], ["batches"]
    if replay:
        first.append("replay")
    if timestamps:
        first.append("timestamps")
        later.append("timestamps")

    def again(same_board: str | None) -> socket.socket:
        # A hub that was stopped is not started by those who only wait.
        return open_reader(name, board=board or same_board, options=later, timeout_s=AGAIN_HUB_S, start=False)

    connection = open_reader(name, board=board, options=first, timeout_s=hub_s)
    return PipeReader(name, connection, hint=hint, warns=warns, again=again if follow else None, after_close=after_close)
