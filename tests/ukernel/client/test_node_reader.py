"""examples/pipe-reader.mjs, a complete reader in another language: what it reads is what the Python one reads."""

import json
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from fakelistener import FakeListener
from forwarder import Forwarder
from scripted import PATIENCE_S, running_hub, wait_until

from ukernel.client import connection
from ukernel.hub import replay
from ukernel.link.clock import Times
from ukernel.protocol import statefile

READER = Path(__file__).parents[3] / "examples" / "pipe-reader.mjs"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


class Node:
    """The example, as a process."""

    def __init__(self, *arguments):
        command = ["node", str(READER), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.communicate()

    def finish(self):
        """(its events, what it complained of, its status)"""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return [json.loads(line) for line in out.splitlines()], err, self.process.returncode


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    for name in ("UCORE_PIPE_PORT", "UCORE_PIPE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with running_hub() as thread:
        yield thread


@pytest.fixture
def board(hub):
    with connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a notebook"})
        yield hub.boards["kitchen"]


def write_all_sorts(board):
    """Frames of every size, a gap and a good end; returns the frames."""
    frames = [b"\0\0\x80?", b"\0\0\0@", b"", b"x" * 65535, b"abc", b"y" * 300]
    board.write(b"".join(frames[:2]), 4, 0, times=Times(100.0, 101.0, 0.25))
    for number, frame in enumerate(frames[2:], 2):
        board.write(frame, len(frame), number)
    board.write(b"end", 3, 10)  # four are missing before it
    board.close_pipe(11)
    return [*frames, b"end"]


def chunks(events):
    return [bytes.fromhex(event["chunk"]) for event in events if "chunk" in event]


def test_it_reads_every_frame_the_loss_and_the_end(hub, board):
    board.open("adc", drops=True)
    with Node("adc") as node:
        wait_until(lambda: hub.hub.boards.subscriptions.readers)
        frames = write_all_sorts(board)
        events, err, status = node.finish()
    assert (err, status) == ("", 0)
    assert chunks(events) == frames
    assert events[0]["open"]["name"] == "adc"
    assert events[-3] == {"lost": 4, "cause": "board"}
    assert events[-1] == {"end": "closed", "frames": 11}


def test_it_reads_plain_frames(hub, board):
    board.open("adc")
    with Node("adc", "--plain") as node:
        wait_until(lambda: hub.hub.boards.subscriptions.readers)
        frames = write_all_sorts(board)
        events, err, status = node.finish()
    assert (err, status) == ("", 0)
    assert events == [{"chunk": frame.hex()} for frame in frames]


def test_it_replays_with_times(board):
    board.open("adc")
    frames = write_all_sorts(board)
    with Node("adc", "--replay", "--timestamps") as node:
        events, err, status = node.finish()
    assert (err, status) == ("", 0)
    assert chunks(events) == frames
    first, second, third = events[1:4]
    assert (first["time"], first["error"], second["time"]) == (100.0, 0.25, 101.0)
    assert third["time"] > 1e9 and third["error"] is None


def test_it_says_when_the_pipe_did_not_end_well(hub, board):
    board.open("adc")
    with Node("adc") as node:
        wait_until(lambda: hub.hub.boards.subscriptions.readers)
        board.ready(restarted=True)
        events, _, status = node.finish()
    assert events[-1]["end"] == "board restarted"
    assert status == 1


def test_a_slow_one_is_told_what_it_missed(hub, board, monkeypatch):
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 1 << 20)
    board.open("adc")
    with Node("adc") as node:
        wait_until(lambda: hub.hub.boards.subscriptions.readers)
        (hidden,) = hub.hub.boards.subscriptions.readers
        written = 0
        while not hub.call(lambda: hidden.opening.buffer.start > hidden._at):  # nobody reads its output
            board.write(b"".join(struct.pack("<I", written + n).ljust(1000, b".") for n in range(50)), 1000, written)
            written += 50
        board.close_pipe(written)
        events, _, status = node.finish()
    numbers = [struct.unpack_from("<I", chunk)[0] for chunk in chunks(events)]
    lost = sum(event["lost"] for event in events if "lost" in event)
    assert status == 0
    assert lost and len(numbers) + lost == written
    assert numbers == sorted(set(numbers))


def test_it_reads_through_a_forwarded_port(hub, board, monkeypatch, tmp_path):
    board.open("adc")
    board.write(b"abcd", 4, 0)
    board.close_pipe(1)
    here = statefile.read()
    with Forwarder(here.port) as tunnel, monkeypatch.context() as elsewhere:
        elsewhere.setenv("UCORE_STATE_PATH", str(tmp_path / "none.json"))
        elsewhere.setenv("UCORE_PIPE_PORT", str(tunnel.port))
        elsewhere.setenv("UCORE_PIPE_TOKEN", here.token)
        with Node("adc", "--replay") as node:
            events, err, status = node.finish()
    assert (chunks(events), err, status) == ([b"abcd"], "", 0)


def test_it_finds_out_a_squatter(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        learnt = []

        def pose():
            sock, _ = squatter.accept()
            with sock:
                sock.sendall(b"ucore 1 " + b"0" * 32 + b"\n")
                learnt.append(sock.recv(4096))
                sock.sendall(json.dumps({"ok": True, "proof": "0" * 64}).encode() + b"\n\4\0\0\0fake")
                sock.recv(1)

        threading.Thread(target=pose, daemon=True).start()
        monkeypatch.setenv("UCORE_PIPE_PORT", str(squatter.getsockname()[1]))
        monkeypatch.setenv("UCORE_PIPE_TOKEN", "ab" * 32)
        with Node("adc") as node:
            events, err, status = node.finish()
    assert (events, status) == ([], 1)
    assert "poses as the hub" in err
    assert b"ab" * 32 not in learnt[0]


def test_it_says_what_is_wrong_in_a_sentence(hub, tmp_path, monkeypatch):
    with Node("") as node:
        assert node.finish()[1:] == ("usage: node pipe-reader.mjs PIPE [--plain] [--replay] [--timestamps]\n", 2)
    with Node("a\nb") as node:
        _, err, status = node.finish()
        assert status == 1 and err.startswith("pipe-reader: the hub refused: ") and "pipe name" in err
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "none.json"))
    with Node("adc") as node:
        _, err, status = node.finish()
        assert status == 1 and "no board hub runs" in err


def test_a_connection_that_breaks_is_no_end(tmp_path, monkeypatch):
    path = tmp_path / "fake.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    fake = FakeListener(path)
    fake.script = lambda feed: (feed.opened(), feed.batch(b"ab", b"cd"), feed.raw(b"\x0a\0\0\0half"), feed.hang_up())
    try:
        with Node("adc") as node:
            events, err, status = node.finish()
    finally:
        fake.close()
    assert chunks(events) == [b"ab", b"cd"]
    assert "broke" in err and status == 1
