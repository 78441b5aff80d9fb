"""One opening and its readers, without sockets: whatever happens in whatever order, every frame is there or told."""

import asyncio
import json
import random
import struct

import pytest

from ukernel.hub import opening, replay
from ukernel.hub.opening import Opening
from ukernel.hub.replay import ReplayBuffers
from ukernel.hub.subscriber import Subscriber
from ukernel.link.clock import Times
from ukernel.protocol.pipestream import Batch, PipeStreamDecoder


class Peer:
    """The other end of a reader's connection: takes writes until it has enough of them."""

    def __init__(self, reader, rng):
        self.reader = reader
        self.rng = rng
        self.data = bytearray()
        self.paused = self.closed = self.reset = False
        reader.connection_made(self)

    def write(self, data):
        assert not self.closed
        self.data += data
        if not self.paused and self.rng.random() < 0.3:
            self.paused = True
            self.reader.pause_writing()

    def go_on(self):
        if self.paused and not self.closed:
            self.paused = False
            self.reader.resume_writing()

    def set_write_buffer_limits(self, high):
        pass

    def is_closing(self):
        return self.closed

    def close(self):
        assert not self.closed
        self.closed = True

    def abort(self):
        self.closed = self.reset = True

    def get_extra_info(self, name):
        return self

    def setsockopt(self, *options):
        pass

    def heard(self):
        """Frames as bytes, notices as dictionaries."""
        out = []
        for event in PipeStreamDecoder().receive_data(bytes(self.data)):
            if isinstance(event, Batch):
                while event.count:
                    out.append(event.pop())
            else:
                out.append(event)
        return out


OPTIONS = [
    frozenset(),
    frozenset({"notices"}),
    frozenset({"batches"}),
    frozenset({"timestamps"}),
    frozenset({"replay"}),
    frozenset({"replay", "batches"}),
    frozenset({"replay", "timestamps"}),
]


@pytest.mark.parametrize("seed", range(40))
def test_every_frame_is_there_or_told_whatever_the_readers_do(seed, monkeypatch):
    asyncio.run(_run(random.Random(seed), monkeypatch))


async def _run(rng, monkeypatch):
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 20_000)
    monkeypatch.setattr(replay, "MAX_ALL_BYTES", rng.choice([25_000, 1 << 20]))
    monkeypatch.setattr(replay, "JOINED_BYTES", 2_000)
    replay_buffers = ReplayBuffers()
    drops = rng.random() < 0.5
    pipe = Opening("kitchen", "adc", 1, drops=drops, replay_buffers=replay_buffers)
    other = Opening("kitchen", "imu", 2, replay_buffers=replay_buffers)
    written = []  # frame number -> its bytes, or the cause of its loss
    peers = []  # (peer, options, frames written when it joined)
    for _ in range(400):
        what = rng.random()
        if what < 0.5:
            size, count = rng.choice([(4, 1), (4, 30), (200, 10), (0, 1), (1000, 2)])
            frames = [struct.pack("<I", len(written) + index).ljust(size, b".")[:size] for index in range(count if size else 1)]
            times = Times(1.0, 2.0, 0.5) if rng.random() < 0.3 else None
            pipe.append(len(written), size, b"".join(frames), times)
            written += frames
        elif what < 0.55:
            lost = rng.randrange(1, 50)
            pipe.catch_up(len(written) + lost)
            written += ["board" if drops else "no_listener"] * lost
        elif what < 0.6:
            other.append(other.frames, 100, bytes(5_000))
        elif what < 0.65 and len(peers) < 12:
            options = rng.choice(OPTIONS)
            reader = Subscriber("adc", None, options)
            pipe.join(reader)  # before the handshake is answered, as the listener does
            peers.append((Peer(reader, rng), options, len(written)))
        elif peers:
            rng.choice(peers)[0].go_on()
            if rng.random() < 0.8:
                await asyncio.sleep(0)
    pipe.close("closed")
    for _ in range(200):
        for peer, _, _ in peers:
            peer.go_on()
        await asyncio.sleep(0)
    for peer, options, joined in peers:
        assert peer.closed
        heard = peer.heard()
        if not options:
            sent = [part for part in written[joined:] if isinstance(part, bytes)]
            assert heard == sent if not peer.reset else heard == sent[: len(heard)]
            continue
        assert not peer.reset
        at = 0 if "replay" in options else joined
        opened, *parts, end = heard
        assert opened["open"]["number"] == at
        assert end == {"end": "closed", "frames": len(written)}
        told = {"board": 0, "no_listener": 0, "reader": 0, "replay": 0}
        expected = {"board": 0, "no_listener": 0}
        for part in parts:
            if isinstance(part, bytes):
                assert written[at] == part
                at += 1
            else:
                told[part["cause"]] += part["lost"]
                for frame in written[at : at + part["lost"]]:
                    if isinstance(frame, str):
                        expected[frame] += 1
                at += part["lost"]
        assert at == len(written)
        assert {cause: told[cause] for cause in expected} == expected
        assert "replay" in options or not told["replay"]


def test_the_bound_is_kept_whatever_comes(monkeypatch):
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 50_000)
    monkeypatch.setattr(replay, "MAX_ALL_BYTES", 120_000)
    rng = random.Random(1)
    replay_buffers = ReplayBuffers()
    openings = [Opening("kitchen", f"p{n}", n, replay_buffers=replay_buffers) for n in range(5)]
    for _ in range(2000):
        chosen = rng.choice(openings)
        size = rng.choice([0, 1, 100, 60_000])
        chosen.append(chosen.frames, size, bytes(size), Times(0.0, 0.0, 1.0) if rng.random() < 0.5 else None)
        if rng.random() < 0.01 and len(openings) > 1:
            openings.remove(chosen)
            chosen.close("closed")
        everything = openings + list(replay_buffers.ended)
        assert all(opening.buffer.size_bytes <= 50_000 for opening in everything)
        assert sum(opening.buffer.size_bytes for opening in everything) <= 120_000
        for one in everything:
            held = one.buffer._batches[one.buffer._first :]
            assert one.buffer.size_bytes == sum(replay.BATCH_BYTES + len(batch.data) for batch in held)
            assert one.buffer.stop - one.buffer.start == sum(batch.count for batch in held)


def test_a_rate_is_that_of_the_last_two_seconds(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(opening.time, "monotonic", lambda: clock[0])
    pipe = Opening("kitchen", "adc", 1)
    for _ in range(5000):
        clock[0] += 0.001
        pipe.append(pipe.frames, 4, bytes(40))
    state = pipe.as_dict()
    assert state["frames_per_s"] == pytest.approx(10_000, rel=0.02)
    assert state["bytes_per_s"] == pytest.approx(40_000, rel=0.02)
    clock[0] += 1.0
    assert pipe.as_dict()["frames_per_s"] == pytest.approx(5_000, rel=0.03)
    clock[0] += 1.1
    assert pipe.as_dict()["frames_per_s"] == 0
    pipe.append(pipe.frames, 4, bytes(4))
    clock[0] += 0.5
    assert pipe.as_dict()["frames_per_s"] == 0.5  # one in two seconds


def test_what_is_known_of_a_pipe_can_be_sent():
    state = Opening("kitchen", "adc", 1).as_dict()
    assert json.loads(json.dumps(state)) == state
