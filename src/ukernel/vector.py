"""The picture of a chart where there is no matplotlib: an SVG, whose letters are those of whoever shows it."""

import html
import math
import re
import textwrap
import time
import uuid

import numpy as np

from .scene import Scene

__all__ = ["draw_svg"]

LEFT, RIGHT, ABOVE, BELOW = 76, 12, 36, 44  # around the axes, in pixels
LINE = 18  # of text
LETTER = 6.4  # its width, about
LABELS_ACROSS, LABELS_UP = 7, 6  # of an axis, at most
LEAST_BAND = 3
MAX_PIXEL = 1e5  # what lies farther outside is drawn there: renderers' numbers have few digits
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
INK, GREY, GRID = "#333333", "#666666", "#e3e3e3"
AXIS_NAMES = {"samples": "samples", "seconds": "seconds ago", "time": "time"}


def draw_svg(scene: Scene, size: "tuple[int, int]", colours: "tuple[str, ...]", band: str) -> str:
    """Return the scene as it is now; the caller has updated it. size: in pixels. colours: of the lines, one after the other."""
    width, height = size
    curves = scene.curves()
    look, scale = scene.look, scene.scale
    notes = [line for note in scene.notes() for line in textwrap.wrap(note.text, int((width - LEFT) / LETTER))]
    names = _place_names([curve.name for curve in curves], width - LEFT - RIGHT) if len(curves) > 1 or look.labels else []
    top = ABOVE + LINE * (names[-1][1] + 1 if names else 0)
    bottom = max(height - BELOW - LINE * len(notes), top + 40)
    axes = _Axes(scene, (LEFT, top, width - RIGHT, bottom))
    parts = [
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(LEFT, 22, look.title, size=15, weight="bold", ink="#111111"),
        _text(LEFT - 8, top - 8, scale.units, anchor="end"),
        _text(LEFT, bottom + 36, AXIS_NAMES[look.x]),
    ]
    parts += [
        f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{bottom - top}" fill="{band}"/>' for x, wide in axes.bands()
    ]
    for value in _ticks(*scene.y, LABELS_UP):
        y = axes.y(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{width - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 8, y + 4, scale.tick(value, _step(*scene.y, LABELS_UP)), anchor="end"))
    for value in _ticks(*scene.x, LABELS_ACROSS):
        x = axes.x(value)
        parts.append(f'<path d="M{x:.1f} {top}V{bottom}" stroke="{GRID}"/>')
        parts.append(_text(min(x, width - RIGHT - 4), bottom + 18, _write_x(scene, value), anchor="middle"))
    parts.append(f'<path d="M{LEFT} {top}V{bottom}H{width - RIGHT}" fill="none" stroke="{GREY}"/>')
    clip = f"axes-{uuid.uuid4().hex[:12]}"  # its own: pages have several
    inside = f'<rect x="{LEFT}" y="{top}" width="{width - LEFT - RIGHT}" height="{bottom - top}"/>'
    parts.append(f'<clipPath id="{clip}">{inside}</clipPath>')
    for number, curve in enumerate(curves):
        colour = colours[number % len(colours)]
        parts.append(
            f'<path clip-path="url(#{clip})" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linejoin="round" '
            f'stroke-linecap="round" d="{axes.path(*curve.points)}"/>'
        )
    for number, (x, row) in enumerate(names):
        y = ABOVE + LINE * row + 6
        parts.append(f'<path d="M{LEFT + x} {y}h16" stroke="{colours[number % len(colours)]}" stroke-width="3"/>')
        parts.append(_text(LEFT + x + 22, y + 4, curves[number].name))
    low, high = scene.off_scale()
    for value, arrow, y in ((low, "▼ values down to", bottom + 36), (high, "▲ values up to", 22)):
        if value is not None:
            parts.append(_text(width - RIGHT, y, f"{arrow} {scale.text(value)}: ylim=None follows them", anchor="end"))
    parts += [_text(LEFT, bottom + BELOW + 10 + LINE * index, line) for index, line in enumerate(notes)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
    return head + 'font-family="system-ui, Helvetica, Arial, sans-serif">' + "".join(parts) + "</svg>"


class _Axes:
    """From what a scene shows to pixels. box: left, top, right, bottom."""

    def __init__(self, scene: Scene, box: "tuple[float, float, float, float]"):
        self._scene = scene
        self._left, self._top, self._right, self._bottom = box

    def x(self, value):
        low, high = self._scene.x
        return self._left + (value - low) / (high - low) * (self._right - self._left)

    def y(self, value):
        low, high = self._scene.y
        return self._bottom - (value - low) / (high - low) * (self._bottom - self._top)

    def bands(self):
        for band in self._scene.bands():
            start, stop = np.clip([self.x(band.start), self.x(band.stop)], self._left, self._right)
            spare = max(LEAST_BAND - (stop - start), 0) / 2
            yield start - spare, stop - start + 2 * spare

    def path(self, x, y) -> str:
        """The line through these points; a NaN interrupts it. A point alone is a dot."""
        across, up = (np.clip(values, -MAX_PIXEL, MAX_PIXEL) for values in (self.x(x), self.y(y)))
        parts, pen = [], "M"
        for one, other in zip(across.tolist(), up.tolist(), strict=True):
            if other != other:
                pen = "M"
                continue
            parts.append(f"{pen}{one:.1f} {other:.1f}" + ("h0" if pen == "M" else ""))
            pen = "L"
        return "".join(parts)


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "normal", ink: str = INK
) -> str:
    clean = html.escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{ink}">'
        f"{clean}</text>"
    )


def _place_names(names: "list[str]", room: float) -> "list[tuple[float, int]]":
    """Return where each name of a line stands, in pixels and rows: in columns as wide as the longest."""
    column = 22 + LETTER * max(map(len, names), default=0) + 22
    columns = max(int(room / column), 1)
    return [(index % columns * column, index // columns) for index in range(len(names))]


def _step(low: float, high: float, most: int) -> float:
    """How far apart the labels of an axis lie: 1, 2 or 5 times a power of ten."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.9999)


def _ticks(low: float, high: float, most: int) -> "list[float]":
    step = _step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * number for number in range(first, min(last, first + 2 * most) + 1)]


def _write_x(scene: Scene, value: float) -> str:
    if scene.look.x == "time":
        newest_at = scene.newest_at
        return time.strftime("%H:%M:%S", time.localtime(newest_at + value)) if newest_at > 0 else ""
    step = _step(*scene.x, LABELS_ACROSS)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{abs(value):,.{decimals}f}"
