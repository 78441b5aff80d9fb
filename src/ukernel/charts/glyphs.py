"""Letters as pixels, for a PNG where there is no matplotlib, and how wide they are. From a generated table, see scripts/make_glyphs.py."""

import base64
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["SCALE", "Font", "font", "width"]

SCALE = 2  # pixels of a letter per pixel of the page
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # stands for what the font has not


class Font:
    """The letters of one style."""

    def __init__(self, saved: dict[str, Any]):
        self._boxes: dict[str, tuple[int, int, int, int, int]] = dict(zip(saved["letters"], saved["boxes"], strict=True))
        packed = np.frombuffer(zlib.decompress(base64.b64decode(saved["pixels"])), np.uint8)
        self._pixels = np.column_stack((packed >> 4, packed & 15)).reshape(-1)
        ends = np.cumsum([width * height for *_, width, height in saved["boxes"]])
        self._ends = dict(zip(saved["letters"], ends.tolist(), strict=True))

    def advance(self, letter: str) -> float:
        """How far the next letter is, in pixels of a letter."""
        return self._boxes.get(letter, self._boxes[UNKNOWN])[0] / 64

    def glyph(self, letter: str) -> tuple[int, int, npt.NDArray[np.float64]]:
        """Return from where the pixels of a letter go (left and top, seen from its place on the line), and how much of each is ink, 0 to 1."""
        letter = letter if letter in self._boxes else UNKNOWN
        _, left, top, width, height = self._boxes[letter]
        end = self._ends[letter]
        return left, top, self._pixels[end - width * height : end].reshape(height, width) / 15


@cache
def font(bold: bool = False) -> Font:
    """The font of titles, or of all else."""
    saved = json.loads(Path(__file__).with_name("glyphs.json").read_text(encoding="utf-8"))
    return Font(saved["bold" if bold else "plain"])


def width(text: str, bold: bool = False) -> float:
    """How wide a text is, in pixels of the page. Most fonts that a page has are narrower."""
    return sum(map(font(bold).advance, text)) / SCALE
