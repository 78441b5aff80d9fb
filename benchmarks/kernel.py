"""What the kernel costs beside plain ipykernel, the two in turns in one run, as a front end sees it (jupyter_client, loopback).

roundtrip_ratio: `1+1`, from the request to reply and idle; print_ratio: 10,000 prints; start_ratio: from the launch to the first
reply; shutdown_extra_s: what shutting down with a board takes longer; board_cell_ms: `%%ucore` with `1+1` on an unthrottled virtual
board; late_lines: of 1,000 cells that print and end at once, those whose line came after idle, or not at all; interrupt_max_s: the
slowest interrupt of a board cell, from the request to the cell's reply; idle_cpu_percent: of one core, all processes of an open
notebook together (kernel, Python, hub, virtual board), plain_idle_cpu_percent the same of ipykernel alone.

noisy_shutdowns: of how many (`shutdowns`) notebooks something was on standard error by their end: a host and a board cell by
`jupyter execute`, and in turns with it a cell and a shutdown at once, as soon as its reply is there; plain_noisy_shutdowns the same
of ipykernel with host cells.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
from jupyter_client import KernelManager

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 60.0
PRINTS = "for i in range(10_000):\n    print(i)"
ENDLESS = ("while True:\n    pass", "import time\nwhile True:\n    time.sleep(0.01)", "import time\ntime.sleep(100)")


class Kernel:
    """A kernel, and the client that measures it."""

    def __init__(self, name: str, stderr=None):
        began = time.perf_counter()
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel(stderr=stderr)
        self.client = self.manager.client()
        self.client.start_channels(hb=False, stdin=False)
        request = self.client.kernel_info()
        self._reply(request)
        self.start_s = time.perf_counter() - began
        self.client.wait_for_ready(timeout=TIMEOUT_S)

    def _reply(self, request: str) -> dict:
        while True:
            message = self.client.get_shell_msg(timeout=TIMEOUT_S)
            if message["parent_header"].get("msg_id") == request:
                return message["content"]

    def run(self, code: str) -> tuple[float, str]:
        """Run a cell; returns the seconds to reply and idle, and what it had printed by then."""
        began = time.perf_counter()
        request = self.client.execute(code, allow_stdin=False)
        text = self._until_idle(request)
        reply = self._reply(request)
        took = time.perf_counter() - began
        assert reply["status"] == "ok", reply
        return took, text

    def _until_idle(self, request: str) -> str:
        text = ""
        while True:
            message = self.client.get_iopub_msg(timeout=TIMEOUT_S)
            if message["parent_header"].get("msg_id") == request:
                content = message["content"]
                text += content.get("text", "") if message["msg_type"] == "stream" else ""
                if content.get("execution_state") == "idle":
                    return text

    def interrupt(self, code: str) -> float:
        """Run a cell that never ends, interrupt it, and return the seconds to its reply."""
        request = self.client.execute(f"%%ucore\nprint('started')\n{code}", allow_stdin=False)
        while self.client.get_iopub_msg(timeout=TIMEOUT_S)["content"].get("text") != "started\n":
            pass
        time.sleep(0.02)  # into the loop
        began = time.perf_counter()
        self.manager.interrupt_kernel()
        reply = self._reply(request)
        took = time.perf_counter() - began
        assert reply["ename"] == "KeyboardInterrupt", reply
        self._until_idle(request)
        return took

    def run_hastily(self, code: str) -> None:
        """Run a cell and wait for nothing but its reply."""
        self._reply(self.client.execute(code, allow_stdin=False))

    def processes(self) -> list[psutil.Process]:
        kernel = psutil.Process(self.manager.provisioner.pid)
        return [kernel, *kernel.children(recursive=True)]

    def shut_down(self) -> float:
        self.client.stop_channels()
        began = time.perf_counter()
        self.manager.shutdown_kernel()
        return time.perf_counter() - began


def cpu_percent(kernel: Kernel, seconds: float) -> float:
    """The share of one core that all processes of a kernel take while nothing happens."""
    processes = kernel.processes()
    before = [process.cpu_times() for process in processes]
    time.sleep(seconds)
    after = [process.cpu_times() for process in processes]
    used = sum(b.user + b.system - a.user - a.system for a, b in zip(before, after))
    return 100 * used / seconds


def make_environment(folder: Path) -> None:
    """Kernelspecs, runtime folder, history and hub of this benchmark's own."""
    kernels = folder / "kernels"
    shutil.copytree(ROOT / "src" / "ukernel" / "kernel" / "kernelspecs" / "ucore-virtual", kernels / "ucore-virtual")
    (kernels / "plain").mkdir()
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "plain" / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "plain", "language": "python"}))
    (folder / "tmp").mkdir()
    os.environ.update(
        JUPYTER_PATH=str(folder),
        JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
        IPYTHONDIR=str(folder / "ipython"),
        UCORE_STATE_PATH=str(folder / "hub.json"),
        UCORE_HUB_LINGER_S="0.5",
        PYTHONPATH=str(ROOT / "src"),
        TMPDIR=str(folder / "tmp"),
    )
    os.environ.pop("UCORE_BOARD", None)


def shut_down_often(folder: Path, count: int) -> dict:
    """Count the ends of notebooks, half of them by `jupyter execute`, at which something was said on standard error."""
    noisy = {"plain": 0, "ucore-virtual": 0}
    for number in range(count):
        for name in noisy:
            board = "%%ucore\n" if name != "plain" else ""
            said = (execute if number % 2 else start_and_shut_down)(name, folder, ["print(1)", f"{board}print(2)"])
            if said:
                noisy[name] += 1
                print(f"{name}: {said[-500:]}", file=sys.stderr)
    return {"shutdowns": count, "noisy_shutdowns": noisy["ucore-virtual"], "plain_noisy_shutdowns": noisy["plain"]}


def execute(name: str, folder: Path, codes: list[str]) -> str:
    """Run a notebook with `jupyter execute`; returns what was said on standard error."""
    path = folder / "notebook.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes]), path)
    command = [sys.executable, "-c", "from nbclient.cli import main; main()", f"--kernel_name={name}", str(path)]
    return words(subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr)


def start_and_shut_down(name: str, folder: Path, codes: list[str]) -> str:
    """Run cells and shut the kernel down with the last one's reply; returns what was said on standard error."""
    with tempfile.TemporaryFile() as log:
        kernel = Kernel(name, stderr=log)
        for code in codes:
            kernel.run_hastily(code)
        kernel.shut_down()
        log.seek(0)
        return words(log.read().decode(errors="replace"))


def words(said: str) -> str:
    """Leave out what is not about the end: the program's own reports, and ipykernel's warning when it starts on TCP."""
    return "".join(
        line for line in said.splitlines(True) if not line.startswith("[NbClientApp]") and "without encryption" not in line
    )


def measure(folder: Path, quick: bool) -> dict:
    rounds = 3 if quick else 10
    starts: dict[str, list] = {"plain": [], "ucore-virtual": []}
    ends: dict[str, list] = {"plain": [], "ucore-virtual": []}
    for name in ["plain", "ucore-virtual"] * rounds:
        kernel = Kernel(name)
        starts[name].append(kernel.start_s)
        if name != "plain":
            kernel.run("%%ucore\n1+1")
        ends[name].append(kernel.shut_down())
    quiet = shut_down_often(folder, 6 if quick else 100)
    plain, ours = Kernel("plain"), Kernel("ucore-virtual")
    try:
        ours.run("%%ucore\n1+1")
        for kernel in (plain, ours):
            kernel.run("import json")
        result: dict = {"roundtrip_ratio": ratio(plain, ours, "1+1", 200 if quick else 1000)}
        result["print_ratio"] = ratio(plain, ours, PRINTS, 7 if quick else 20)
        result["start_ratio"] = round(median(starts["ucore-virtual"]) / median(starts["plain"]), 2)
        result["shutdown_extra_s"] = round(median(ends["ucore-virtual"]) - median(ends["plain"]), 2)
        result["board_cell_ms"] = round(1000 * median(ours.run("%%ucore\n1+1")[0] for _ in range(200 if quick else 1000)), 2)
        late = 0
        for number in range(1000):
            late += ours.run(f"%%ucore\nprint('line {number}')")[1] != f"line {number}\n"
        result["late_lines"] = late
        interrupts = [ours.interrupt(code) for code in ENDLESS * (4 if quick else 20)]
        result["interrupt_max_s"] = round(max(interrupts), 3)
        # A pipe that was used and closed must cost nothing afterwards.
        ours.run("%%ucore\nwith ucore.open_pipe('idle') as pipe:\n    pipe.write(b'1')")
        seconds = 5 if quick else 30
        result["idle_cpu_percent"] = round(cpu_percent(ours, seconds), 2)
        result["plain_idle_cpu_percent"] = round(cpu_percent(plain, seconds), 2)
    finally:
        plain.shut_down()
        ours.shut_down()
    return result | quiet


def ratio(plain: Kernel, ours: Kernel, code: str, count: int) -> float:
    """The median time of a host cell, ours by plain's, run in turns."""
    times: tuple[list, list] = ([], [])
    for _ in range(count):
        for kernel, took in zip((plain, ours), times):
            took.append(kernel.run(code)[0])
    print(f"{code!r}: plain {1000 * median(times[0]):.2f} ms, ours {1000 * median(times[1]):.2f} ms", file=sys.stderr)
    return round(median(times[1]) / median(times[0]), 2)


def median(values) -> float:
    return statistics.median(list(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    quick = parser.parse_args().quick
    folder = Path(tempfile.mkdtemp(prefix="uk"))  # short: Unix sockets live in it
    try:
        make_environment(folder)
        result = measure(folder, quick)
    finally:
        time.sleep(1)  # the hub leaves
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
