"""`%ucore board`: a virtual board as one sees it, live: pins, lights, pixels, its display, and sliders for what it measures.

What the board does, and what the sliders say, are in a memory that board and host share: see `simulated/_virtualworld.py`, whose layout this
module reads and writes. The page's half is `view.js`.
"""

from __future__ import annotations

import math
import mmap
import struct
import threading
from functools import cache
from pathlib import Path
from typing import Any

from ukernel.errors import BoardGoneError, UsageError
from ukernel.ports import virtual

from .simulated import _virtualworld as layout

__all__ = ["BoardView", "World", "find_running"]

INTERVAL_S = 1 / 15  # between two looks at the memory
ENDED = "The virtual board has ended."
# Sliders: quantity -> (what people call it, unit, lowest, highest, what it says untouched). In the order of the memory's.
RANGES = {
    "temperature": ("temperature", "°C", -40.0, 85.0, 21.0),
    "pressure": ("pressure", "Pa", 80_000.0, 110_000.0, 101_325.0),
    "humidity": ("humidity", "%", 0.0, 100.0, 45.0),
    "ax": ("acceleration x", "g", -2.0, 2.0, 0.0),
    "ay": ("acceleration y", "g", -2.0, 2.0, 0.0),
    "az": ("acceleration z", "g", -2.0, 2.0, 1.0),
    "gx": ("rotation x", "°/s", -250.0, 250.0, 0.0),
    "gy": ("rotation y", "°/s", -250.0, 250.0, 0.0),
    "gz": ("rotation z", "°/s", -250.0, 250.0, 0.0),
}


class World:
    """The memory that a virtual board shares with the host: a file of `SIZE` bytes. Raises BoardGoneError where it is not there."""

    def __init__(self, path: str | Path):
        self._path = Path(path)
        try:
            with open(self._path, "r+b") as file:
                self._memory = mmap.mmap(file.fileno(), layout.SIZE)
        except (OSError, ValueError):
            raise BoardGoneError(f"{ENDED} `%ucore use virtual` brings another one.") from None

    @property
    def is_there(self) -> bool:
        """Whether the board still has it."""
        return self._path.exists()

    def close(self) -> None:
        """Let the memory go."""
        self._memory.close()

    def state(self) -> dict[str, Any]:
        """Return what the board does: what a page needs to show it, as JSON can hold it."""
        at, memory = layout, self._memory
        pins = []
        for number in range(at.PINS):
            level = memory[at.LEVELS + number]
            mode = memory[at.MODES + number]
            (frequency,) = struct.unpack_from("<I", memory, at.FREQUENCIES + 4 * number)
            (duty,) = struct.unpack_from("<H", memory, at.DUTIES + 2 * number)
            (voltage,) = struct.unpack_from("<i", memory, at.VOLTAGES + 4 * number)
            driven = memory[at.DRIVEN + number]
            if mode == at.UNUSED:
                continue
            pins.append(
                {
                    "pin": number,
                    "out": mode not in (1, at.ANALOG),
                    "analog": mode == at.ANALOG,
                    "level": driven if driven != at.UNUSED and mode != 3 else int(level in (1, at.PULLED_UP)),
                    "duty": round(duty / 65535, 3) if frequency else None,
                    "hz": frequency or None,
                    "driven": None if driven == at.UNUSED else driven,
                    "volts": None if voltage < 0 else voltage / 1e6,
                }
            )
        count = min(int.from_bytes(memory[at.PIXELS : at.PIXELS + 2], "little"), at.MAX_PIXELS)
        colours = memory[at.PIXEL_DATA : at.PIXEL_DATA + 3 * count]
        sensed = struct.unpack_from(f"<{len(at.QUANTITIES)}f", memory, at.SENSORS)
        return {
            "pins": pins,
            "pixels": [f"#{colours[i : i + 3].hex()}" for i in range(0, len(colours), 3)],
            "display": {
                "on": bool(memory[at.DISPLAY]),
                "inverted": bool(memory[at.DISPLAY + 1]),
                "rows": memory[at.DISPLAY + 3],
            },
            "sensors": {name: None if math.isnan(value) else value for name, value in zip(at.QUANTITIES, sensed, strict=True)},
        }

    def dots(self) -> bytes:
        """Return the display's memory: 1,024 bytes, a byte eight dots of a column."""
        return self._memory[layout.DISPLAY_DATA : layout.DISPLAY_DATA + layout.DISPLAY_BYTES]

    def drive(self, pin: int, level: int | None) -> None:
        """Give an input a level; None leaves it to its pull again."""
        self._check_pin(pin)
        self._memory[layout.DRIVEN + pin] = layout.UNUSED if level is None else int(bool(level))

    def set_voltage(self, pin: int, volts: float | None) -> None:
        """Give a converter a voltage, 0 to 3.3 V; None leaves it its sine again."""
        self._check_pin(pin)
        microvolts = -1 if volts is None else int(1e6 * min(max(volts, 0.0), 3.3))
        struct.pack_into("<i", self._memory, layout.VOLTAGES + 4 * pin, microvolts)

    def set_quantity(self, name: str, value: float | None) -> None:
        """Give the sensors something to see (see `RANGES`); None leaves them their own signal again."""
        index = layout.QUANTITIES.index(name)
        struct.pack_into("<f", self._memory, layout.SENSORS + 4 * index, math.nan if value is None else value)

    def _check_pin(self, pin: int) -> None:
        if not 0 <= pin < layout.PINS:
            raise ValueError(f"There is no pin {pin}.")


def describe(state: dict[str, Any]) -> str:
    """Return what the board does in words, for where no page can show it."""
    lines = []
    for pin in state["pins"]:
        how = f"PWM {100 * pin['duty']:.0f} % at {pin['hz']} Hz" if pin["hz"] else "high" if pin["level"] else "low"
        lines.append(f"pin {pin['pin']:2}  {'output' if pin['out'] else 'input '}  {how}")
    if state["pixels"]:
        lines.append("pixels  " + " ".join(state["pixels"]))
    if state["display"]["on"]:
        lines.append("display on")
    return "\n".join(lines or ["No program has touched a pin yet."])


@cache
def _widget_class() -> type[Any]:
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise UsageError("`%ucore board` needs anywidget: pip install 'ukernel[plot]'.") from None

    class BoardWidget(anywidget.AnyWidget):
        _esm = Path(__file__).with_name("view.js")
        title = traitlets.Unicode().tag(sync=True)
        ranges = traitlets.Dict().tag(sync=True)
        state = traitlets.Dict().tag(sync=True)
        dots = traitlets.Bytes().tag(sync=True)
        ended = traitlets.Unicode().tag(sync=True)

        def __repr__(self) -> str:  # what a notebook keeps beside the picture, for where no page can show that
            return f"{self.title}\n{describe(self.state)}" if self.state else self.title

    return BoardWidget


def find_running(port: str) -> virtual.About | None:
    """Return what the virtual board on a port says of itself (see `ports.virtual.announce`); None where there is none, or a real one."""
    return next((about for about in virtual.running() if about["port"] == port), None)


class BoardView:
    """A live picture of a virtual board; show its ``widget``, as often as you like. With the board it stops, and the picture stays."""

    def __init__(self, path: str | Path, title: str):
        self.world = World(path)
        self.widget = _widget_class()(title=title, ranges={name: list(found) for name, found in RANGES.items()})
        self._over = False
        self._lock = threading.Lock()  # of the world and what the widget says of it: the page's wishes come in another thread
        self._closed = threading.Event()
        self._update()
        self.widget.on_msg(self._receive)
        threading.Thread(target=self._follow, name="ucore-board-view", daemon=True).start()

    @property
    def is_live(self) -> bool:
        """Whether it shows the board as it is now."""
        return not self._over and self.world.is_there and self.widget.comm is not None

    def close(self) -> None:
        """Let the board go, and take the picture off the page."""
        self._closed.set()
        self._end()
        self.widget.layout.close()
        self.widget.close()

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self.world.close()

    def _update(self) -> None:
        # Traits that have not changed are not sent.
        self.widget.state = self.world.state()
        self.widget.dots = self.world.dots()

    def _follow(self) -> None:
        while not self._closed.wait(INTERVAL_S) and self.is_live:
            with self._lock:
                if not self._over:
                    self._update()
        self._end()
        if not self.world.is_there:
            self.widget.ended = ENDED

    def _receive(self, widget: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """What somebody did in the page: a button held, a slider moved."""
        with self._lock:
            if self._over:
                return
            try:
                if "drive" in content:
                    self.world.drive(*content["drive"])
                elif "volts" in content:
                    self.world.set_voltage(*content["volts"])
                elif "sense" in content:
                    self.world.set_quantity(*content["sense"])
            except (TypeError, ValueError, IndexError, struct.error):
                pass  # a page of another version says something else
            self._update()
