"""The picture of a chart: a PNG, and HTML that goes on answering when there is no kernel any more.

Drawn by matplotlib where there is matplotlib. Else by `still`, as an SVG and, for whoever shows no such, as a PNG that looks like it.
"""

import base64
import html
import json
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ukernel import imports

from . import still
from .glyphs import SCALE
from .png import Png, encode_png
from .raster import PixelPen
from .scene import HEIGHT, Scene
from .vector import SvgPen

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg as Agg

__all__ = ["COLUMNS", "Message", "Painter", "mime_bundle", "script"]

SIZE = (700, 350)  # on the page
COLUMNS = 1000  # of pixels that curves have in it
EFFORT = 6  # of the compression: these pictures are kept
BAND = "#f9eada"  # where something is missing
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5569a", "#a87b00", "#3b8fc4", "#7a5195", "#5f6b6d")  # as in canvas/src/theme.js


Message = tuple[dict[str, Any], bytes]  # what shows a scene on the page, see `canvas.encode`


class Painter:
    """Draws a scene as PNG, again and again.

    scale: pixels of the PNG per pixel of the page; two of them are sharp on today's screens. 1 or 2.
    """

    def __init__(self, scene: Scene, scale: int = SCALE):
        self.scene = scene
        self._scale = scale
        self._canvas: Agg | None = None
        self._has_failed = False
        if imports.load_matplotlib():
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            from .drawing import Drawing, size_inches

            figure = Figure(figsize=size_inches(scene.options), dpi=100 * scale)
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
                self._canvas.draw()  # type: ignore[no-untyped-call]  # so is matplotlib
                self._drawing.draw_over()
                pixels = np.asarray(self._canvas.buffer_rgba())  # type: ignore[no-untyped-call]  # so is matplotlib
                return Png(encode_png(pixels[..., :3], EFFORT))
            except Exception:  # a style that cannot be drawn here, TeX without TeX: a plain picture is better than none
                self._canvas, self._has_failed = None, True
        pixels = self._draw(PixelPen).pixels
        if self._scale < SCALE:
            height, width, _ = pixels.shape
            pixels = pixels.reshape(height // SCALE, SCALE, width // SCALE, SCALE, 3).mean(axis=(1, 3)).astype(np.uint8)
        return Png(encode_png(pixels, EFFORT))

    def paint_vectors(self) -> str:
        """Return the scene as an SVG, where there is no matplotlib; else nothing."""
        return "" if self._canvas is not None else self._draw(SvgPen).svg()

    def _draw(self, make_pen: Callable[[int, int], still.AnyPen]) -> still.AnyPen:
        size = SIZE[0], round(SIZE[1] * self.scene.options.height / HEIGHT)
        return still.draw(self.scene, size, COLOURS, BAND, make_pen)


@cache
def script() -> str:
    """The code of the canvas: defines `ucoreChart`, with `mount` for a saved chart and `widget` for a live one."""
    return Path(__file__).with_name("canvas.js").read_text(encoding="utf-8")


def mime_bundle(scene: Scene, painter: Painter, message: Message | None = None, static_output: str = "") -> dict[str, str]:
    """Return the picture as what a notebook saves: PNG, where there is no matplotlib SVG, text, and HTML with the same picture.

    static_output: the chart that hides this picture where it is on the page itself (see canvas/src/view.js).
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
    if static_output:
        page = f'<div data-ucore-static-output="{static_output}">{page}</div>'
    if message is not None:
        content, buffer = message
        saved = json.dumps({**content, "buffer": base64.b64encode(buffer).decode("ascii")})
        # In a script, "</script" would end it and "<!--" begin a comment.
        call = f'ucoreChart.mount("{mark}", {saved})'.replace("<", "\\u003c")
        page += f"<script>(() => {{\n{script()}\n{call};\n}})()</script>"
    return {**pictures, "text/html": page, "text/plain": words}
