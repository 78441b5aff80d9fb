"""A chart drawn by matplotlib, for whatever canvas its figure is on."""

import math
import textwrap
from typing import TYPE_CHECKING

from .axis import Scale
from .scene import AXIS_NAMES, HEIGHT, ChartOptions, Scene

if TYPE_CHECKING:  # matplotlib is not always there, and takes long
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["Drawing", "size_inches"]

SIZE_INCHES = (7.0, 3.5)  # of a chart of the usual height
BAND, BAND_ALPHA = "#d97706", 0.16  # where something is missing; as in canvas/src/theme.js
LEAST_BAND = 3  # pixels
# What lies around the axes, in inches: below a title's line, and above two for the axis, there are the names of lines, and notes.
LEFT, RIGHT, ABOVE, BELOW = 0.77, 0.14, 0.35, 0.525
LINE = 0.19
NAMES_A_LINE = 5
LETTERS_AN_INCH = 13


def size_inches(options: ChartOptions) -> tuple[float, float]:
    """The size of a chart's figure."""
    width, height = SIZE_INCHES
    return width, height * options.height / HEIGHT


class Drawing:
    """One axes in a figure. What moves, and what lies over it, is animated: a full drawing leaves it out, `draw_over` adds it."""

    def __init__(self, figure: "Figure", scene: Scene, colours: tuple[str, ...] | None = None):
        self._scene = scene
        self._names: list[str] = []
        self._limits: tuple[tuple[float, float], tuple[float, float]] | None = None  # those set last
        self._figure = figure
        self._lines_around = 0, 0  # of names above the axes, and of notes below them
        self.axes = axes = figure.add_axes((0.11, 0.15, 0.87, 0.75))
        if colours:
            axes.set_prop_cycle(color=colours)
        options = scene.options
        # In all of them dollar signs are dollar signs.
        axes.set_xlabel(AXIS_NAMES[options.x], loc="left")
        self._units = axes.text(-0.015, 1.025, "", transform=axes.transAxes, ha="right", va="bottom", fontsize="small")
        self._units.set_parse_math(False)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter(self._write_value)
        if options.is_timed:
            axes.xaxis.set_major_formatter(self._write_time)
        self._lines: list[Line2D] = []
        self._bands = _bands(axes)
        self._off = [
            axes.text(1, y, "", transform=axes.transAxes, ha="right", va=va, fontsize="small", animated=True, parse_math=False)
            for y, va in ((0, "bottom"), (1, "bottom"))
        ]
        self._text = figure.text(0, 0, "", va="bottom", fontsize="small", linespacing=1.25, animated=True, parse_math=False)
        self._arrange()
        self._fit()

    @property
    def columns(self) -> int:
        """Columns of pixels that the lines have."""
        return max(2, int(self.axes.bbox.width))

    @property
    def background(self) -> tuple[object, ...]:
        """What everything but the lines and the notes depends on."""
        now = int(self._scene.newest_at) if self._scene.options.x == "time" and self._scene.newest_at > 0 else 0
        return self.columns, self.axes.bbox.bounds, self.axes.get_xlim(), self.axes.get_ylim(), tuple(self._names), now

    def update(self) -> None:
        """Take over what the scene has now. Nothing is drawn."""
        curves = self._scene.curves()
        while len(self._lines) < len(curves):
            self._lines += self.axes.plot([], [], linewidth=1.2, animated=True)
        for line, curve in zip(self._lines, curves, strict=True):
            line.set_data(*curve.points)
            line.set_label(curve.name)
        names = [curve.name for curve in curves]
        if names != self._names:
            self._names = names
            if len(names) > 1 or self._scene.options.labels:
                legend = self.axes.legend(
                    loc="lower left",
                    bbox_to_anchor=(-0.006, 0.99),
                    ncols=NAMES_A_LINE,
                    fontsize="small",
                    frameon=False,
                    borderaxespad=0,
                    borderpad=0.2,
                    labelspacing=0.25,
                    handlelength=1.2,
                )
                legend.set_animated(True)
                for text in legend.get_texts():
                    text.set_parse_math(False)
        x_low, x_high = self._scene.x
        least = LEAST_BAND * (x_high - x_low) / self.columns / 2
        bands = [(min(a, (a + b) / 2 - least), max(b, (a + b) / 2 + least)) for _, a, b, _, _ in self._scene.bands()]
        self._bands.set_verts([[(a, 0), (a, 1), (b, 1), (b, 0)] for a, b in bands])
        for text, words in zip(self._off, self._scene.off_scale_words(), strict=True):
            text.set_text(words)
        width = int(LETTERS_AN_INCH * (self._figure.get_figwidth() - LEFT))
        notes = [line for note in self._scene.notes() for line in textwrap.wrap(note.text, width)]
        self._text.set_text("\n".join(notes))
        names_above = math.ceil(len(names) / NAMES_A_LINE) if self.axes.get_legend() else 0
        if (names_above, len(notes)) != self._lines_around or self._size != tuple(self._figure.get_size_inches()):
            self._lines_around = names_above, len(notes)
            self._arrange()
        self._fit()

    def draw_over(self) -> None:
        """Draw the lines and the notes over what the canvas has."""
        for artist in (self._bands, *self._lines, *(text for text in self._off if text.get_text())):
            self.axes.draw_artist(artist)
        legend = self.axes.get_legend()
        if legend is not None:
            self.axes.draw_artist(legend)
        if self._text.get_text():
            self.axes.draw_artist(self._text)

    def _arrange(self) -> None:
        """Make room for as many lines as there are around the axes: nothing is written over the curves."""
        above, below = self._lines_around
        width, height = self._figure.get_size_inches()
        left, right = LEFT / width, 1 - RIGHT / width
        bottom = min((BELOW + below * LINE) / height, 0.7)
        top = max(1 - (ABOVE + above * LINE) / height, bottom + 0.1)
        self.axes.set_position((left, bottom, right - left, top - bottom))
        self.axes.set_title(
            self._scene.options.title,
            parse_math=False,
            loc="left",
            fontsize="medium",
            fontweight="bold",
            pad=6 + 72 * above * LINE,
        )
        inches = (top - bottom) * height
        self._text.set_position((left, 0.06 / height))
        self._off[0].set_y(-(BELOW - 0.1) / inches)
        self._off[1].set_y(1 + (0.08 + above * LINE) / inches)
        self._size = width, height

    def _fit(self) -> None:
        """Set the limits of the axes, unless somebody has zoomed."""
        now = (self.axes.get_xlim(), self.axes.get_ylim())
        wanted = (self._scene.x, self._scene.y)
        if self._limits is None or (now == self._limits and now != wanted):
            self.axes.set(xlim=wanted[0], ylim=wanted[1])
            self._limits = (self.axes.get_xlim(), self.axes.get_ylim())
        self._units.set_text(self._scale.units)

    @property
    def _scale(self) -> Scale:
        """Of the limits that the axes have; somebody may have zoomed."""
        low, high = sorted(self.axes.get_ylim())
        return Scale(low, high, self._scene.options.units)

    def _write_value(self, value: float, _place: float = 0) -> str:
        return self._scale.tick(value, _step(self.axes.yaxis))

    def _write_time(self, seconds: float, _place: float = 0) -> str:
        if self._scene.options.x == "seconds":
            return Scale(0, 1, "").tick(-seconds, _step(self.axes.xaxis))
        return self._scene.clock(seconds)


def _step(axis: "Axis") -> float:
    """How far apart the labels of an axis lie."""
    places = axis.get_majorticklocs()
    return abs(places[1] - places[0]) if len(places) > 1 else 1.0


def _bands(axes: "Axes") -> "PolyCollection":
    """What shades where something is missing: from there to there, over the whole height."""
    from matplotlib.collections import PolyCollection

    bands = PolyCollection(
        [], transform=axes.get_xaxis_transform(), animated=True, facecolor=BAND, alpha=BAND_ALPHA, linewidth=0
    )
    axes.add_collection(bands, autolim=False)
    return bands
