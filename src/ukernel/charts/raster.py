"""A pen whose picture is an array of pixels."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from . import glyphs
from .glyphs import SCALE
from .window import Floats

__all__ = ["PixelPen"]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Marks: TypeAlias = npt.NDArray[np.bool_]

FINE = 2  # curves are drawn in so many times as many pixels, for smooth edges


class PixelPen:
    """Draws in pixels of the page; `pixels` has SCALE times as many: (height, width, 3) bytes."""

    def __init__(self, width: int, height: int):
        self.pixels = np.zeros((SCALE * height, SCALE * width, 3), np.uint8)

    def box(self, x: float, y: float, width: float, height: float, ink: str) -> None:
        """Fill a rectangle."""
        left, top, right, bottom = (round(SCALE * place) for place in (x, y, x + width, y + height))
        self.pixels[max(top, 0) : bottom, max(left, 0) : right] = _colour(ink)

    def line(self, x: float, y: float, to_x: float, to_y: float, ink: str, width: int = 1) -> None:
        """Draw a line, across or up."""
        if y == to_y:
            self.box(x, y - width / 2, to_x - x, width, ink)
        else:
            self.box(x - width / 2, y, width, to_y - y, ink)

    def curve(self, x: Floats, y: Floats, ink: str, frame: tuple[int, int, int, int]) -> None:
        """Draw the line through these points, within left, top, right and bottom of the frame; a NaN interrupts it. A point alone is a dot."""
        left, top, right, bottom = frame
        fine = SCALE * FINE
        drawn = np.zeros((fine * (bottom - top), fine * (right - left)), bool)
        _trace(drawn, fine * (x - left), fine * (y - top))
        rows = np.flatnonzero(drawn.any(axis=1))
        if not len(rows):
            return
        first, last = (max(rows[0] // FINE - SCALE, 0), rows[-1] // FINE + SCALE + 1)  # of the picture, with the line's width
        thick = _thicken(drawn[FINE * first : FINE * last])
        cover = thick.reshape(len(thick) // FINE, FINE, -1, FINE).mean(axis=(1, 3))
        self._blend(self.pixels[SCALE * top + first :, SCALE * left :][: cover.shape[0], : cover.shape[1]], cover, ink)

    def text(self, x: float, y: float, text: str, ink: str, align: str = "start", bold: bool = False) -> None:
        """Write a line that starts there, has its middle there, or its end."""
        font = glyphs.font(bold)
        at = SCALE * (x - glyphs.width(text, bold) * {"start": 0, "middle": 0.5, "end": 1}[align])
        for letter in text:
            left, top, cover = font.glyph(letter)
            row, column = round(SCALE * y) + top, round(at) + left
            cover = cover[max(-row, 0) :, max(-column, 0) :]  # what is beyond the edge is not there
            part = self.pixels[max(row, 0) :, max(column, 0) :][: cover.shape[0], : cover.shape[1]]
            self._blend(part, cover[: part.shape[0], : part.shape[1]], ink)
            at += font.advance(letter)

    def _blend(self, part: Bytes, cover: Floats, ink: str) -> None:
        """Put ink on a part of the picture: as much on each pixel as it is covered, 0 to 1."""
        at = cover.nonzero()
        much = cover[at][:, None]
        part[at] = np.rint(part[at] * (1 - much) + _colour(ink) * much)


def _colour(ink: str) -> Bytes:
    return np.frombuffer(bytes.fromhex(ink[1:]), np.uint8)


def _trace(drawn: Marks, x: Floats, y: Floats) -> None:
    """Mark the pixels of the line through these points."""
    rows, columns = drawn.shape
    y = np.clip(y, -rows, 2 * rows)
    near = (x > -columns) & (x < 2 * columns) & ~np.isnan(y)
    both = near[:-1] & near[1:]
    x0, y0, dx, dy = x[:-1][both], y[:-1][both], np.diff(x)[both], np.diff(y)[both]
    steps = np.maximum(abs(dx), abs(dy)).astype(int) + 1
    # Of all segments at once: a pixel for every step.
    segment = np.repeat(np.arange(len(steps)), steps)
    at = (np.arange(len(segment)) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[segment]
    column = np.floor(np.concatenate((x0[segment] + dx[segment] * at, x[near]))).astype(int)
    row = np.floor(np.concatenate((y0[segment] + dy[segment] * at, y[near]))).astype(int)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    drawn[row[inside], column[inside]] = True


def _thicken(drawn: Marks) -> Marks:
    """The same with a line six pixels wide, whichever way it goes: a cross of three, then a square of four."""
    wide: Marks = drawn.copy()
    wide[1:] |= drawn[:-1]
    wide[:-1] |= drawn[1:]
    wide[:, 1:] |= drawn[:, :-1]
    wide[:, :-1] |= drawn[:, 1:]
    for _ in range(2):  # up and down, and, turned, across
        tall: Marks = wide.copy()
        tall[1:] |= wide[:-1]
        tall[:-1] |= wide[1:]
        tall[:-2] |= wide[2:]
        wide = tall.T
    return wide
