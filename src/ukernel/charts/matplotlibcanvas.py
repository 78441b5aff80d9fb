"""Charts under `%matplotlib widget`: matplotlib's drawing on an ipympl canvas, pushed from a thread.

What keeps them moving while other cells work: pictures are pushed and never asked for (ipympl's `draw_idle` asks
the page, whose answer waits behind the running cell), and only the lines are drawn anew, over a copy of the rest.
"""

import threading
from typing import Any

from ukernel import imports
from ukernel.errors import UsageError

from .drawing import Drawing, size_inches
from .png import encode_png
from .scene import ChartOptions, Scene
from .staticoutput import display
from .trace import Trace

__all__ = ["MatplotlibCanvas", "check", "is_chosen"]


def is_chosen() -> bool:
    """Whether `%matplotlib widget` is in force."""
    name = (_backend() or "").lower()
    return name == "widget" or "ipympl" in name


def check() -> None:
    """Raise UsageError, with what to do, unless `%matplotlib widget` is in force."""
    try:
        imports.load("matplotlib", "ipympl.backend_nbagg")
    except ImportError as error:
        raise UsageError(
            f'live_plot(backend="matplotlib") needs matplotlib and ipympl, and there is no {error.name} here. '
            "Install them (pip install matplotlib ipympl), restart the kernel and run %matplotlib widget; "
            "or leave backend out: the canvas needs neither."
        ) from error
    if not is_chosen():
        raise UsageError(
            f'live_plot(backend="matplotlib") draws through ipympl, but the backend is {_backend()!r}. Run %matplotlib '
            "widget in this notebook first, then this cell again; or leave backend out: the canvas needs no magic."
        )


def _backend() -> str | None:
    """The backend that has been chosen. Does not import matplotlib, nor wait for it: whoever has not done so has chosen none."""
    matplotlib = imports.find_imported("matplotlib")
    if matplotlib is None:
        return None
    try:
        chosen = matplotlib.get_backend(auto_select=False)
    except TypeError:  # before matplotlib 3.10
        chosen = matplotlib.get_backend()
    return None if chosen is None else str(chosen)


class MatplotlibCanvas:
    """A chart on an ipympl canvas, outside pyplot: `plt.plot` in another cell must not draw into it."""

    min_interval_s = 0.0
    pause_ratio = 0.5  # of the time a picture took, left for the rest: matplotlib needs a core for itself

    def __init__(self, traces: list[Trace], options: ChartOptions, is_watched: bool = True):
        imports.load("matplotlib", "ipympl.backend_nbagg")
        from ipympl.backend_nbagg import Canvas, FigureManager
        from matplotlib.figure import Figure

        self.is_watched = is_watched
        self._lock = threading.RLock()  # the page's wishes (size, zoom) are met in the main thread
        self._drawn_for: tuple[object, ...] | None = None  # what the background was drawn for
        self._background: object = None  # a copy of the pixels
        figure = Figure(figsize=size_inches(options))
        self._canvas = Canvas(figure)
        manager = FigureManager(self._canvas, 1)
        self._canvas.header_visible = False  # it would repeat the title
        handle_json = manager.handle_json

        def handle_json_alone(content: dict[str, Any]) -> None:
            with self._lock:
                handle_json(content)

        manager.handle_json = handle_json_alone
        manager.refresh_all = self._push
        self._scene = Scene(traces, options, int(figure.bbox.width))
        self._drawing = Drawing(figure, self._scene)
        self._canvas.mpl_connect("draw_event", self._after_drawing)
        self._display = display(self._canvas)

    def needs_send(self) -> bool:
        """Whether a picture is due although there is nothing new to show."""
        return False

    def draw(self) -> None:
        """Show what the traces have."""
        with self._lock:
            if self._scene.columns != self._drawing.columns:
                self._scene.set_columns(self._drawing.columns)
            self._scene.update()
            self._drawing.update()
            if self._drawn_for == self._drawing.background:
                self._canvas.restore_region(self._background)
                self._drawing.draw_over()
                self._push()
            else:
                self._canvas.draw()

    def finish(self) -> None:
        """Show the last picture, and put it into the notebook."""
        self.draw()
        with self._lock:
            self._display.update(self._canvas)

    def save(self) -> None:
        """Put the picture as it is now into the notebook."""
        self.finish()

    def keep(self) -> None:
        """Put the last picture into the notebook once more, where no page has taken it."""
        if self._canvas.syncing_data_url:
            with self._lock:
                self._display.update(self._canvas)

    def remove(self) -> None:
        """Take the chart off the page."""
        for widget in (self._canvas.toolbar, self._canvas):
            widget.layout.close()  # a widget of its own
            widget.close()

    def _after_drawing(self, event: object) -> None:
        if not self._canvas.is_saving():  # a picture for a file, in another size, with everything in it
            self._background = self._canvas.copy_from_bbox(self._canvas.figure.bbox)
            self._drawn_for = self._drawing.background
            self._drawing.draw_over()

    def _push(self) -> None:
        """Send the picture. Whole ones only: the page skips pictures that come too fast, and of differences
        it must not miss one."""
        self._canvas.send({"data": '{"type": "binary"}'}, buffers=[encode_png(self._canvas.buffer_rgba())])
