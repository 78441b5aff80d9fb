"""One opening of a pipe as it comes from the hub: batches, losses and the end, with every frame's number."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from typing import Any

from ukernel.pipes.reasons import ENDED_FOR_GOOD, LOST_CONNECTION
from ukernel.protocol.pipestream import NUMBERS, Batch, BatchRow, PipeStreamDecoder

from .runs import MAX_RUN_BYTES, join_row
from .sink import Opening, Sink

__all__ = ["BETWEEN", "Feed"]

RECEIVE_BYTES = 1 << 18  # what one system call may bring
TURN_BYTES = 1 << 22  # read from one pipe before others have their turn
LEAST_ROW, MOST_ROW = 8, 64  # batches that are worth NumPy, and those that are likely to lie on one line
BETWEEN = "between"  # the cause of a loss: written before the pipe was found again


class Feed:
    """Reads one opening into a sink, through a connection whose subscription is in force.

    goes_on: the opening has been read before. reason: why it has ended; None as long as it has not. Raises HubError from `read` where what comes
    makes no sense.
    """

    def __init__(self, opening: Opening, connection: socket.socket, sink: Sink, *, goes_on: bool):
        self.opening = opening
        self.reason: str | None = None
        self._goes_on = goes_on
        self._is_told = False  # that it is open
        self._unread = 0
        self._skipped = 0  # frames to come that have been read before
        self._socket = connection
        connection.setblocking(False)
        self._decoder = PipeStreamDecoder()
        self._decoder.gives_rows = find_spec("numpy") is not None
        self._sink = sink

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def read(self) -> bool:
        """Hand on what is here, without waiting; whether there is more."""
        taken = 0
        while self.reason is None and taken < TURN_BYTES:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            if not data:
                self._end(LOST_CONNECTION)
                break
            taken += len(data)
            self._heed(data)
        return self.reason is None

    def stop(self, reason: str) -> None:
        """Hand on what is here, and end it."""
        self.read()
        self.break_off(reason)

    def break_off(self, reason: str) -> None:
        """End it as it is."""
        if self.reason is None:
            self._end(reason)

    def _heed(self, data: bytes) -> None:
        opening = self.opening
        events: list[Any] = self._decoder.receive_data(data)
        for event in events:
            if isinstance(event, Batch):
                self._take(event)
            elif isinstance(event, BatchRow):
                self._take_row(event)
            elif "open" in event:
                self._opened(event["open"])
            elif "lost" in event:
                self._lose(int(event["lost"]), str(event.get("cause", "board")))
            elif "end" in event:
                missing = (int(event.get("frames", opening.number)) - opening.number) & NUMBERS
                if 0 < missing <= NUMBERS // 2:
                    self._lose(missing, BETWEEN)
                self._end(str(event["end"]))
                return

    def _opened(self, here: dict[str, int]) -> None:
        opening = self.opening
        ahead = (int(here["number"]) - opening.number) & NUMBERS
        if not self._goes_on:
            opening.number, self._unread = int(here["number"]), int(here.get("unread", 0))
            self._tell()
        elif ahead <= NUMBERS // 2:
            self._lose(ahead, BETWEEN)
        else:
            self._skipped = NUMBERS + 1 - ahead

    def _take_row(self, row: BatchRow) -> None:
        """Take batches as few, where their times lie on one line; else one by one."""
        step = max(min(MOST_ROW, MAX_RUN_BYTES // (row.frames * row.size)), 1)
        for start in range(0, row.batches, step):
            part = row.part(start, start + step)
            joined = join_row(part) if part.batches >= LEAST_ROW and not self._skipped else None
            for batch in [joined] if joined is not None else part.split():
                self._take(batch)

    def _take(self, batch: Batch) -> None:
        frames, data, ends = batch.total, batch.take(batch.total), batch.ends
        if self._skipped:
            skipped = min(self._skipped, frames)
            self._skipped -= skipped
            step = (ends[1] - ends[0]) / max(frames - 1, 1)
            ends = ends[0] + skipped * step, ends[1], ends[2]
            frames, data = frames - skipped, data[skipped * batch.size :]
            if not frames:
                return
        if not self._is_told:
            self._tell()
        self._sink.take(self.opening, frames, batch.size, ends, data)
        self.opening.number += frames

    def _lose(self, count: int, cause: str) -> None:
        skipped = min(self._skipped, count)
        self._skipped -= skipped
        if count > skipped:
            self._tell()
            self._sink.lost(self.opening, count - skipped, cause)
            self.opening.number += count - skipped

    def _tell(self) -> None:
        """Say that it is open: of one that goes on, once something of it comes."""
        if not self._is_told:
            self._is_told = True
            self._sink.opened(self.opening, self._unread)

    def _end(self, reason: str) -> None:
        self.reason = reason
        if (
            self._is_told or not self._goes_on or reason in ENDED_FOR_GOOD
        ):  # else it was told before, and nothing has come since
            self._tell_of_none()
            self._sink.ended(self.opening, reason)

    def _tell_of_none(self) -> None:
        """An opening that is new, and ends before the hub has said where it begins: there is nothing of it."""
        if not self._goes_on:
            self._tell()
