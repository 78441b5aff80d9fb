"""A folder of this computer as a board's `/remote`: it is there until the handle is closed."""

import base64
import os
import queue
import threading
from pathlib import Path
from typing import Any, Protocol

from ukernel.errors import BoardCodeError, BoardError, BoardTimeoutError, UcoreError, by_name

from .folderserver import FolderServer
from .requests import Message, Request, Requests

__all__ = ["Mount"]

PLACE = "/remote"
LEAVE_S = 1.0  # a board that is not free by then unmounts at its next look


class Caller(Protocol):
    """What of a `Board` is used here."""

    name: str

    def call_value(
        self, name: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> Any: ...


class Mount:
    """A mounted folder; a context manager. Made by `BoardFiles.mount`.

    folder: of this computer. error: what has ended it, if the board or the hub did; `wait` raises it.
    """

    def __init__(self, board: Caller, requests: Requests, folder: "str | os.PathLike[str]", write: bool = False):
        """See `BoardFiles.mount`."""
        self.folder = Path(folder)
        self.error: Exception | None = None
        self._board = board
        self._requests = requests
        self._server = FolderServer(self.folder, write)
        self._begun: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # the mount's number; None where there is none
        self._ended = threading.Event()
        self._request = Request(requests, "mount_request", {})
        self._thread = threading.Thread(target=self._serve, name="ucore-mount", daemon=True)
        self._thread.start()
        try:
            number = self._begun.get()
            if number is None:
                raise self.error or BoardError(f"The folder could not be mounted on the board {board.name}.")
            self._number = number
            board.call_value("ucore.remote.mount", (number, write))
        except BaseException as error:
            self._end()
            if isinstance(error, BoardCodeError) and error.ename == "NotImplementedError":
                raise BoardError(f"The board {board.name} cannot mount a folder: its Python has no `vfs.mount`.") from None
            raise

    def __enter__(self) -> "Mount":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Mount of {self.folder} as {PLACE} on {self._board.name}{', ended' if self._ended.is_set() else ''}>"

    @property
    def is_open(self) -> bool:
        """Whether the board can reach it."""
        return not self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, ``timeout`` seconds at most; return whether it has. Raises what the board or the hub have ended it by."""
        ended = self._ended.wait(timeout)
        if self.error is not None:
            raise self.error
        return ended

    def close(self) -> None:
        """End it: the board's programs get OSError from now on. May be called twice."""
        if self._ended.is_set():
            return
        self._end()
        try:
            self._board.call_value("ucore.remote.unmount", (self._number,), timeout=LEAVE_S)
        except (BoardTimeoutError, UcoreError):
            pass  # it is busy, or gone; it is told so at its next look at the folder

    def _end(self) -> None:
        try:
            self._requests.send("unmount_request", {"parent": self._request.id})
            self._thread.join(LEAVE_S)
        except UcoreError:
            pass  # the hub is gone, and with it the mount
        self._ended.set()

    def _serve(self) -> None:
        """The thread's work: answer the board."""
        try:
            reply = self._request.run(self._take)
            if reply.get("status") == "error":
                self.error = by_name(str(reply.get("ename", "")), str(reply.get("evalue", "")))
        except UcoreError as error:
            self.error = error
        finally:
            self._ended.set()
            self._begun.put(None)

    def _take(self, message: Message) -> None:
        if message["type"] == "mounted":
            self._begun.put(message["content"]["number"])
        elif message["type"] == "remote_request":
            answer = self._server.answer(base64.b64decode(message["content"]["data"]))
            self._requests.send("remote_reply", {"parent": self._request.id, "data": base64.b64encode(answer).decode()})
