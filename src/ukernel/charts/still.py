"""The still picture of a chart where there is no matplotlib: where things stand, for a pen of vectors or of pixels."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from . import glyphs
from .scene import AXIS_NAMES, Scene
from .window import Floats

__all__ = ["Pen", "draw"]

LEFT, RIGHT, ABOVE, BELOW = 76, 12, 36, 44  # around the axes, in pixels
LEAST = 80  # of the axes' height: with many names and notes the picture grows
LINE = 18  # of text
GAP = 8  # between an axis and what is written beside it
LABELS_ACROSS, LABELS_UP = 7, 6  # of an axis, at most
LEAST_BAND = 3
WHITE, BLACK, INK, GREY, GRID = "#ffffff", "#111111", "#333333", "#666666", "#e3e3e3"


class Pen(Protocol):
    """Draws in pixels of the page; `ink` is a colour, "#rrggbb"."""

    def box(self, x: float, y: float, width: float, height: float, ink: str) -> None: ...
    def line(self, x: float, y: float, to_x: float, to_y: float, ink: str, width: int = 1) -> None: ...
    def curve(self, x: Floats, y: Floats, ink: str, frame: tuple[int, int, int, int]) -> None: ...
    def text(self, x: float, y: float, text: str, ink: str, align: str = "start", bold: bool = False) -> None: ...


AnyPen = TypeVar("AnyPen", bound=Pen)
Place = TypeVar("Place", float, Floats)


def draw(
    scene: Scene, size: tuple[int, int], colours: tuple[str, ...], band: str, make_pen: Callable[[int, int], AnyPen]
) -> AnyPen:
    """Draw the scene as it is now, which the caller has updated; returns the pen.

    size: in pixels of the page. colours: of the lines, one after the other. make_pen: called with the size that the picture gets.
    """
    width, height = size
    curves = scene.curves()
    options, scale = scene.options, scene.scale
    labels = [(value, scale.tick(value, _step(*scene.y, LABELS_UP))) for value in _ticks(*scene.y, LABELS_UP)]
    left = max(LEFT, math.ceil(max((glyphs.width(text) for _, text in labels), default=0)) + GAP + 4)
    right = width - RIGHT
    low, high = scene.off_scale_words()
    names = _place_names([curve.name for curve in curves], right - left) if len(curves) > 1 or options.labels else []
    notes = [line for note in scene.notes() for line in _wrap(note.text, right - left)]
    is_wide = glyphs.width(scale.units) > left - GAP - 4  # units have a line of their own, then
    top = ABOVE + LINE * ((names[-1][1] + 1 if names else 0) + is_wide)
    height = max(height, top + LEAST + BELOW + LINE * len(notes))
    bottom = height - BELOW - LINE * len(notes)
    pen = make_pen(width, height)
    axes = _Axes(scene, (left, top, right, bottom))

    pen.box(0, 0, width, height, WHITE)
    room = right - left - (glyphs.width(high) + 2 * GAP if high else 0)
    pen.text(left, 22, _cut(options.title, room, bold=True), BLACK, bold=True)
    if is_wide:
        pen.text(4, top - 8, _cut(scale.units, right), INK)
    else:
        pen.text(left - GAP, top - 8, scale.units, INK, "end")
    pen.text(left, bottom + 36, AXIS_NAMES[options.x], INK)
    for x, wide in axes.bands():
        pen.box(x, top, wide, bottom - top, band)
    for value, text in labels:
        y = axes.y(value)
        pen.line(left, y, right, y, GRID)
        pen.text(left - GAP, y + 4, text, INK, "end")
    for value in _ticks(*scene.x, LABELS_ACROSS):
        x, text = axes.x(value), _write_x(scene, value)
        pen.line(x, top, x, bottom, GRID)
        pen.text(min(x, width - 2 - glyphs.width(text) / 2), bottom + 18, text, INK, "middle")
    pen.line(left, top, left, bottom, GREY)
    pen.line(left, bottom, right, bottom, GREY)
    for number, curve in enumerate(curves):
        across, up = curve.points
        pen.curve(axes.x(across), axes.y(up), colours[number % len(colours)], (left, top, right, bottom))
    for number, (x, row) in enumerate(names):
        y = ABOVE + LINE * row + 6
        pen.line(left + x, y, left + x + 16, y, colours[number % len(colours)], 3)
        pen.text(left + x + 22, y + 4, _cut(curves[number].name, right - left - x - 22), INK)
    pen.text(right, bottom + 36, low, INK, "end")
    pen.text(right, 22, high, INK, "end")
    for index, line in enumerate(notes):
        pen.text(left, bottom + BELOW + 10 + LINE * index, line, INK)
    return pen


class _Axes:
    """From what a scene shows to pixels. box: left, top, right, bottom."""

    def __init__(self, scene: Scene, box: tuple[int, int, int, int]):
        self._scene = scene
        self._left, self._top, self._right, self._bottom = box

    def x(self, value: Place) -> Place:
        low, high = self._scene.x
        return self._left + (value - low) / (high - low) * (self._right - self._left)

    def y(self, value: Place) -> Place:
        low, high = self._scene.y
        return self._bottom - (value - low) / (high - low) * (self._bottom - self._top)

    def bands(self) -> Iterator[tuple[float, float]]:
        for band in self._scene.bands():
            start, stop = np.clip([self.x(band.start), self.x(band.stop)], self._left, self._right)
            spare = max(LEAST_BAND - (stop - start), 0) / 2
            yield start - spare, stop - start + 2 * spare


def _place_names(names: list[str], room: float) -> list[tuple[float, int]]:
    """Return where each name of a line stands, in pixels and rows: in columns as wide as the longest."""
    column = 22 + max(map(glyphs.width, names), default=0) + 22
    columns = max(int(room / column), 1)
    return [(index % columns * column, index // columns) for index in range(len(names))]


def _cut(text: str, room: float, bold: bool = False) -> str:
    """The text, or as much of its beginning as there is room for."""
    if glyphs.width(text, bold) <= room:
        return text
    while text and glyphs.width(text + "…", bold) > room:
        text = text[:-1]
    return text + "…"


def _wrap(text: str, room: float) -> list[str]:
    """The text in lines that there is room for."""
    lines: list[str] = []
    for word in text.split():
        if lines and glyphs.width(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(_cut(word, room))
    return lines


def _step(low: float, high: float, most: int) -> float:
    """How far apart the labels of an axis lie: 1, 2 or 5 times a power of ten."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.9999)


def _ticks(low: float, high: float, most: int) -> list[float]:
    step = _step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * number for number in range(first, min(last, first + 2 * most) + 1)]


def _write_x(scene: Scene, value: float) -> str:
    if scene.options.x == "time":
        return scene.clock(value)
    step = _step(*scene.x, LABELS_ACROSS)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{abs(value):,.{decimals}f}"
