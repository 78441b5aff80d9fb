"""A real JupyterLab on loopback, and its page in a real Chromium: what the browser tests and the benchmark drive."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat
from patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
# The browser talks to this machine only; without these switches it looks for its maker's servers.
CHROMIUM_SWITCHES = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--force-color-profile=srgb",
]


def find_chromium() -> "str | None":
    """The path of a Chromium, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("UCORE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def why_not() -> "str | None":
    """What is missing for tests in a browser, None if nothing is."""
    if not find_chromium():
        return "there is no Chromium (scripts/setup installs it on Debian)"
    for module in ("playwright", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            return f"there is no Python package {module}"
    return None


# JupyterLab, until its standard input is at its end: it goes with whoever has started it, killed or not, and takes its kernels along.
_UNTIL_END_OF_INPUT = """
import os, runpy, signal, sys, threading
def watch():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
sys.argv[0] = "jupyterlab"
runpy.run_module("jupyterlab", run_name="__main__")
"""


class Lab:
    """A JupyterLab server with folders of its own. A context manager.

    folder: of the notebooks. environment: of the server, and so of the kernels.
    """

    def __init__(self, folder: Path, environment: "dict[str, str]"):
        self.folder = folder
        self.notebooks = folder / "notebooks"
        self.token = secrets.token_hex(16)
        self.log = folder / "lab.log"
        self._environment = environment

    def __enter__(self) -> "Lab":
        self.notebooks.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "settings"
        for name, values in {
            "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "docmanager-extension/plugin": {"autosave": False},
        }.items():
            path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        runtime = self.folder / "runtime"
        environment = {
            **self._environment,
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.folder / "workspaces"),
        }
        command = [
            sys.executable,
            "-c",
            _UNTIL_END_OF_INPUT,
            "--no-browser",
            "--ip=127.0.0.1",
            "--port=0",
            "--expose-app-in-browser",
        ]
        command += [f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.notebooks}", "--allow-root"]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.url = self._find_url(runtime)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info) -> None:
        self._process.stdin.close()  # once: a second signal would cut its cleaning up short
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _find_url(self, runtime: Path) -> str:
        deadline = time.monotonic() + PATIENCE_S
        path = runtime / f"jpserver-{self._process.pid}.json"
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                url = json.loads(path.read_text(encoding="utf-8"))["url"]
                self._ask(url, "api/status")
                return url
            time.sleep(0.05)
        raise AssertionError(f"JupyterLab did not start: {self.log.read_text(errors='replace')[-3000:]}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, path: str, method: str = "GET"):
        """Ask the server's API; returns the JSON of the answer."""
        return self._ask(self.url, path, method)

    def _ask(self, url: str, path: str, method: str = "GET"):
        request = urllib.request.Request(f"{url}{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def write(self, name: str, *cells: str, kernel: str, outputs=()) -> None:
        """Write a notebook of these code cells; the first one has these outputs."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
        notebook.cells[0].outputs = list(outputs)
        nbformat.write(notebook, self.notebooks / name)

    def read(self, name: str):
        """Return a notebook as it was saved."""
        return nbformat.read(self.notebooks / name, as_version=4)


class Browser:
    """A headless Chromium. A context manager."""

    def __enter__(self) -> "Browser":
        from playwright.sync_api import sync_playwright

        self._stack = contextlib.ExitStack()
        with self._stack:
            profile = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ucore-chromium-"))
            self._playwright = self._stack.enter_context(sync_playwright())
            self._browser = self._playwright.chromium.launch(
                executable_path=find_chromium(),
                args=CHROMIUM_SWITCHES,
                chromium_sandbox=hasattr(os, "geteuid") and os.geteuid() != 0,
                env={**os.environ, "HOME": profile, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile},
            )
            self._stack.callback(self._browser.close)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc_info) -> None:
        self._stack.close()

    def new_page(self, **options):
        context = self._browser.new_context(viewport={"width": 1000, "height": 800}, **options)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        return page


# Runs in the page. A view is what canvas/src/view.js hangs on its element.
TOOLS = """
window.ucore = {
    panel() { return window.jupyterapp.shell.currentWidget; },
    ready() {
        const panel = this.panel();
        return Boolean(panel?.content?.widgets?.length && panel.sessionContext?.session?.kernel?.status === "idle");
    },
    async run(index) {
        const { content } = this.panel();
        content.activeCellIndex = index;
        content.deselectAll();
        await window.jupyterapp.commands.execute("notebook:run-cell");
    },
    set(index, source) { this.panel().content.widgets[index].model.sharedModel.setSource(source); },
    outputs(index) { return this.panel().content.widgets[index].model.outputs.toJSON(); },
    views() { return [...document.querySelectorAll(".ucore-chart")].map((root) => root.parentElement.ucoreView).filter(Boolean); },
    view(number = 0) { return this.views()[number]; },
    state(number = 0) {
        const view = this.view(number);
        if (!view) return null;
        const { store } = view;
        return {
            drawn: view.drawn, number: store.number, missed: store.missed, state: store.state, paused: store.paused,
            notes: store.notes, rates: store.rates, x: store.x, y: store.y, look: store.look, zoom: view.zoom,
            traces: store.traces.map((trace) => ({ count: trace.count, step: trace.step, seen: trace.seen, first: trace.first, channels: trace.channels })),
            text: view.root.innerText,
        };
    },
    // What can be seen: for each column of pixels in the axes, from where to where the line of this colour is, as values.
    seen(number = 0, line = 0) {
        const { plot, theme } = this.view(number);
        const { left, top, width, height } = plot.bbox;
        const { data } = plot.ctx.getImageData(left, top, width, height);
        const [red, green, blue] = theme.lines[line].match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16));
        const isLine = (at) => data[at + 3] > 128 && Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 30;
        return Array.from({ length: width }, (_, column) => {
            let rows = [];
            for (let row = 0; row < height; row++) if (isLine(4 * (row * width + column))) rows.push(row);
            if (!rows.length) return null;
            return [rows.at(-1), rows[0]].map((row) => plot.posToVal(top + row + 0.5, "y", true));
        });
    },
    image(number = 0) { return this.view(number).root.querySelector("canvas").toDataURL(); },
    values(number = 0, trace = 0, channel = 0) {
        const { store } = this.view(number);
        const found = store.traces[trace];
        return Array.from({ length: found.count }, (_, i) => [found.x(i, store.newest), found.low(i, channel), found.high(i, channel)]);
    },
};
"""


# JupyterLab asks each kernel for a subshell, and lets nobody catch that a restart came between.
JUPYTERLABS_OWN = "Canceled future for create_subshell_request"


class Notebook:
    """A notebook in a page. `page` is Playwright's."""

    def __init__(self, lab: Lab, page, name: str):
        self.lab, self.page, self.name = lab, page, name
        self.errors: list[str] = []  # of the page
        page.on("pageerror", self._on_error)
        page.add_init_script(TOOLS)

    def _on_error(self, error) -> None:
        if JUPYTERLABS_OWN not in str(error):
            self.errors.append(f"{error}\n{error.stack}")

    def open(self) -> "Notebook":
        self.page.goto(f"{self.lab.url}doc/tree/{self.name}?token={self.lab.token}")
        return self.wait_until_ready()

    def reload(self) -> "Notebook":
        self.page.reload()
        return self.wait_until_ready()

    def wait_until_ready(self) -> "Notebook":
        self.wait("window.jupyterapp && ucore.ready()")
        return self

    def wait(self, expression: str) -> None:
        """Wait until this is true in the page."""
        from playwright.sync_api import TimeoutError as TooLong

        try:
            self.page.wait_for_function(expression, timeout=PATIENCE_S * 1000)
        except TooLong:
            self.shoot("waited-in-vain")
            outputs = self.get(
                "window.jupyterapp ? JSON.stringify(window.ucore.panel().content.widgets.map((_, i) => ucore.outputs(i))) : ''"
            )
            raise AssertionError(
                f"this never came true: {expression}\nerrors: {self.errors}\noutputs: {outputs[:3000]}"
            ) from None

    def get(self, expression: str):
        return self.page.evaluate(expression)

    def state(self, number: int = 0) -> dict:
        """What the page's chart knows."""
        return self.get(f"ucore.state({number})")

    def run(self, index: int, source: "str | None" = None) -> None:
        """Run a cell, with this source, to its end."""
        self.start(index, source)
        self.wait(f"window.ucoreDone[{index}]")

    def start(self, index: int, source: "str | None" = None) -> None:
        """Start a cell, and do not wait for it."""
        if source is not None:
            self.page.evaluate("([index, source]) => ucore.set(index, source)", [index, source])
        self.page.evaluate(
            "(index) => { (window.ucoreDone ??= {})[index] = false; ucore.run(index).then(() => { window.ucoreDone[index] = true; }); }",
            index,
        )

    def outputs(self, index: int) -> list:
        return self.get(f"ucore.outputs({index})")

    def text(self, index: int) -> str:
        """What a cell printed, and its result."""
        texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in self.outputs(index)]
        return "\n".join("".join(text) for text in texts)

    def save(self):
        """Save it; returns it as it is on the disk."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        return self.lab.read(self.name)

    def shut_down(self) -> None:
        """End its kernel."""
        for session in self.lab.ask("api/sessions"):
            if session["path"] == self.name:
                self.lab.ask(f"api/sessions/{session['id']}", "DELETE")

    def shoot(self, name: str) -> None:
        """Keep a picture of the page."""
        folder = ROOT / "build" / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")
