"""Readers of pipes: each gets every frame, at its own pace, or the truth about what it did not get."""

import json
import random
import struct

import pytest
from patience import PATIENCE_S, wait_until
from subscription import BATCH, FRAME, Subscription, flood, missed

from ukernel.hub import replay, subscriber
from ukernel.hub.replay import Batch
from ukernel.link.clock import Times


def test_a_plain_reader_gets_frames_and_a_close(board):
    board.open("adc")
    with Subscription("adc") as reader:
        board.write(b"aaaabbbb", 4, 0)
        board.write(b"", 0, 2)
        board.write(b"a" * 65535, 65535, 3)
        board.close_pipe(4)
        assert reader.rest() == [b"aaaa", b"bbbb", b"", b"a" * 65535]


def test_nothing_written_after_the_subscription_is_missed(board):
    board.open("adc")
    for round in range(20):
        with Subscription("adc") as reader:
            board.write(struct.pack("<I", round), 4, round)
            assert reader.frame() == struct.pack("<I", round)


def test_a_subscription_ends_with_its_opening(board):
    board.open("adc", generation=1)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"1", 1, 0)
        board.close_pipe(1)
        board.open("adc", generation=2)
        board.write(b"2", 1, 0)
        heard = reader.rest()
    assert heard[1:] == [b"1", {"end": "closed", "frames": 1}]


def test_batches_stay_batches(board):
    board.open("adc")
    with Subscription("adc", options=["batches"]) as reader:
        board.write(b"aaaabbbbcccc", 4, 0)
        reader.notice()
        word, body = reader.part()
        assert word == 0x82000000 | 18
        assert body == struct.pack("<HI", 4, 0) + b"aaaabbbbcccc"
        board.write(b"", 0, 3)
        assert reader.part() == (0, b"")


@pytest.mark.parametrize(("size", "count"), [(1, 1), (1, 500), (4, 110), (300, 3), (300, 400), (65535, 2), (7, 8)])
def test_the_encodings_agree_with_the_plain_definition(size, count):
    data = random.Random(size * count).randbytes(size * count)
    naive = b"".join(size.to_bytes(4, "little") + data[at : at + size] for at in range(0, len(data), size))
    batch = Batch(9 + (1 << 32), count, size, data, Times(1.5, 2.5, 0.25))
    assert subscriber.encode_plain(batch) == naive
    assert subscriber.encode_batch(batch) == struct.pack("<IHI", 0x82000000 | len(data) + 6, size, 9) + data
    timed = struct.pack("<IHIddd", 0x83000000 | len(data) + 30, size, 9, 1.5, 2.5, 0.25) + data
    assert subscriber.encode_timed(batch) == timed


def test_empty_frames_have_encodings_too():
    batch = Batch(9, 3, 0, b"", Times(1.0, 3.0, 0.5))
    assert subscriber.encode_plain(batch) == subscriber.encode_batch(batch) == bytes(12)
    assert subscriber.encode_timed(batch) == b"".join(
        struct.pack("<IHIddd", 0x83000000 | 30, 0, 9 + index, 1.0 + index, 1.0 + index, 0.5) for index in range(3)
    )


def test_a_batch_is_encoded_once_for_all_readers_of_a_kind(board, monkeypatch):
    calls = []
    for name in ("encode_plain", "encode_batch", "encode_timed"):
        original = getattr(subscriber, name)
        monkeypatch.setattr(
            subscriber, name, lambda *args, name=name, original=original: (calls.append(name), original(*args))[1]
        )
    board.open("adc")
    kinds = ([], [], ["notices"], ["batches"], ["batches"], ["timestamps"], ["timestamps"])
    readers = [Subscription("adc", options=options) for options in kinds]
    board.write(b"aaaabbbb", 4, 0)
    board.close_pipe(2)
    for reader in readers:
        with reader:
            assert [part for part in reader.rest() if isinstance(part, bytes)] == [b"aaaa", b"bbbb"]
    assert sorted(calls) == ["encode_batch", "encode_plain", "encode_timed"]


@pytest.mark.parametrize("options", [["batches"], ["notices"], ["timestamps"]], ids=lambda options: options[0])
def test_a_slow_reader_learns_the_exact_number(hub, board, small_buffer, options):
    board.open("adc")
    with Subscription("adc", options=options) as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        written = flood(hub, board, lambda: missed(hidden) > 5 * BATCH)
        assert hub.call(lambda: hidden.opening.buffer.size_bytes) <= replay.MAX_PIPE_BYTES
        board.close_pipe(written)
        heard = slow.rest()
        numbers = [struct.unpack_from("<I", part)[0] for part in heard if isinstance(part, bytes)]
        (gap,) = [part for part in heard if isinstance(part, dict) and "lost" in part]
        assert gap["cause"] == "reader"
        assert heard[-1] == {"end": "closed", "frames": written}
        assert len(numbers) + gap["lost"] == written
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == written - 1


def test_a_slow_reader_is_told_apart_what_it_missed_and_what_never_came(hub, board, small_buffer):
    board.open("adc", drops=True)
    with Subscription("adc", options=["batches"]) as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        written, frame = 0, bytes(FRAME)
        while not hub.call(lambda: missed(hidden) > 5 * BATCH):
            board.write(frame * BATCH, FRAME, written + 7)  # seven are dropped each time
            written += 7 + BATCH
        board.close_pipe(written)
        heard = slow.rest()
        lost = {"reader": 0, "board": 0}
        for part in heard:
            if isinstance(part, dict) and "lost" in part:
                lost[part["cause"]] += part["lost"]
        assert lost["board"] == written // (7 + BATCH) * 7
        assert lost["reader"] > 0
        assert sum(part == frame for part in heard) + sum(lost.values()) == written


def test_after_the_gap_a_slow_reader_goes_on(hub, board, small_buffer):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        written = flood(hub, board, lambda: missed(hidden) > 0)
        slow.notice()
        received, lost = 0, 0
        while received + lost < written:
            word, body = slow.part()
            if word >> 31:
                lost += json.loads(body)["lost"]
            else:
                received += 1
        assert lost > 0
        board.write(b"again", 5, written)
        assert slow.frame() == b"again"


def test_a_slow_plain_reader_is_cut_off_with_a_reset(hub, board, small_buffer):
    board.open("adc")
    with Subscription("adc") as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        flood(hub, board, lambda: missed(hidden) > 0)
        with pytest.raises(ConnectionResetError):
            while slow.socket.recv(65536):
                pass


def test_the_others_notice_nothing_of_a_slow_reader(hub, board, small_buffer):
    board.open("adc")
    with Subscription("adc", options=["batches"]), Subscription("adc") as quick:
        import threading

        heard = []

        def read():
            while (part := quick.part()) is not None:
                heard.append(struct.unpack_from("<I", part[1])[0])

        thread = threading.Thread(target=read)
        thread.start()
        hidden = next(reader for reader in hub.hub.boards.subscriptions.readers if reader.notices)
        written = flood(hub, board, lambda: missed(hidden) > 0)
        board.close_pipe(written)
        thread.join(PATIENCE_S)
        assert heard == list(range(written))


def test_a_reader_that_leaves_is_forgotten(hub, board):
    board.open("adc")
    with Subscription("adc"), Subscription("never opened"):
        assert len(hub.hub.boards.subscriptions.readers) == 2
    wait_until(lambda: not hub.hub.boards.subscriptions.readers)
    assert not hub.hub.boards.subscriptions.waiting
    board.write(b"a", 1, 0)
    assert hub.call(lambda: hub.hub.boards.list_pipes()[0]["readers"]) == 0


def test_times_come_with_the_frames(board):
    board.open("adc")
    with Subscription("adc", options=["timestamps"]) as reader:
        board.write(b"aaaabbbb", 4, 0, times=Times(100.0, 101.0, 0.25))
        reader.notice()
        word, body = reader.part()
        assert word == 0x83000000 | len(body)
        assert body == struct.pack("<HIddd", 4, 0, 100.0, 101.0, 0.25) + b"aaaabbbb"
        board.write(b"", 0, 2)
        word, body = reader.part()
        size, number, first, last, error = struct.unpack("<HIddd", body)
        assert (size, number, first, error) == (0, 2, last, float("inf"))  # nobody had asked the board


def test_times_are_replayed_too(board):
    board.open("adc")
    for number in range(3):
        board.write(b"aaaabbbb", 4, 2 * number, times=Times(100.0 + number, 100.5 + number, 0.25))
    with Subscription("adc", options=["timestamps", "replay"]) as reader:
        reader.notice()
        for number in range(3):
            assert struct.unpack_from("<HIddd", reader.part()[1])[2:] == (100.0 + number, 100.5 + number, 0.25)
