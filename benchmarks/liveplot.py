"""How well live plots move, in JupyterLab in a headless Chromium: pictures a second in the page, CPU in kernel and browser.

The baseline, in the same run, is what people do without live_plot: matplotlib's FuncAnimation under ipympl, fed by a thread that
reads a pipe in arrays. `fps_ratio` is against the easy case, 200 points of a slow pipe at the default of 40 ms, and
`fps_ratio_same` against the canvas's own: the same samples and window. A picture is counted when a canvas was painted on between two
frames of the screen, whoever painted; so no figure is above the screen's 60. Samples come from a process that speaks the hub's port, so that no board is measured.
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
sys.path.append(str(ROOT / "tests" / "support"))

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
import threading
import numpy as np
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation
from ukernel.pipes import subscribe

values = np.zeros({window})
def read():
    global values
    with subscribe("rate{rate}") as pipe:
        while True:
            values = np.concatenate([values, pipe.read_array({rate} // 200, "<f")])[-{window}:]
threading.Thread(target=read, daemon=True).start()
figure, axes = plt.subplots()
line, = axes.plot(values)
axes.set_ylim(-1.5, 1.5)
animation = FuncAnimation(figure, lambda _: line.set_ydata(values), interval={interval}, cache_frame_data=False)
plt.show()
"""
BUSY = """import time
rounds, end = 0, time.time() + {seconds}
while time.time() < end: rounds += 1
print("rounds", rounds / {seconds})"""
ASLEEP = "import time\ntime.sleep({seconds})"


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


# matplotlib is imported, half a second of a core, and the first still painted once a chart has moved for a while: that is no part of a rate.
SETTLE_S = 6
IMPORTS = "import time\nfrom ukernel.pipes import live_plot, stop_live"


def animation(bench: Bench, seconds: float, interval: int = 40, rate: int = 1000, window: int = 200) -> dict:
    notebook = bench.open()
    notebook.run(0, ANIMATION.format(interval=interval, rate=rate, window=window))
    notebook.wait("counts().some((count) => count > 20)")
    found = bench.measure(notebook, seconds)
    found["fps"] = found["best"]
    bench.close(notebook)
    return found


def canvas(bench: Bench, seconds: float, rate: int, blocked: bool = False, **options) -> dict:
    """`blocked`: also while a cell computes ("busy", and "kept", the part of its speed that it keeps), and while one sleeps."""
    notebook = bench.open()
    notebook.run(0, IMPORTS)
    if blocked:
        notebook.run(2, BUSY.format(seconds=2))
        alone = _rounds(notebook)
    notebook.run(1, f"started = time.time()\n{plot(rate, **options)}\nprint('started', started)")
    notebook.wait("counts().some((count) => count > 20)")
    first = min(notebook.get("firsts()")) - float(notebook.text(1).split("started ")[1])
    time.sleep(SETTLE_S)
    found = bench.measure(notebook, seconds)
    found["first_s"] = first
    for name, cell in (("asleep", ASLEEP), ("busy", BUSY)) if blocked else ():
        notebook.start(2, cell.format(seconds=seconds + 2))
        time.sleep(0.5)
        found[name] = bench.measure(notebook, seconds)["fps"]
        notebook.wait("window.ucoreDone[2]")
    if blocked:
        found["kept"] = _rounds(notebook) / alone
    bench.close(notebook)
    return found


def _rounds(notebook: Notebook) -> float:
    return float(notebook.text(2).split("rounds ")[1])


def ten(bench: Bench, seconds: float) -> dict:
    notebook = bench.open()
    notebook.run(0, IMPORTS)
    notebook.run(1, "charts = [live_plot(f'rate1000x{i}') for i in range(10)]")
    notebook.wait("counts().filter((count) => count > 20).length === 10")
    time.sleep(SETTLE_S)
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
    found, baseline, same = {}, {}, {}
    for _ in range(2):
        again = canvas(bench, seconds, 100_000, blocked=True, window=10_000, interval=16)
        show("canvas, 100k samples/s, window 10k", again)
        found = better(found, again)
        again = animation(bench, seconds)
        show("FuncAnimation, 200 points, 40 ms", again)
        baseline = better(baseline, again)
        again = animation(bench, seconds, rate=100_000, window=10_000)
        show("FuncAnimation, as the canvas, 40 ms", again)
        same = better(same, again)
    figures |= {
        "canvas_fps": found["fps"],
        "canvas_kernel_percent": found["kernel"],
        "canvas_browser_percent": found["browser"],
    }
    figures |= {"blocked_fps": min(found["busy"], found["asleep"]), "busy_cell_percent": 100 * found["kept"]}
    figures |= {"first_picture_s": found["first_s"]}
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
    figures |= {"matplotlib_fps_same": same["fps"], "matplotlib_kernel_percent_same": same["kernel"]}
    found = animation(bench, seconds, interval=16)
    show("FuncAnimation, 200 points, 16 ms", found)
    figures |= {"matplotlib_fps_16ms": found["fps"]}
    figures["fps_ratio"] = figures["canvas_fps"] / max(figures["matplotlib_fps"], 0.1)
    figures["fps_ratio_same"] = figures["canvas_fps"] / max(figures["matplotlib_fps_same"], 0.1)
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
        shutil.copytree(SOURCE / "ukernel" / "kernel" / "kernelspecs", folder / "jupyter" / "kernels")
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
