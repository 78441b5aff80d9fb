"""How well live plots move, in JupyterLab in a headless Chromium: pictures a second in the page, CPU in kernel and browser.

The baseline, in the same run, is what people do without live_plot: matplotlib's FuncAnimation under ipympl, 200 points at the
same default of 40 ms, fed by a thread that reads the same pipe. A picture is counted when a canvas was painted on between two
frames of the screen, whoever painted. Samples come from a process that speaks the hub's port, so that no board is measured.
"kernel" is the whole kernel: the Python process and the switchboard in front of it. Canvas and baseline are each measured twice,
in turns, and the better figures count, of both: other work on the machine takes away, and never gives.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path += [str(ROOT / "tests" / "browser"), str(ROOT / "tests" / "ukernel")]

import psutil  # noqa: E402
from lab import SOURCE, Browser, Lab, Notebook, why_not  # noqa: E402

COUNTER = """
window.painted = new Map();
{
    const fresh = new Set();
    for (const name of ["clearRect", "drawImage", "putImageData"]) {
        const paint = CanvasRenderingContext2D.prototype[name];
        CanvasRenderingContext2D.prototype[name] = function (...rest) {
            if (this.canvas.isConnected) fresh.add(this.canvas);
            return paint.apply(this, rest);
        };
    }
    const count = () => {
        for (const canvas of fresh) {
            const seen = window.painted.get(canvas);
            if (seen) seen.count += 1;
            else window.painted.set(canvas, { count: 1, first: performance.timeOrigin + performance.now() });
        }
        fresh.clear();
        requestAnimationFrame(count);
    };
    requestAnimationFrame(count);
}
window.counts = () => [...window.painted].filter(([canvas]) => canvas.isConnected).map(([, seen]) => seen.count);
window.firsts = () => [...window.painted].filter(([canvas]) => canvas.isConnected).map(([, seen]) => seen.first / 1000);
"""
ANIMATION = """%matplotlib widget
import collections, struct, threading
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation
from ukernel.pipes import subscribe

values = collections.deque([0.0] * 200, maxlen=200)
def read():
    with subscribe("rate1000") as pipe:
        for chunk in pipe:
            values.append(struct.unpack("<f", chunk)[0])
threading.Thread(target=read, daemon=True).start()
figure, axes = plt.subplots()
line, = axes.plot(values)
axes.set_ylim(-1.5, 1.5)
animation = FuncAnimation(figure, lambda _: line.set_ydata(values), interval={interval}, cache_frame_data=False)
plt.show()
"""
BUSY = "end = time.time() + {seconds}\nwhile time.time() < end: pass"


def feed(state_path: str) -> None:
    """Serve pipes named rateN: N samples a second, a noisy sine, in batches of 5 ms."""
    import numpy as np
    from fakelistener import FakeListener, batch

    def script(reader) -> None:
        reader.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the hub does
        reader.opened()
        rate = int(reader.request["pipe"].removeprefix("rate").partition("x")[0])
        length = max(2000, rate)
        noise = np.random.default_rng(1).normal(0, 0.05, length)
        signal = (np.sin(np.arange(length) * (20 * np.pi / length)) + noise).astype("<f4").tobytes()
        sent, start = 0, time.monotonic()
        while True:
            due = int((time.monotonic() - start) * rate)
            while sent < due:
                at = sent % length
                count = min(due - sent, length - at, 100_000)
                reader.raw(batch(signal[4 * at : 4 * (at + count)], number=sent % 2**32, size=4))
                sent += count
            time.sleep(0.005)

    listener = FakeListener(pathlib.Path(state_path))
    listener.script = script
    print("ready", flush=True)
    sys.stdin.read()  # until the benchmark is gone
    listener.close()


class Bench:
    """A notebook in the page, with the processes whose CPU counts."""

    def __init__(self, lab: Lab, browser: Browser):
        self.lab, self.browser = lab, browser
        self.number = 0

    def open(self, cells: int = 3) -> Notebook:
        """Open another notebook, with a kernel of its own."""
        self.number += 1
        name = f"bench{self.number}.ipynb"
        self.lab.write(name, *[""] * cells, kernel="ucore")
        page = self.browser.new_page()
        page.add_init_script(COUNTER)
        return Notebook(self.lab, page, name).open()

    def close(self, notebook: Notebook) -> None:
        notebook.page.context.close()
        for session in self.lab.ask("api/sessions"):
            self.lab.ask(f"api/sessions/{session['id']}", "DELETE")

    def kernels(self) -> list:
        """The processes of the kernels, switchboards and Python."""
        found = psutil.Process(self.lab.pid).children(recursive=True)
        return [process for process in found if any(part.startswith("ukernel.") for part in process.cmdline())]

    def chromium(self) -> list:
        me = psutil.Process()
        return [process for process in me.children(recursive=True) if "chrom" in process.name()]

    def measure(self, notebook: Notebook, seconds: float) -> dict:
        """Pictures a second of each canvas, and CPU in percent of a core."""
        groups = {"kernel": self.kernels(), "browser": self.chromium()}
        before = {name: cpu(group) for name, group in groups.items()}
        counts, start = notebook.get("counts()"), time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - start
        after = notebook.get("counts()")
        found = {name: 100 * (cpu(group) - before[name]) / passed for name, group in groups.items()}
        rates = [(new - old) / passed for new, old in zip(after, counts)]
        moving = [rate for rate in rates if rate > 1]
        return {**found, "fps": min(moving, default=0.0), "best": max(moving, default=0.0)}


def cpu(processes: list) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.NoSuchProcess:
            pass
    return total


def plot(rate: int, **options) -> str:
    arguments = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"live_plot('rate{rate}'{arguments})"


IMPORTS = "import time\nfrom ukernel.pipes import live_plot, stop_live"


def animation(bench: Bench, seconds: float, interval: int) -> dict:
    notebook = bench.open()
    notebook.run(0, ANIMATION.replace("{interval}", str(interval)))
    notebook.wait("counts().some((count) => count > 20)")
    found = bench.measure(notebook, seconds)
    found["fps"] = found["best"]
    bench.close(notebook)
    return found


def canvas(bench: Bench, seconds: float, rate: int, cells: list[str] | None = None, **options) -> dict:
    notebook = bench.open()
    notebook.run(0, IMPORTS)
    notebook.run(1, f"started = time.time()\n{plot(rate, **options)}\nprint('started', started)")
    notebook.wait("counts().some((count) => count > 20)")
    first = min(notebook.get("firsts()")) - float(notebook.text(1).split("started ")[1])
    time.sleep(1)
    found = bench.measure(notebook, seconds)
    found["first_s"] = first
    for name, cell in (cells or {}).items():
        notebook.start(2, f"import time\n{cell}")
        time.sleep(0.5)
        found[name] = bench.measure(notebook, seconds)["fps"]
        notebook.wait("window.ucoreDone[2]")
    bench.close(notebook)
    return found


def ten(bench: Bench, seconds: float) -> dict:
    notebook = bench.open()
    notebook.run(0, IMPORTS)
    notebook.run(1, "charts = [live_plot(f'rate1000x{i}') for i in range(10)]")
    notebook.wait("counts().filter((count) => count > 20).length === 10")
    found = bench.measure(notebook, seconds)
    bench.close(notebook)
    return found


def better(one: dict, other: dict) -> dict:
    """Of two measurements of the same the better figures: more pictures a second, less CPU and waiting."""
    least = ("kernel", "browser", "first_s")
    return {name: (min if name in least else max)(one.get(name, value), value) for name, value in other.items()}


def soak(bench: Bench, minutes: float) -> dict:
    """Memory of the Python process and of the page at the start, and how much it grows."""
    notebook = bench.open()
    notebook.run(0, IMPORTS)
    notebook.run(1, plot(100_000, window=10_000, interval=16))
    session = notebook.page.context.new_cdp_session(notebook.page)

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    def resident() -> float:
        return sum(process.memory_info().rss for process in bench.kernels()) / 1e6

    time.sleep(20)  # until caches are warm
    rows, end = [], time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        rows.append((resident(), heap()))
        print(f"soak     {rows[-1][0]:7.1f} MB in the kernel, {rows[-1][1]:6.1f} MB in the page", flush=True)
        time.sleep(min(20, max(0, end - time.monotonic())))
    rows.append((resident(), heap()))
    bench.close(notebook)
    return {"soak_minutes": minutes, "soak_kernel_mb": rows[-1][0] - rows[0][0], "soak_page_mb": rows[-1][1] - rows[0][1]}


def run(bench: Bench, seconds: float, soak_minutes: float) -> dict:
    def show(name: str, found: dict) -> None:
        more = "".join(
            f", {key} {value:.2f}" for key, value in found.items() if key not in ("fps", "kernel", "browser", "best")
        )
        print(
            f"{name:34} {found['fps']:5.1f} fps, kernel {found['kernel']:5.1f} %, browser {found['browser']:5.1f} %{more}",
            flush=True,
        )

    figures = {}
    found, baseline = {}, {}
    for _ in range(2):
        again = canvas(
            bench,
            seconds,
            100_000,
            window=10_000,
            interval=16,
            cells={"busy": BUSY.format(seconds=seconds + 2), "asleep": f"time.sleep({seconds + 2})"},
        )
        show("canvas, 100k samples/s, window 10k", again)
        found = better(found, again)
        again = animation(bench, seconds, 40)
        show("FuncAnimation, 200 points, 40 ms", again)
        baseline = better(baseline, again)
    figures |= {
        "canvas_fps": found["fps"],
        "canvas_kernel_percent": found["kernel"],
        "canvas_browser_percent": found["browser"],
    }
    figures |= {"blocked_fps": min(found["busy"], found["asleep"]), "first_picture_s": found["first_s"]}
    found = canvas(bench, seconds, 1_000_000, window=100_000, interval=16)
    show("canvas, 1M samples/s, window 100k", found)
    figures |= {"canvas_fps_1m": found["fps"], "canvas_kernel_percent_1m": found["kernel"]}
    found = canvas(bench, seconds, 1000)
    show("canvas, 1k samples/s, all defaults", found)
    figures |= {"canvas_fps_default": found["fps"]}
    found = ten(bench, seconds)
    show("ten canvases, 1k samples/s each", found)
    figures |= {"ten_fps": found["fps"], "ten_kernel_percent": found["kernel"]}
    figures |= {"matplotlib_fps": baseline["fps"], "matplotlib_kernel_percent": baseline["kernel"]}
    found = animation(bench, seconds, 16)
    show("FuncAnimation, 200 points, 16 ms", found)
    figures |= {"matplotlib_fps_16ms": found["fps"]}
    figures["fps_ratio"] = figures["canvas_fps"] / max(figures["matplotlib_fps"], 0.1)
    if soak_minutes:
        figures |= soak(bench, soak_minutes)
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument(
        "--soak", type=float, default=0, metavar="MINUTES", help="plot for so long and see whether memory grows"
    )
    parser.add_argument("--feed", metavar="STATE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feed:
        feed(options.feed)
        return
    missing = why_not()
    if missing:
        sys.exit(f"benchmarks/liveplot.py: {missing}.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # server, browser and folder must not outlive it
    with tempfile.TemporaryDirectory(prefix="ucore-bench-") as name:
        folder = pathlib.Path(name)
        shutil.copytree(SOURCE / "ukernel" / "kernelspecs", folder / "jupyter" / "kernels")
        state = folder / "hub.json"
        environment = {
            **os.environ,
            "JUPYTER_PATH": str(folder / "jupyter"),
            "IPYTHONDIR": str(folder / "ipython"),
            "UCORE_STATE_PATH": str(state),
        }
        command = [sys.executable, __file__, "--feed", str(state)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as feeder:
            feeder.stdout.readline()
            try:
                with Lab(folder, environment) as lab, Browser() as browser:
                    figures = run(Bench(lab, browser), 5 if options.quick else 20, options.soak)
            finally:
                feeder.stdin.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
