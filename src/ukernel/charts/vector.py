"""A pen whose picture is an SVG: its letters are those of whoever shows it."""

import html
import re
import uuid

import numpy as np

from .window import Floats

__all__ = ["SvgPen"]

MAX_PIXEL = 1e5  # what lies farther outside is drawn there: renderers' numbers have few digits
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SvgPen:
    """Draws in pixels of the page."""

    def __init__(self, width: int, height: int):
        self._size = width, height
        self._parts: list[str] = []

    def svg(self) -> str:
        """What was drawn, as a file's text."""
        width, height = self._size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        return head + 'font-family="system-ui, Helvetica, Arial, sans-serif">' + "".join(self._parts) + "</svg>"

    def box(self, x: float, y: float, width: float, height: float, ink: str) -> None:
        """Fill a rectangle."""
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{ink}"/>')

    def line(self, x: float, y: float, to_x: float, to_y: float, ink: str, width: int = 1) -> None:
        """Draw a line, across or up."""
        self._parts.append(f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{ink}" stroke-width="{width}"/>')

    def curve(self, x: Floats, y: Floats, ink: str, frame: tuple[int, int, int, int]) -> None:
        """Draw the line through these points, within left, top, right and bottom of the frame; a NaN interrupts it. A point alone is a dot."""
        across, up = (np.clip(values, -MAX_PIXEL, MAX_PIXEL) for values in (x, y))
        steps, pen = [], "M"
        for one, other in zip(across.tolist(), up.tolist(), strict=True):
            if other != other:
                pen = "M"
                continue
            steps.append(f"{pen}{one:.1f} {other:.1f}" + ("h0" if pen == "M" else ""))
            pen = "L"
        clip = f"axes-{uuid.uuid4().hex[:12]}"  # its own: pages have several
        left, top, right, bottom = frame
        self._parts.append(
            f'<clipPath id="{clip}"><rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/></clipPath>'
            f'<path clip-path="url(#{clip})" fill="none" stroke="{ink}" stroke-width="1.5" stroke-linejoin="round" '
            f'stroke-linecap="round" d="{"".join(steps)}"/>'
        )

    def text(self, x: float, y: float, text: str, ink: str, align: str = "start", bold: bool = False) -> None:
        """Write a line that starts there, has its middle there, or its end."""
        if text:
            clean = html.escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
            style = 'font-size="15" font-weight="bold"' if bold else 'font-size="12"'
            self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {style} text-anchor="{align}" fill="{ink}">{clean}</text>')
