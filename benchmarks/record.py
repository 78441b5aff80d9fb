"""What recording costs, and what it keeps: real hubs and recorders, in processes of their own.

cpu_percent: of a core, in the recorder, at 100,000 samples/s of a 12-bit signal as float32, in batches of 100 with times; bytes_per_sample: of the
file; sqlite_cpu_percent, sqlite_bytes_per_sample and parquet_...: the same follower into a table of batches, and into a Parquet file with a
time a sample (null where pyarrow is not installed), in the same run. lost: frames that were written meanwhile, and are neither in the file nor
counted in it. ten_pipes_cpu_percent: ten pipes of 1 kHz, in batches of 10; ten_singles_cpu_percent: the same, each frame in a batch of its own.
killed_lost_s: what a kill -9 takes, the most of several. soak_mb: by how much the recorder's memory has grown since its fifth second, at
100,000 samples/s; --soak SECONDS (30 minutes: 1800).

load_100m_s: values and times of 100 million samples, scaled from 10 million, with the least of two runs, and numpy_100m_s: the same bytes by numpy.fromfile and times by
numpy.linspace; load_peak_ratio: memory at the most, over that of the answer. open_hour_ms, window_ms: to open an hour of 1 kHz, and to read a second of it,
both the median. play_per_s: samples a second from a recording through `subscribe` and `read_array`. csv_per_s: rows a second into a CSV file.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import re
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil

from ucore import wire
from ukernel.client import connection
from ukernel.hub import server
from ukernel.link import session
from ukernel.link.clock import Times
from ukernel.pipes import subscribe
from ukernel.protocol import statefile
from ukernel.recordings import export, load, play, record
from ukernel.recordings import format as fmt
from ukernel.recordings.follower import Follower
from ukernel.recordings.order import Meaning
from ukernel.recordings.selection import Selection
from ukernel.recordings.sink import Opening
from ukernel.recordings.writer import RecordingWriter

PER_S = 100_000
BATCH = 100
WARM_S = 2.0  # before the CPU is looked at: imports, the first chunks
FLUSH_S = 0.25


def signal(count: int) -> list[int]:
    """A 12-bit signal: a slow sine with noise of a few steps."""
    random.seed(1)
    return [min(4095, max(0, round(2048 + 1500 * math.sin(n / 300) + random.gauss(0, 4)))) for n in range(count)]


class StandIn:
    """A board without a line. A cell says what comes: "PIPES PER_S BATCH SECONDS"."""

    is_virtual = False

    def __init__(self, port, deliver):
        self.port, self.name, self.facts = port, "standin", {"boot": 1}
        self._deliver = deliver
        values = signal(PER_S)
        self._data = struct.pack(f"<{PER_S}f", *values)

    def start(self):
        self._later(self._tell, session.Ready(self.facts, False, False, 0))

    def press_reset(self):
        pass

    def set_timestamps(self, wanted):
        pass

    def close(self):
        pass

    def interrupt(self):
        pass

    def send(self, type, parent, content):
        if type == wire.EXECUTE_REQUEST:
            self._later(self._run, *map(float, content.decode().split()), parent)

    def _later(self, function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _tell(self, event):
        self._deliver(self, event)

    def _run(self, pipes, per_s, batch, seconds, parent):
        pipes, batch = int(pipes), int(batch)
        for pipe in range(1, pipes + 1):
            self._tell(session.PipeOpened(pipe, 1, f"bench{pipe}", 0))
        self._tell(session.Message(wire.EXECUTE_REPLY, parent, b'{"status":"ok"}'))
        began, started, number = time.monotonic(), time.time(), 0
        while (now := time.monotonic() - began) < seconds:
            while (number + batch) / per_s <= now:
                at = 4 * (number % (PER_S - batch))
                # As a board's clock says it: ticks of a microsecond, and some jitter of the producer's.
                first = started + number / per_s + random.uniform(0, 0.05) * batch / per_s
                times = Times(first, first + (batch - 1) / per_s, 0.0005 + batch / per_s)
                for pipe in range(1, pipes + 1):
                    self._tell(session.PipeBatch(pipe, number, 4, self._data[at : at + 4 * batch], times))
                number += batch
            time.sleep(0.002)
        for pipe in range(1, pipes + 1):
            self._tell(session.PipeClosed(pipe, number))


class RunningHub:
    """A hub with that board, in a process of its own. A context manager."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        os.environ["UCORE_STATE_PATH"] = str(self.folder / "hub.json")
        self._own = subprocess.Popen([sys.executable, __file__, "--hub"], stderr=subprocess.DEVNULL)
        while statefile.read() is None and self._own.poll() is None:
            time.sleep(0.01)
        self._client = connection.connect()
        self._client.request("attach_request", {"board": "standin://1", "client": "benchmarks/record.py"}, 30)
        return self

    def __exit__(self, *exc_info):
        self._client.request("stop_request", {}, 10)
        self._client.close()
        self._own.wait()
        self._folder.cleanup()

    def produce(self, pipes, per_s, batch, seconds):
        self._client.send("execute_request", {"code": f"{pipes} {per_s} {batch} {seconds}"})

    def frames(self):
        return sum(pipe["frames"] for pipe in self._client.request("pipes_request")["pipes"])


def cpu_s(process):
    times = process.cpu_times()
    return times.user + times.system


def measure(process, seconds):
    """How much of a core a process takes from its WARM_S-th second on, in percent."""
    time.sleep(WARM_S)
    began, before = time.monotonic(), cpu_s(process)
    time.sleep(seconds - WARM_S - 0.5)
    return round(100 * (cpu_s(process) - before) / (time.monotonic() - began), 2)


def recorded(pipes, per_s, batch, seconds):
    """CPU, bytes a sample and what is missing of one recording."""
    with RunningHub() as running:
        recording = record("bench*", running.folder / "x.mcap", formats="<f")
        running.produce(pipes, per_s, batch, seconds)
        percent = measure(psutil.Process(recording.state.pid), seconds)
        while running.frames() == 0 or any(pipe["open"] for pipe in running._client.request("pipes_request")["pipes"]):
            time.sleep(0.1)
        time.sleep(1)
        state, written = recording.stop(), running.frames()
        return percent, round(state.file_bytes / state.frames, 2), written - state.frames - state.lost


class SqliteSink:
    """A row a batch, committed four times a second."""

    def __init__(self, path):
        self._path, self.frames = path, 0
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        self._file.execute("CREATE TABLE batches (pipe, first INTEGER, began REAL, ended REAL, error REAL, data BLOB)")
        self._rows = []
        self._due = 0.0

    def opened(self, opening, unread):
        pass

    def ended(self, opening, reason):
        pass

    def lost(self, opening, count, cause):
        pass

    def note(self, text):
        pass

    def take(self, opening, frames, size, ends, data):
        self.frames += frames
        self._rows.append((opening.pipe, opening.number, *ends, data))

    def step(self):
        if self._rows and time.monotonic() >= self._due:
            self._due = time.monotonic() + FLUSH_S
            self._file.execute("BEGIN")
            self._file.executemany("INSERT INTO batches VALUES (?,?,?,?,?,?)", self._rows)
            self._file.execute("COMMIT")
            self._rows = []

    def close(self):
        self.step()
        self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._file.close()


class ParquetSink(SqliteSink):
    """A row a sample, with its time; a row group each second: what a kill takes is all of it."""

    def __init__(self, path):
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._np, self._pa, self.frames, self._due, self._rows = np, pa, 0, 0.0, []
        self._schema = pa.schema([("time", pa.float64()), ("value", pa.float32())])
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")

    def take(self, opening, frames, size, ends, data):
        self.frames += frames
        np = self._np
        self._rows.append((np.linspace(ends[0], ends[1], frames), np.frombuffer(data, "<f4")))

    def step(self):
        if self._rows and time.monotonic() >= self._due:
            self._due = time.monotonic() + 1.0
            times, values = (self._np.concatenate(column) for column in zip(*self._rows))
            self._file.write_table(self._pa.table([times, values], schema=self._schema))
            self._rows = []

    def close(self):
        self._due = 0.0
        self.step()
        self._file.close()


def _follow(sink_type, path, stopped, results):
    sink = sink_type(path)
    follower = Follower(Selection(("bench*",)), sink, "benchmarks/record.py")

    def step():
        sink.step()
        if stopped.is_set():
            follower.stop("stopped")

    follower.run(step)
    sink.close()
    results.put(sink.frames)


def baseline(sink_type, name, seconds):
    """CPU and bytes a sample of the same follower with another sink."""
    context = multiprocessing.get_context("spawn")
    with RunningHub() as running:
        stopped, results = context.Event(), context.Queue()
        path = running.folder / name
        process = context.Process(target=_follow, args=(sink_type, str(path), stopped, results))
        process.start()
        while not path.exists():
            time.sleep(0.05)
        running.produce(1, PER_S, BATCH, seconds)
        percent = measure(psutil.Process(process.pid), seconds)
        time.sleep(2)
        stopped.set()
        frames = results.get(timeout=60)
        process.join()
        return percent, round(path.stat().st_size / frames, 2)


def killed(rounds):
    """The longest time that a kill has taken, from the last frame in the file on, in seconds."""
    from mcap.records import Message
    from mcap.stream_reader import StreamReader

    worst = 0.0
    for _ in range(rounds):
        with RunningHub() as running:
            path = running.folder / "x.mcap"
            recording = record("bench*", path, formats="<f")
            running.produce(1, PER_S, BATCH, 4)
            time.sleep(2.5 + random.random() / 2)
            process = psutil.Process(recording.state.pid)
            process.kill()
            now, last = time.time(), 0.0
            with path.open("rb") as stream:
                try:
                    for found in StreamReader(stream).records:
                        if isinstance(found, Message) and found.channel_id > 1:
                            last = fmt.Layout("<f").decode(found.data).time_last
                except Exception:
                    pass
            worst = max(worst, now - last)
    return round(worst, 3)


def soak(seconds):
    """By how many MB the recorder grows, from its fifth second on."""
    with RunningHub() as running:
        recording = record("bench*", running.folder / "x.mcap", formats="<f")
        process = psutil.Process(recording.state.pid)
        running.produce(1, PER_S, BATCH, seconds)
        time.sleep(5)
        before = process.memory_info().rss
        time.sleep(seconds - 6)
        grown = (process.memory_info().rss - before) / 1e6
        state = recording.stop()
        print(f"soak: {state.describe()}", flush=True)
        return round(grown, 2)


# Reading


def write_recording(path, per_s, seconds):
    """A recording of a 12-bit signal as float32, as a recorder writes it: four flushes a second."""
    values = (np.array(signal(per_s), "<f4") / 4096 * 3.3).astype("<f4").tobytes()
    writer = RecordingWriter(path, {}, Meaning({"*": "<f"}, {}, {}))
    opening = Opening(1, "adc", "bench", "port", 1, "1", {})
    writer.opened(opening, 0)
    step = per_s // 4
    for quarter in range(4 * seconds):
        began = 1.7e9 + quarter / 4
        at = 4 * step * (quarter % 4)
        for first in range(0, step, 2500):
            count = min(2500, step - first)
            ends = began + first / per_s, began + (first + count - 1) / per_s, 1e-4
            writer.take(opening, count, 4, ends, memoryview(values)[at + 4 * first : at + 4 * (first + count)])
            opening.number += count
        writer.flush_if_due(float(quarter))
    writer.finish("stopped")
    return path


def in_process(function, *arguments):
    """Return what a function does in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_kb():
    """The most memory that this process has had: not what its parent had, as getrusage says."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def load_all(path):
    """Seconds to read all values and times, and memory at the most over that of the answer."""
    load(path)["adc"][:1].read()  # imports
    before = peak_kb()
    began = time.perf_counter()
    values, times = load(path)["adc"].read()
    took = time.perf_counter() - began
    answer_kb = (values.nbytes + times.nbytes) / 1024
    return took, (peak_kb() - before) / answer_kb


def numpy_all(path, count):
    """The same from a file of nothing but values."""
    began = time.perf_counter()
    np.fromfile(path, "<f4")
    np.linspace(1.7e9, 1.7e9 + 100, count)
    return time.perf_counter() - began


def hour(path):
    """Milliseconds to open an hour, and for a second of it."""
    opened, windows = [], []
    for number in range(15):
        began = time.perf_counter()
        pipe = load(path)["adc"]
        opened.append(time.perf_counter() - began)
        at = 1.7e9 + 200 * number + 100.125
        began = time.perf_counter()
        values, _ = pipe.between(at, at + 1).read()
        windows.append(time.perf_counter() - began)
        assert len(values) == 1000
    return round(1000 * statistics.median(opened), 2), round(1000 * statistics.median(windows), 2)


def played(path, count):
    """Samples a second, from the first to the last one that a reader gets."""
    with play(path, speed=math.inf), subscribe("adc", timeout=60) as pipe:
        pipe.read_array(10_000)
        began = time.perf_counter()
        got = len(pipe.read_array(count - 10_000))
        took = time.perf_counter() - began
        assert got == count - 10_000 and not pipe.lost
    return round(got / took)


def reading(folder):
    seconds = 100
    count = PER_S * seconds
    path = write_recording(folder / "10m.mcap", PER_S, seconds)
    raw = folder / "10m.f4"
    load(path)["adc"].values.tofile(raw)
    figures = {}
    found = [in_process(load_all, path) for _ in range(2)]
    figures["load_100m_s"] = round(10 * min(took for took, _ in found), 2)
    figures["load_peak_ratio"] = round(max(ratio for _, ratio in found), 2)
    figures["numpy_100m_s"] = round(10 * min(in_process(numpy_all, raw, count) for _ in range(2)), 2)
    figures["play_per_s"] = in_process(played, path, count)
    began = time.perf_counter()
    rows = export(path, folder / "x.csv", stop=10).rows
    figures["csv_per_s"] = round(rows / (time.perf_counter() - began))
    path.unlink()
    figures["open_hour_ms"], figures["window_ms"] = in_process(hour, write_recording(folder / "hour.mcap", 1000, 3600))
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    parser.add_argument("--read", action="store_true", help="reading only")
    parser.add_argument("--hub", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.hub:
        sys.exit(server.main(StandIn))
    seconds = 8 if arguments.quick else 30
    with tempfile.TemporaryDirectory() as folder:
        figures = reading(Path(folder))
    for name, value in figures.items():
        print(f"{name}: {value}", flush=True)
    if arguments.read:
        print(json.dumps(figures))
        return
    percent, per_sample, lost = recorded(1, PER_S, BATCH, seconds)
    figures.update(cpu_percent=percent, bytes_per_sample=per_sample, lost=lost)
    print(f"100,000 samples/s: {percent} % of a core, {per_sample} bytes a sample, {lost} lost", flush=True)
    for name, sink_type in (("sqlite", SqliteSink), ("parquet", ParquetSink)):
        found = (None, None)
        if name != "parquet" or find_spec("pyarrow"):
            found = baseline(sink_type, f"x.{name}", seconds)
        figures[f"{name}_cpu_percent"], figures[f"{name}_bytes_per_sample"] = found
        print(f"{name}: {found[0]} % of a core, {found[1]} bytes a sample", flush=True)
    figures["ten_pipes_cpu_percent"], _, missing = recorded(10, 1000, 10, seconds)
    figures["ten_singles_cpu_percent"], _, more = recorded(10, 1000, 1, seconds)
    figures["lost"] += missing + more
    print(
        f"ten pipes of 1 kHz: {figures['ten_pipes_cpu_percent']} %, in single frames {figures['ten_singles_cpu_percent']} %",
        flush=True,
    )
    figures["killed_lost_s"] = killed(3 if arguments.quick else 10)
    print(f"a kill takes {figures['killed_lost_s']} s", flush=True)
    figures["soak_mb"] = soak(arguments.soak or (20 if arguments.quick else 120))
    print(f"memory has grown by {figures['soak_mb']} MB", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
