"""The picture of a chart: a PNG, and HTML that goes on answering when there is no kernel any more.

Drawn by matplotlib where there is matplotlib. Else it is an SVG, and the PNG beside it, for whoever shows no such, is drawn by the few
lines below, which know no letters but digits.
"""

import base64
import html
import json
import struct
import uuid
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from . import imports
from .scene import HEIGHT, Scene
from .vector import draw_svg

__all__ = ["Painter", "Png", "encode_png", "make_bundle", "script"]

SCALE = 2  # sharp lines on today's screens
SIZE = (700, 350)  # on the page
EFFORT = 6  # of the compression: these pictures are kept
BAND = (249, 234, 218)  # where something is missing
MARGINS = (70, 12, 14, 30)  # left, right, top and bottom of the axes drawn without matplotlib
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5569a", "#a87b00", "#3b8fc4", "#7a5195", "#5f6b6d")  # as in canvas/src/theme.js


class Png(bytes):
    """A PNG file's bytes; a notebook shows the picture."""

    def _repr_png_(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"<PNG picture, {len(self):,} bytes>"


class Painter:
    """Draws a scene as PNG, again and again.

    scale: pixels of the PNG per pixel of the page.
    """

    def __init__(self, scene: Scene, scale: int = SCALE):
        self._scene = scene
        self._canvas = None
        self._has_failed = False
        if imports.load_matplotlib():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            from .drawing import Drawing, size_inches

            figure = Figure(figsize=size_inches(scene.look), dpi=100 * scale)
            self._canvas = FigureCanvasAgg(figure)
            self._drawing = Drawing(figure, scene, COLOURS)

    def is_outdone(self) -> bool:
        """Whether another one, made now in this thread, would draw with matplotlib, and this one does not."""
        return self._canvas is None and not self._has_failed and imports.load_matplotlib()

    def paint(self) -> Png:
        """Return the scene as it is now; the caller has updated it."""
        if self._canvas is not None:
            try:
                self._drawing.update()
                self._canvas.draw()
                self._drawing.draw_over()
                return Png(encode_png(np.asarray(self._canvas.buffer_rgba())[..., :3], EFFORT))
            except Exception:  # a style that cannot be drawn here, TeX without TeX: a plain picture is better than none
                self._canvas, self._has_failed = None, True
        return Png(encode_png(_draw(self._scene), EFFORT))

    def paint_vectors(self) -> str:
        """Return the scene as an SVG, where that says more than the PNG, which has no letters; else nothing."""
        if self._canvas is not None:
            return ""
        size = SIZE[0], round(SIZE[1] * self._scene.look.height / HEIGHT)
        return draw_svg(self._scene, size, COLOURS, "#" + bytes(BAND).hex())


@cache
def script() -> str:
    """The code of the canvas: defines `ucoreChart`, with `mount` for a saved chart and `widget` for a live one."""
    return Path(__file__).with_name("canvas.js").read_text(encoding="utf-8")


def make_bundle(scene: Scene, painter: Painter, message: "tuple[dict, bytes] | None" = None, twin: str = "") -> dict:
    """Return the picture as what a notebook saves: PNG, where there is no matplotlib SVG, text, and HTML with the same picture.

    twin: the chart that hides this picture where it is on the page itself (see canvas/src/view.js).
    message: what the canvas would get to show this scene (see `canvas.encode`). With it the HTML brings the canvas's
        code: it can be zoomed and read where scripts may run, and is the PNG where they may not.
    """
    pictures = {"image/png": base64.b64encode(painter.paint()).decode("ascii")}
    source = f"data:image/png;base64,{pictures['image/png']}"
    if svg := painter.paint_vectors():
        pictures["image/svg+xml"] = svg
        source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"
    words = " ".join([scene.describe(), *(f"{note.text}." for note in scene.notes())])
    mark = uuid.uuid4().hex[:12]
    image = f'<img alt="{html.escape(words)}" width="{SIZE[0]}" style="max-width:100%" src="{source}">'
    page = f'<div data-ucore-chart="{mark}">{image}</div>'
    if twin:
        page = f'<div data-ucore-twin="{twin}">{page}</div>'
    if message is not None:
        content, buffer = message
        saved = json.dumps({**content, "buffer": base64.b64encode(buffer).decode("ascii")})
        # In a script, "</script" would end it and "<!--" begin a comment.
        call = f'ucoreChart.mount("{mark}", {saved})'.replace("<", "\\u003c")
        page += f"<script>(() => {{\n{script()}\n{call};\n}})()</script>"
    return {**pictures, "text/html": page, "text/plain": words}


def encode_png(pixels, effort: int = 1) -> bytes:
    """A PNG of an array (height, width, 3 or 4) of bytes: with little effort a third of the time that Pillow takes."""
    height, width, channels = np.shape(pixels)
    rows = np.zeros((height, 1 + channels * width), np.uint8)  # each row begins with 0: not filtered
    rows[:, 1:] = np.reshape(pixels, (height, channels * width))
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if channels == 4 else 2, 0, 0, 0)  # 8 bits each, with alpha or without
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, effort)), (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(parts)


# Without matplotlib

# Rows of five characters' worth of pixels, four wide: enough for the numbers at the ends of the axes.
_GLYPHS = {
    "0": "69996", "1": "26227", "2": "E168F", "3": "E161E", "4": "99F11", "5": "F8E1E", "6": "68E96", "7": "F1244",
    "8": "69696", "9": "69716", "-": "00F00", ".": "00004", "e": "06F87", "+": "04E40",
}  # fmt: skip


def _draw(scene: Scene):
    """Lines, frame and the numbers at its corners: an array (height, width, 3)."""
    width, height = SIZE
    left, right, top, bottom = MARGINS
    image = np.full((height, width, 3), 255, np.uint8)
    inner = image[top : height - bottom, left : width - right]
    rows, columns = inner.shape[:2]
    for index in range(5):
        inner[round(index * (rows - 1) / 4)] = inner[:, round(index * (columns - 1) / 4)] = 225
    inner[0] = inner[-1] = inner[:, 0] = inner[:, -1] = 120
    (x_low, x_high), (y_low, y_high) = scene.x, scene.y
    for band in scene.bands():
        start, stop = ((x - x_low) / (x_high - x_low) * (columns - 1) for x in (band.start, band.stop))
        inner[1:-1, max(round(start), 1) : max(round(stop), round(start) + 2, 0)] = BAND
    for number, curve in enumerate(scene.curves()):
        x, y = curve.points
        _stroke(
            inner,
            (x - x_low) / (x_high - x_low) * (columns - 1),
            (y_high - y) / (y_high - y_low) * (rows - 1),
            tuple(bytes.fromhex(COLOURS[number % len(COLOURS)][1:])),
        )
    for value, row in ((y_high, top), (y_low, height - bottom - 11)):
        _write(image, f"{value:.4g}", left - 6, row)
    for value, column in ((x_low, left + 30), (x_high, width - right)):
        _write(image, f"{value:.4g}", column, height - bottom + 8)
    return image


def _stroke(image, x, y, colour) -> None:
    """Draw the line through these points, two pixels wide; a point that is NaN interrupts it."""
    rows, columns = image.shape[:2]
    y = np.clip(y, -rows, 2 * rows)
    drawn = ~np.isnan(y[:-1] + y[1:]) & (x[:-1] > -columns) & (x[1:] < 2 * columns)
    x0, y0 = x[:-1][drawn], y[:-1][drawn]
    dx, dy = np.diff(x)[drawn], np.diff(y)[drawn]
    steps = np.maximum(abs(dx), abs(dy)).astype(int) + 1
    # Of all segments at once: each has a point at either end, and one for every pixel between.
    segment = np.repeat(np.arange(len(steps)), steps + 1)
    at = (np.arange(len(segment)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)) / steps[segment]
    column = np.rint(x0[segment] + dx[segment] * at).astype(int)
    row = np.rint(y0[segment] + dy[segment] * at).astype(int)
    for shift in (0, 1):
        inside = (column >= 0) & (column < columns) & (row + shift >= 0) & (row + shift < rows)
        image[row[inside] + shift, column[inside]] = colour


def _write(image, text: str, right: int, top: int) -> None:
    """Write a number so that it ends at this column."""
    for place, letter in enumerate(reversed(text)):
        for line, code in enumerate(_GLYPHS.get(letter, "00000")):
            for bit in range(4):
                if int(code, 16) >> (3 - bit) & 1:
                    row, column = top + 2 * line, right - 10 * (place + 1) + 2 * bit
                    image[row : row + 2, column : column + 2] = 60
