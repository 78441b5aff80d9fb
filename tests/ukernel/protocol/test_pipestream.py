import json
import random
import struct

import pytest
from fakelistener import batch, notice

from ukernel.errors import HubError
from ukernel.protocol.pipestream import Batch, BatchRow, PipeStreamDecoder, encode_timed_batch


def plain(*chunks):
    return b"".join(struct.pack("<I", len(chunk)) + chunk for chunk in chunks)


def unfold(events):
    """Chunks and notices, one by one."""
    for event in events:
        if isinstance(event, Batch):
            while event.count:
                yield event.pop()
        else:
            yield event


def read(stream, sizes=None):
    reader = PipeStreamDecoder()
    if sizes is None:
        return list(unfold(reader.receive_data(stream)))
    out, position = [], 0
    while position < len(stream):
        size = sizes()
        out += unfold(reader.receive_data(stream[position : position + size]))
        position += size
    return out


def test_plain_frames_come_out_as_they_went_in():
    chunks = [b"one", b"", b"four", b"five", b"x" * 65535, b"", b""]
    assert read(plain(*chunks)) == chunks


def test_frames_of_one_size_come_as_one_block():
    (block,) = PipeStreamDecoder().receive_data(plain(*(struct.pack("<f", i) for i in range(1000))))
    assert (block.count, block.size) == (1000, 4)
    assert block.take(10**9).tobytes() == struct.pack("<1000f", *range(1000))


def test_equal_batches_come_as_one_block():
    chunks = [struct.pack("<f", i) for i in range(280)]
    stream = b"".join(batch(*chunks[i : i + 28], number=i) for i in range(0, 280, 28))
    (block,) = PipeStreamDecoder().receive_data(stream)
    assert (block.count, block.size) == (280, 4)
    assert list(unfold([block])) == chunks


def test_a_batch_of_another_item_size_but_the_same_length_is_another_block():
    stream = batch(b"abcd", b"efgh") + batch(b"ab", b"cd", b"ef", b"gh")
    assert read(stream) == [b"abcd", b"efgh", b"ab", b"cd", b"ef", b"gh"]


@pytest.mark.parametrize("seed", range(20))
def test_any_stream_in_any_pieces_is_understood(seed):
    rng = random.Random(seed)
    expected, stream = [], b""
    for _ in range(rng.randrange(1, 60)):
        kind = rng.randrange(4)
        size = rng.choice([0, 1, 4, 4, 4, 12, 40, 200])
        chunks = [rng.randbytes(size) for _ in range(rng.choice([1, 2, 3, 28, 28, 300]))]
        if kind == 0:
            content = {"lost": rng.randrange(1000), "cause": "reader"}
            stream += notice(**content)
            expected.append(content)
        elif kind == 1 and size:
            for _ in range(rng.randrange(1, 9)):
                stream += batch(*chunks, number=rng.randrange(2**32))
                expected += chunks
        elif kind == 2:
            stream += struct.pack("<I", 0xFF00_0003) + b"???"  # a kind of tomorrow
        else:
            stream += plain(*chunks)
            expected += chunks
    assert read(stream) == expected
    assert read(stream, lambda: rng.choice([1, 2, 3, 5, 50, 1000, 65536])) == expected


def test_timed_batches_in_a_row_are_given_as_one_where_that_is_wanted():
    pytest.importorskip("numpy")
    parts = [(bytes([n] * 4 + [n + 100] * 4), (1000.0 + n, 1000.5 + n, 0.25)) for n in range(50)]
    stream = b"".join(encode_timed_batch(data, 4, 2 * n, times) for n, (data, times) in enumerate(parts))
    stream += notice(lost=3, cause="board") + encode_timed_batch(b"abcd", 4, 103, (2000.0, 2000.0, 0.0))
    reader, taker = PipeStreamDecoder(), PipeStreamDecoder()
    taker.gives_rows = True
    batches, (row, lost, last) = reader.receive_data(stream), taker.receive_data(stream)
    assert isinstance(row, BatchRow) and (row.batches, row.frames, row.size) == (50, 2, 4)
    assert lost == {"lost": 3, "cause": "board"} and bytes(last.take(1)) == b"abcd"
    records = row.as_records()
    for index, (one, alike) in enumerate(zip(batches[:50], row.split(), strict=True)):
        data, times = parts[index]
        assert one.ends == alike.ends == times == tuple(records[name][index] for name in ("first", "last", "error"))
        assert bytes(one.take(2)) == bytes(alike.take(2)) == records["data"][index].tobytes() == data


def test_a_large_batch_may_come_byte_by_byte():
    stream = batch(b"x" * 40_000, b"y" * 40_000)
    reader = PipeStreamDecoder()
    for at in range(20):
        assert not reader.receive_data(stream[at : at + 1])
    assert list(unfold(reader.receive_data(stream[20:]))) == [b"x" * 40_000, b"y" * 40_000]


def test_frames_can_be_taken_one_by_one_and_many_at_once():
    (block,) = PipeStreamDecoder().receive_data(plain(b"ab", b"cd", b"ef", b"gh"))
    assert block.pop() == b"ab"
    assert block.take(2).tobytes() == b"cdef"
    assert block.count == 1
    assert block.take(5).tobytes() == b"gh"
    assert not block.count


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack("<I", 65536),
        struct.pack("<I", 0x7FFF_FFFF),
        struct.pack("<I", 0x8200_0000 | 6) + struct.pack("<HI", 4, 0),
        struct.pack("<I", 0x8200_0000 | 9) + struct.pack("<HI", 2, 0) + b"abc",
        struct.pack("<I", 0x8200_0000 | 9) + struct.pack("<HI", 0, 0) + b"abc",
        struct.pack("<I", 0x8100_0000 | 3) + b"{a}",
        struct.pack("<I", 0x8100_0000 | 2) + json.dumps([]).encode(),
    ],
    ids=["too long", "no notice", "empty batch", "broken batch", "items of no size", "no JSON", "no object"],
)
def test_nonsense_is_an_error_not_a_hang(stream):
    with pytest.raises(HubError):
        PipeStreamDecoder().receive_data(stream + bytes(100))
