"""A chart drawn by matplotlib, for whatever canvas its figure is on."""

from .scene import Scene

__all__ = ["Drawing"]

SIZE_INCHES = (7.0, 3.5)


class Drawing:
    """One axes in a figure. What moves, and what lies over it, is animated: a full drawing leaves it out, `draw_over` adds it."""

    def __init__(self, figure, scene: Scene, colours: "tuple[str, ...] | None" = None):
        self._scene = scene
        self._names: list[str] = []
        self._limits = None  # those set last
        self.axes = axes = figure.add_axes((0.11, 0.15, 0.87, 0.75))
        if colours:
            axes.set_prop_cycle(color=colours)
        look = scene.look
        # Dollar signs are dollar signs.
        axes.set_title(look.title, parse_math=False)
        axes.set_xlabel(look.x)
        axes.set_ylabel(look.units, parse_math=False)
        axes.grid(alpha=0.3)
        self._lines: list = []
        self._text = axes.text(0.012, 0.97, "", transform=axes.transAxes, va="top", fontsize="small", wrap=True, animated=True)
        self._text.set_parse_math(False)
        self._text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 2})
        self._fit()

    @property
    def columns(self) -> int:
        """Columns of pixels that the lines have."""
        return max(2, int(self.axes.bbox.width))

    @property
    def background(self) -> tuple:
        """What everything but the lines and the notes depends on."""
        return self.columns, self.axes.bbox.height, self.axes.get_xlim(), self.axes.get_ylim(), tuple(self._names)

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
            if len(names) > 1 or self._scene.look.labels:
                legend = self.axes.legend(loc="upper right", fontsize="small")
                legend.set_animated(True)
                for text in legend.get_texts():
                    text.set_parse_math(False)
        self._text.set_text("\n".join(note.text for note in self._scene.notes()))
        self._fit()

    def draw_over(self) -> None:
        """Draw the lines and the notes over what the canvas has."""
        for line in self._lines:
            self.axes.draw_artist(line)
        if self.axes.get_legend():
            self.axes.draw_artist(self.axes.get_legend())
        if self._text.get_text():
            self.axes.draw_artist(self._text)

    def _fit(self) -> None:
        """Set the limits of the axes, unless somebody has zoomed."""
        now = (self.axes.get_xlim(), self.axes.get_ylim())
        wanted = (self._scene.x, self._scene.y)
        if self._limits is None or (now == self._limits and now != wanted):
            self.axes.set(xlim=wanted[0], ylim=wanted[1])
            self._limits = (self.axes.get_xlim(), self.axes.get_ylim())
