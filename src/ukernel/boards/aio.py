"""A board for asyncio: each call runs in a thread, and a task that is cancelled interrupts the board."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from .info import BoardInfo
from .requests import Cancellation, Output

__all__ = ["AsyncBoard"]

_END = object()


class Blocking(Protocol):
    """What of a `Board` is used here."""

    def run(self, code: str, *, timeout: float | None = None, output: Output | None = None) -> Any: ...
    def eval(self, expression: str, *, timeout: float | None = None) -> Any: ...
    def call(self, name: str | Callable[..., Any], /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any: ...
    def interrupt(self) -> str: ...
    def reset(self, *, force: bool = False) -> None: ...
    def info(self) -> BoardInfo: ...


class AsyncBoard:
    """`Board`'s methods as coroutines. They raise what those raise."""

    def __init__(self, board: Blocking):
        self._board = board

    async def run(self, code: str, *, timeout: float | None = None, output: Output | None = None) -> Any:
        """As `Board.run`; ``output`` is called in another thread than the loop's."""
        return await _in_thread(lambda: self._board.run(code, timeout=timeout, output=output))

    async def eval(self, expression: str, *, timeout: float | None = None) -> Any:
        """As `Board.eval`."""
        return await _in_thread(lambda: self._board.eval(expression, timeout=timeout))

    async def call(self, name: str | Callable[..., Any], /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """As `Board.call`. A generator gives an asynchronous iterator."""
        value = await _in_thread(lambda: self._board.call(name, *args, timeout=timeout, **kwargs))
        return _iterate(value) if isinstance(value, Iterator) else value

    async def interrupt(self) -> str:
        """As `Board.interrupt`."""
        return str(await _in_thread(self._board.interrupt))

    async def reset(self, *, force: bool = False) -> None:
        """As `Board.reset`."""
        await _in_thread(lambda: self._board.reset(force=force))

    async def info(self) -> BoardInfo:
        """As `Board.info`."""
        info: BoardInfo = await _in_thread(self._board.info)
        return info


async def _in_thread(call: Callable[[], Any]) -> Any:
    """Call in a thread of its own, which waits for the board as others do. Cancelled, it interrupts there, and waits for the end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    cancellation = Cancellation()

    def settle(value: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)

    def work() -> None:
        value, error = None, None
        try:
            with cancellation:
                value = call()
        except StopIteration:
            value = _END  # which no future takes
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    threading.Thread(target=work, name="ucore-aio", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        cancellation.cancel()
        await asyncio.wait([done])
        done.exception()
        raise


async def _iterate(items: Iterator[Any]) -> AsyncIterator[Any]:
    try:
        while (item := await _in_thread(lambda: next(items))) is not _END:
            yield item
    finally:
        getattr(items, "close", lambda: None)()
