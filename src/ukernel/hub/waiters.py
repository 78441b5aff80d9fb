"""Coroutines that wait for a board: until it is there, or until it is known not to come."""

import asyncio

__all__ = ["Waiters"]


class Waiters:
    """Those who wait for one board. True while anybody does."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._futures)

    async def wait(self, timeout_s: float) -> bool:
        """Return once the board is there; False after ``timeout_s``. Raises what `settle` is given."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            # Not wait_for: a NoAnswerError of the board's is a TimeoutError too.
            done, _ = await asyncio.wait([future], timeout=timeout_s)
        finally:
            self._futures.discard(future)
        if done:
            future.result()
        return bool(done)

    def settle(self, error: Exception | None) -> None:
        """Let all go: with None the board is there, else that is why it is not."""
        for future in self._futures:
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)
