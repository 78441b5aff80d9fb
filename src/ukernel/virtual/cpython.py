"""Runs the board's agent on CPython, for machines where MicroPython cannot be built: ``python -m ukernel.virtual.cpython``.

The agent serves on standard input and output, as on a board. This module supplies what MicroPython has and CPython lacks
(`micropython`, ``time.sleep_ms`` and the like), puts the simulated peripherals in the path, and makes 0x03 on the input an
interrupt: on a terminal of its own by the terminal, on a pipe by a thread that reads ahead.
"""

from __future__ import annotations

import _thread
import argparse
import collections
import gc
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["main"]

TICKS_PERIOD = 1 << 30  # as on 32-bit boards, so that programs meet the wrap
SCHEDULE_DEPTH = 8  # functions that can wait, as on a board
RETRY_S = 0.002  # of an interrupt that came at the wrong place
HEAP_BYTES = 4 << 20  # what gc.mem_free() counts from: a board with SPIRAM
MIN_STACK = 256 << 10  # CPython needs more than a board's few kilobytes
ALIASES = ("binascii", "errno", "json", "os", "random", "select", "struct", "sys", "time")

# POSIX has a signal to spare, which wakes the main thread; on Windows a scheduled function waits until the thread wakes.
WAKE = getattr(signal, "SIGUSR1", None) or signal.SIGBREAK  # type: ignore[attr-defined]  # Windows has it
_scheduled: collections.deque[tuple[Callable[[object], object], object]] = collections.deque()
_running: list[bool] = []  # whether a scheduled function is
_interruptible = True
_T = TypeVar("_T")


def main() -> None:
    """Run the agent until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m ukernel.virtual.cpython")
    parser.add_argument("--package", type=Path)
    options = parser.parse_args()
    if options.package:  # another `ucore` than the one that this package has imported
        sys.path.insert(1, str(options.package.parent))
        for name in [name for name in sys.modules if name.split(".")[0] == "ucore"]:
            del sys.modules[name]
    sys.path.insert(1, str(Path(__file__).parent / "simulated"))
    _extend_modules()
    slice_ms = os.environ.get("UCORE_VIRTUAL_SLICE_MS")
    if slice_ms:
        sys.setswitchinterval(float(slice_ms) / 1000)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(WAKE, _run_scheduled)
    if hasattr(signal, "pthread_kill"):
        _watch_signals()
    if os.isatty(0):
        _kbd_intr(3)
    else:
        _read_ahead()
    import ucore.agent

    sys.modules["__main__"] = types.ModuleType("__main__")  # the cells', not ours
    ucore.agent.serve()


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    """Raise KeyboardInterrupt; a moment later where a scheduled function is about to begin or has just ended: none strikes there."""
    if frame is not None and frame.f_code is _run_scheduled.__code__:
        threading.Timer(RETRY_S, _signal_main_thread, (number,)).start()
    else:
        signal.default_int_handler(number, frame)


def _signal_main_thread(number: int) -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)  # a thread that runs has one
    else:
        signal.raise_signal(number)


def _watch_signals() -> None:
    """Wake the main thread again after a signal: it may have come just before that went to sleep in a system call."""
    watched, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    signal.signal(signal.SIGUSR2, lambda *_: None)

    def watch() -> None:
        while numbers := os.read(watched, 64):
            for pause_s in (0.005, 0.02, 0.1, 0.5) if signal.SIGINT in numbers else ():
                time.sleep(pause_s)
                _signal_main_thread(signal.SIGUSR2)
            while _scheduled:
                time.sleep(0.005)
                _signal_main_thread(signal.SIGUSR2)

    threading.Thread(target=watch, daemon=True).start()


def _read_ahead() -> None:
    """Put a thread between the input and the agent, which turns 0x03 into an interrupt and the input's end into ours."""
    source = os.dup(0)
    agents_end, our_end = os.pipe()
    os.dup2(agents_end, 0)
    os.close(agents_end)

    def read() -> None:
        while data := os.read(source, 4096):
            kept = data.replace(b"\x03", b"") if _interruptible else data
            if kept != data:
                _signal_main_thread(signal.SIGINT)
            while kept:
                kept = kept[os.write(our_end, kept) :]
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    if os.name == "nt":
        import select

        _extend(select, poll=_PipePoll, POLLIN=1, POLLOUT=4)


class _PipePoll:
    """`select.poll` for our input on Windows, which has none for pipes."""

    def register(self, stream: object, events: int = 1) -> None:
        import msvcrt

        self._stream = stream
        self._handle = msvcrt.get_osfhandle(0)  # type: ignore[attr-defined]  # Windows has it

    def poll(self, timeout_ms: int = -1) -> list[tuple[object, int]]:
        import _winapi

        end = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
        while not _winapi.PeekNamedPipe(self._handle, 0)[0]:  # type: ignore[attr-defined]  # Windows has it
            if end is not None and time.monotonic() >= end:
                return []
            time.sleep(0.001)
        return [(self._stream, 1)]

    ipoll = poll


def _extend(module: types.ModuleType, **names: object) -> None:
    """Give a module names that CPython's lacks."""
    vars(module).update(names)


def _extend_modules() -> None:
    """Add what MicroPython's modules have beyond CPython's."""
    micropython = types.ModuleType("micropython")
    _extend(
        micropython,
        const=_unchanged,
        native=_unchanged,
        viper=_unchanged,
        schedule=_schedule,
        in_callback=lambda: bool(_running) and threading.current_thread() is threading.main_thread(),
        kbd_intr=_kbd_intr,
        mem_info=lambda *verbose: print("mem: CPython"),
        opt_level=lambda *value: 0,
        alloc_emergency_exception_buf=lambda *value: 0,
    )
    chip = types.ModuleType("_virtualchip")
    _extend(chip, reset=lambda code, soft: os._exit(code), tick=_tick, memory=_memory, setting=os.environ.get)
    sys.modules.update(micropython=micropython, _virtualchip=chip)
    for name in ALIASES:
        sys.modules["u" + name] = __import__(name)

    half = TICKS_PERIOD // 2
    _extend(
        time,
        sleep_ms=lambda ms: time.sleep(max(0, ms) / 1000),
        sleep_us=lambda us: time.sleep(max(0, us) / 1_000_000),
        ticks_ms=lambda: time.monotonic_ns() // 1_000_000 % TICKS_PERIOD,
        ticks_us=_ticks_us,
        ticks_cpu=_ticks_us,
        ticks_add=lambda ticks, delta: (ticks + delta) % TICKS_PERIOD,
        ticks_diff=lambda end, start: (end - start + half) % TICKS_PERIOD - half,
    )
    _extend_asyncio()
    _extend(sys, print_exception=lambda error, file=None: traceback.print_exception(error, file=file or sys.stdout))
    _extend(gc, mem_alloc=_mem_alloc, mem_free=lambda: HEAP_BYTES - _mem_alloc(), threshold=lambda *size: -1)
    stack_size = _thread.stack_size

    def stack_size_enough(size: int = 0) -> int:
        return stack_size(size and max(size, MIN_STACK))

    _extend(_thread, stack_size=stack_size_enough)
    _extend(threading, stack_size=stack_size_enough)


def _unchanged(value: _T) -> _T:
    return value


def _ticks_us() -> int:
    return time.monotonic_ns() // 1000 % TICKS_PERIOD


def _mem_alloc() -> int:
    return min(HEAP_BYTES, 64 * len(gc.get_objects()))


def _memory(variable: str) -> memoryview | None:
    """`_virtualchip.memory`: the file that this environment variable names, shared with the host; None without."""
    path = os.environ.get(variable)
    if not path:
        return None
    import mmap

    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0))


def _extend_asyncio() -> None:
    """Add what a board's asyncio has beyond CPython's, and let tasks be made while no loop runs."""
    import asyncio

    create_task = asyncio.create_task

    def create_task_any_time(coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        try:
            return create_task(coroutine)
        except RuntimeError:
            from ucore import tasks

            task: asyncio.Task[_T] = tasks.event_loop().create_task(coroutine)
            return task

    class ThreadSafeFlag:
        """Set by interrupts and threads, waited for by one task."""

        def __init__(self) -> None:
            self._event = threading.Event()

        def set(self) -> None:
            self._event.set()

        def clear(self) -> None:
            self._event.clear()

        async def wait(self) -> None:
            while not self._event.is_set():
                await asyncio.sleep(0.001)
            self._event.clear()

    _extend(
        asyncio,
        create_task=create_task_any_time,
        ThreadSafeFlag=ThreadSafeFlag,
        sleep_ms=lambda ms: asyncio.sleep(max(0, ms) / 1000),
        wait_for_ms=lambda awaitable, timeout_ms: asyncio.wait_for(awaitable, timeout_ms / 1000),
    )


def _kbd_intr(char: int) -> None:
    """`micropython.kbd_intr`: whether 0x03 on the input interrupts (3) or is data like any other byte (-1)."""
    global _interruptible
    _interruptible = char == 3
    if os.isatty(0):
        import termios

        flags = termios.tcgetattr(0)
        flags[3] = flags[3] | termios.ISIG if _interruptible else flags[3] & ~termios.ISIG
        termios.tcsetattr(0, termios.TCSANOW, flags)


def _schedule(function: Callable[[Any], object], argument: object) -> None:
    """`micropython.schedule`: call ``function(argument)`` soon, in the main thread, between two bytecodes."""
    if len(_scheduled) >= SCHEDULE_DEPTH:
        raise RuntimeError("schedule queue full")
    _scheduled.append((function, argument))
    _signal_main_thread(WAKE)


def _run_scheduled(*signal_and_frame: object) -> None:
    if _running:  # a scheduled function is not interrupted by another one
        return
    _running.append(True)
    try:
        while _scheduled:
            function, argument = _scheduled.popleft()
            try:
                function(argument)
            except Exception as error:
                traceback.print_exception(error, file=sys.stdout)
    finally:
        _running.clear()


def _tick(function: Callable[[int], object], run: int, period_us: int, once: bool, state: bytearray) -> None:
    """What firmware/unix/virtualchip.c does in C: schedule ``function(run)`` at every period while state[0] is run."""
    due = time.monotonic()
    while True:
        due += period_us / 1_000_000
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            if state[0] != run:
                return
        if not state[1]:
            state[1] = 1
            try:
                _schedule(function, run)
            except RuntimeError:
                state[1] = 0
        if once:
            return


if __name__ == "__main__":
    main()
