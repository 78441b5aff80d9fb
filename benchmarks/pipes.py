"""How fast, how cheap and how honest pipes are between the hub and those who read: real hubs in processes of their own.

numpy_per_s: 4-byte samples a second from the hub's listener into a NumPy array (`collect`, default decoder); numpy_ratio and callable_ratio
(a Python function as decoder) against the naive reader of the same pipe in the same run: two `recv` and one `struct.unpack` a frame.
readers16_lost and readers16_hub_cores: sixteen readers of one pipe at 100,000 frames/s, from MicroPython on the virtual board; the hub's
CPU in cores, decoding the line included. slow_reader_exact: at 100,000 frames/s of 100 bytes a reader stops for ten seconds; whether it then
learns exactly what it missed, while another one loses nothing. hub_latency_p99_ms: from the bytes' being put on the hub's serial line, a
pseudo-terminal, to the consumer's chunk; floor_p99_ms: what waking another process takes at the same time, which tells how idle the machine
is. hub_mb: the most memory that a hub took, the interpreter included.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tty
import warnings

import psutil

from ucore import wire
from ukernel.client import connection
from ukernel.hub import server
from ukernel.link import session
from ukernel.pipes import collect, pipes, subscribe
from ukernel.protocol import statefile
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

FRAMES_PER_S = 100_000
READERS = 16
SAMPLES = 4_000_000  # what the hub holds of one pipe
NAIVE_SAMPLES = 200_000
FRAME_BYTES = 100
STOP_S = 10.0
PACED = """
import struct, time, _thread
def produce():
    with ucore.open_pipe("bench") as pipe:
        write, pack, number = pipe.write, struct.pack, 0
        began = time.ticks_us()
        while number < {count}:
            due = min(time.ticks_diff(time.ticks_us(), began) * {per_s} // 1000000, {count})
            for number in range(number, due):
                write(pack("<I", number))
            number = due
            time.sleep_ms(1)
_thread.start_new_thread(produce, ())
"""


class StandIn:
    """A board without a line: what a cell asks for, "fill NUMBER SIZE" or "pace SECONDS SIZE", comes as fast as that says."""

    def __init__(self, port, deliver):
        self.port, self.name, self.facts = port, "standin", {}
        self._deliver = deliver

    def start(self):
        self._later(self._tell, session.Ready(self.facts, False, False, 0))

    is_virtual = False

    def press_reset(self):
        pass

    def set_timestamps(self, wanted):
        pass

    def close(self):
        pass

    def interrupt(self):
        pass

    def send(self, type, parent, content):
        if type != wire.EXECUTE_REQUEST:
            return  # a question, which needs no answer
        command, number, size = content.decode().split()
        self._later(self._run, command, float(number), int(size), parent)

    def _later(self, function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _tell(self, event):
        self._deliver(self, event)

    def _run(self, command, amount, size, parent):
        self._tell(session.PipeOpened(1, 1, "bench", 0))
        self._tell(session.Message(wire.EXECUTE_REPLY, parent, b'{"status":"ok"}'))
        number = 0
        if command == "fill":
            step = 16_000
            while number < amount:
                data = struct.pack(f"<{step}f", *range(number, number + step))
                self._tell(session.PipeBatch(1, number, size, data))
                number += step
        else:
            step = FRAMES_PER_S // 1000
            began = time.monotonic()
            while (now := time.monotonic() - began) < amount:
                while number < now * FRAMES_PER_S:
                    data = b"".join(struct.pack("<I", n).ljust(size, b".") for n in range(number, number + step))
                    self._tell(session.PipeBatch(1, number, size, data))
                    number += step
                time.sleep(0.001)
        self._tell(session.PipeClosed(1, number))


class RunningHub:
    """A hub in a process of its own, with a client attached to its board. A context manager."""

    def __init__(self, port=None):
        self._port = port
        self._folder = tempfile.TemporaryDirectory()
        self.peak_mb = 0.0

    def __enter__(self):
        os.environ["UCORE_STATE_PATH"] = os.path.join(self._folder.name, "hub.json")
        self._own = None
        if self._port is None:
            self._own = subprocess.Popen([sys.executable, __file__, "--hub"])
            while statefile.read() is None and self._own.poll() is None:
                time.sleep(0.01)
        self._client = connection.connect()
        self.process = psutil.Process(statefile.read().pid)
        self._client.request("attach_request", {"board": self._port or "standin://1", "client": "benchmarks/pipes.py"}, 30)
        return self

    def __exit__(self, *exc_info):
        self.look()
        self._client.request("stop_request", {}, 10)
        self._client.close()
        self.process.wait(10)
        if self._own:
            self._own.wait()
        self._folder.cleanup()

    def run(self, code):
        """Start a cell."""
        self._client.send("execute_request", {"code": code})

    def look(self):
        self.peak_mb = max(self.peak_mb, self.process.memory_info().rss / 1e6)

    def cpu_s(self):
        times = self.process.cpu_times()
        return times.user + times.system


def naive_per_s(samples: int) -> float:
    """Samples/s of a reader that takes frame after frame."""
    with connection.open_reader("bench", options=("replay",)) as sock:
        taken = 0
        unpack = struct.Struct("<f").unpack
        values = []
        while taken < samples:
            size = int.from_bytes(sock.recv(4), "little")
            if size >> 31:
                sock.recv(size & 0xFFFFFF)
                began = time.perf_counter()
                continue
            values.append(unpack(sock.recv(size))[0])
            taken += 1
        return taken / (time.perf_counter() - began)


def collect_per_s(samples: int, decoder=None) -> float:
    began = time.perf_counter()
    found = collect("bench", n=samples, decoder=decoder, replay=True)
    seconds = time.perf_counter() - began
    assert len(found) == samples and (found == range(samples)).all()
    return samples / seconds


def throughput(rounds: int) -> tuple[dict, float]:
    collect_of, naive_of, callable_of = [], [], []
    with RunningHub() as running:
        running.run(f"fill {SAMPLES} 4")
        while not any(pipe.frames == SAMPLES and not pipe.open for pipe in pipes()):
            time.sleep(0.05)
        collect("bench", n=1000, replay=True)  # imports NumPy
        held = next(pipe.held for pipe in pipes())
        assert held == SAMPLES, f"the hub holds {held}"
        for _ in range(rounds):
            naive_of.append(naive_per_s(NAIVE_SAMPLES))
            collect_of.append(collect_per_s(SAMPLES))
            callable_of.append(collect_per_s(SAMPLES // 4, lambda b: struct.unpack("<f", b)[0]))
    naive = statistics.median(naive_of)
    figures = {
        "numpy_per_s": round(statistics.median(collect_of)),
        "numpy_ratio": round(statistics.median(collect_of) / naive, 1),
        "callable_ratio": round(statistics.median(callable_of) / naive, 2),
    }
    print(
        f"naive {naive:,.0f}/s, NumPy {figures['numpy_per_s']:,}/s, a callable {statistics.median(callable_of):,.0f}/s",
        flush=True,
    )
    return figures, running.peak_mb


def _read(count, ready, results):
    with subscribe("bench") as pipe:
        ready.release()
        values = pipe.read_array(count, "<I")
        ordered = bool((values == range(len(values))).all())
        results.put((len(values), pipe.lost, ordered))


def sixteen(seconds: float) -> tuple[dict, float]:
    count = int(seconds * FRAMES_PER_S)
    context = multiprocessing.get_context("fork")
    ready, results = context.Semaphore(0), context.Queue()
    with VirtualBoard("micropython") as board, RunningHub(board.port) as running:
        readers = [context.Process(target=_read, args=(count, ready, results)) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        for _ in readers:
            ready.acquire()
        running.run(PACED.format(count=count, per_s=FRAMES_PER_S))
        while not pipes():
            time.sleep(0.01)
        began, cpu = time.monotonic(), running.cpu_s()
        time.sleep(seconds * 0.7)
        rate = round(pipes()[0].frames_per_s)
        found = [results.get(timeout=seconds * 10 + 60) for _ in readers]
        took, used = time.monotonic() - began, running.cpu_s() - cpu
        for reader in readers:
            reader.join()
    lost = sum(count - got for got, _, _ in found) + sum(not ordered for _, _, ordered in found)
    print(f"16 readers: {rate:,} frames/s, the hub took {used / took:.2f} cores, lost {lost}", flush=True)
    figures = {"readers16_lost": lost, "readers16_hub_cores": round(used / took, 2), "readers16_per_s": rate}
    return figures, running.peak_mb


def _follow(ready, stopped, results):
    warnings.simplefilter("ignore")  # it is counted here
    with subscribe("bench") as pipe:
        ready.release()
        got = 0
        for chunk in pipe:
            assert len(chunk) == FRAME_BYTES
            got += 1
            if got == 1 and stopped:
                time.sleep(STOP_S)
        results.put((stopped, got, dict(pipe.losses), pipe.end_reason))


def slow_reader() -> tuple[dict, float]:
    context = multiprocessing.get_context("fork")
    ready, results = context.Semaphore(0), context.Queue()
    with RunningHub() as running:
        readers = [context.Process(target=_follow, args=(ready, stopped, results)) for stopped in (False, True)]
        for reader in readers:
            reader.start()
            ready.acquire()
        running.run(f"pace {STOP_S + 2} {FRAME_BYTES}")
        while results.empty() and all(reader.is_alive() for reader in readers):
            running.look()
            time.sleep(0.2)
        found = {stopped: (got, losses, end) for stopped, got, losses, end in (results.get(timeout=60) for _ in readers)}
        for reader in readers:
            reader.join()
        written = next(pipe.frames for pipe in pipes())
    quick, slow = found[False], found[True]
    exact = (
        quick == (written, {}, "closed")
        and slow[2] == "closed"
        and slow[1].keys() == {"reader"}
        and slow[0] + slow[1]["reader"] == written
    )
    print(
        f"slow reader: {written:,} frames written, {slow[0]:,} read, told of {slow[1]}; the other one lost {quick[1] or 'nothing'}",
        flush=True,
    )
    return {"slow_reader_exact": exact}, running.peak_mb


def _clocked_board(fd: int, count: int, go) -> None:
    """A board on a pseudo-terminal that only says when: a frame every 5 ms that holds the time at which it was put on the line."""
    nonce, heard = 0, b""
    while not nonce:
        heard += os.read(fd, 4096)
        for line in heard.split(b"\n")[:-1]:
            body = wire.unchecked(wire.unescape(line), 0)
            if body and body[0] == wire.HELLO:
                nonce = json.loads(body[1:])["nonce"]

    def say(kind, payload, number=None, seed=None):
        head = bytes((kind,)) if number is None else bytes((kind, number & 255))
        os.write(fd, wire.stuff(wire.checked(head + payload, nonce if seed is None else seed)) + b"\xf7")

    hello = {"v": wire.PROTOCOL, "build": wire.BUILD, "boot": 1, "nonce": nonce, "resumed": False, "cell": 0, "ring": 1000}
    say(wire.HELLO, json.dumps(hello).encode(), seed=0)
    go.wait()
    say(wire.MESSAGE, bytes((wire.COMM_OPEN, 0, 0)) + struct.pack("<BHI", 1, 1, 0) + b"clock", 0)
    for number in range(count):
        time.sleep(0.005)
        select.select([fd], [], [], 0)[0] and os.read(fd, 4096)  # acks
        say(wire.BATCH, struct.pack("<BHIQ", 1, 8, number, time.time_ns()), number + 1)
    say(wire.MESSAGE, bytes((wire.COMM_CLOSE, 0, 0)) + struct.pack("<BI", 1, count), count + 1)
    go.wait()


def latency(seconds: float) -> tuple[dict, float]:
    count = int(seconds * 200)
    context = multiprocessing.get_context("fork")
    board_end, port_end = pty.openpty()
    tty.setraw(port_end)
    go = context.Barrier(2)
    board = context.Process(target=_clocked_board, args=(board_end, count, go), daemon=True)
    board.start()
    with RunningHub(os.ttyname(port_end)) as running, subscribe("clock") as pipe:
        go.wait()
        ages = [(time.time_ns() - struct.unpack("<Q", chunk)[0]) / 1e6 for chunk in pipe]
        assert len(ages) == count
        go.wait()
    board.join()
    p99 = statistics.quantiles(ages, n=100)[98]
    floor = _floor(context, count)
    print(
        f"latency: median {statistics.median(ages):.3f} ms, p99 {p99:.3f} ms; two processes and a pipe: p99 {floor:.3f} ms",
        flush=True,
    )
    return {"hub_latency_p99_ms": round(p99, 3), "floor_p99_ms": round(floor, 3)}, running.peak_mb


def _floor(context, count: int) -> float:
    """The p99 of one process waking another here and now: how idle the machine is."""
    reading, writing = os.pipe()

    def tick():
        for _ in range(count):
            time.sleep(0.005)
            os.write(writing, time.time_ns().to_bytes(8, "little"))

    process = context.Process(target=tick)
    process.start()
    ages = [(-int.from_bytes(os.read(reading, 8), "little") + time.time_ns()) / 1e6 for _ in range(count)]
    process.join()
    return statistics.quantiles(ages, n=100)[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="at most a minute")
    parser.add_argument("--hub", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hub:
        sys.exit(server.main(StandIn))
    firmware.build()
    figures, peaks = {}, []
    parts = [
        (throughput, 3 if options.quick else 7),
        (latency, 6 if options.quick else 30),
        (sixteen, 6 if options.quick else 30),
    ]
    for part, amount in parts:
        found, peak_mb = part(amount)
        figures |= found
        peaks.append(peak_mb)
    found, peak_mb = slow_reader()
    print(json.dumps({**figures, **found, "hub_mb": round(max(*peaks, peak_mb))}))


if __name__ == "__main__":
    main()
