"""Timestamps and producers that never wait, on real boards: the stated error holds, and the count is exact."""

import struct

import pytest
from emulator import Faults
from rig import Rig

from ukernel.link import session

# Each frame is the time of day just before its `pipe.write`; on a virtual board that is the host's clock.
PRODUCER = """
import struct, time, _thread
def produce():
    with ucore.open_pipe("clock") as pipe:
        for n in range({count}):
            pipe.write(struct.pack("<Q", time.time_ns()){more})
            {pause}
_thread.start_new_thread(produce, ())
"""
DROPPER = """
import struct, _thread
def produce():
    with ucore.open_pipe("fast", drop=True) as pipe:
        for n in range({count}):
            pipe.write(struct.pack("<I", n){more})
_thread.start_new_thread(produce, ())
"""
on_both = pytest.mark.parametrize("python", ["micropython", "cpython"])


def until_closed(rig):
    """Every event up to the close of the pipe."""
    events = list(rig.passed_over)
    while not events or not isinstance(events[-1], session.PipeClosed):
        events.append(rig.events.get(timeout=60))
    return events


def times_of(batch):
    count = len(batch.data) // batch.size
    step = (batch.times.last - batch.times.first) / max(count - 1, 1)
    return [batch.times.first + index * step for index in range(count)]


@on_both
@pytest.mark.parametrize(
    ("count", "pause", "more", "line"),
    [
        (100, "time.sleep(0.01)", "", {}),
        (300, "time.sleep(0.001)", "", {}),
        (20_000, "", "", {}),
        (50, "", " + bytes(3000)", {}),
        (2_000, "", "", {"baudrate": 115200, "kind": "uart", "latency_s": 0.002}),
        (2_000, "", "", {"baudrate": 921600, "kind": "uart", "seed": 5, "to_host": Faults(bit_error_rate=1e-4)}),
    ],
    ids=["slow", "quick", "flat out", "large frames", "slower than its line", "bad line"],
)
def test_every_frame_was_written_within_the_stated_error_of_its_time(python, count, pause, more, line):
    with Rig(python=python, **line) as rig:
        rig.board.set_timestamps(True)
        rig.run(PRODUCER.format(count=count, pause=pause, more=more))
        batches = [event for event in until_closed(rig) if isinstance(event, session.PipeBatch)]
    assert sum(len(batch.data) // batch.size for batch in batches) == count
    written = [time for batch in batches for (time,) in struct.iter_unpack(f"<Q{batch.size - 8}x", batch.data)]
    stated = [(time, batch.times.error) for batch in batches for time in times_of(batch)]
    # A frame is written after its own time was taken, and before the next one's.
    for (time, error), before, after in zip(stated, written, [*written[1:], None], strict=True):
        assert time + error >= before / 1e9
        assert after is None or time - error <= after / 1e9
    assert all(a <= b for (a, _), (b, _) in zip(stated, stated[1:], strict=False))


def test_frames_carry_no_stamps_once_nobody_wants_them():
    with Rig() as rig:
        rig.board.set_timestamps(True)
        rig.run(PRODUCER.format(count=2000, pause="time.sleep(0.001)", more=""))
        while rig.wait_for(session.PipeBatch, 30).times is None:
            pass
        rig.board.set_timestamps(False)
        while rig.wait_for(session.PipeBatch, 30).times is not None:
            pass


def test_a_new_hub_turns_off_the_stamps_that_an_old_one_wanted():
    from ukernel.hub.driver import BoardDriver

    with Rig() as rig:
        rig.board.set_timestamps(True)
        rig.run(PRODUCER.format(count=20_000, pause="time.sleep(0.001)", more=""))
        while rig.wait_for(session.PipeBatch, 30).times is None:
            pass
        rig.board.close()
        rig.board = BoardDriver(rig.virtual.port, lambda board, event: rig.events.put(event))
        rig.callback(rig.board.close)
        rig.board.start()
        rig.wait_for(session.Ready, 30)
        rig.wait_for(session.PipeBatch, 30)
        counts = rig.counts
        seen = []
        clock, received = rig.board._session.clock, rig.board._session.clock.received_stamp
        clock.received_stamp = lambda stamp, now: (seen.append(stamp), received(stamp, now))
        while True:
            before = len(seen), counts.packets
            rig.wait_for(session.PipeBatch, 30)
            rig.wait_for(session.PipeBatch, 30)
            if counts.packets > before[1] and len(seen) == before[0]:
                break
        assert seen


@on_both
@pytest.mark.parametrize("more", ["", " + bytes(300)", " + bytes(3000)"], ids=["small", "three frames", "more than the window"])
def test_a_producer_that_must_not_wait_drops_and_every_frame_is_accounted_for(python, more):
    count = 20_000 if not more else 2_000
    with Rig(python=python, baudrate=115200, kind="uart", latency_s=0.002) as rig:
        rig.run(DROPPER.format(count=count, more=more))
        opened, *events = [event for event in until_closed(rig) if not isinstance(event, session.Message)]
    assert opened.drops
    assert events[-1].frames == count
    batches = events[:-1]
    numbers = [
        (batch.number + index, *struct.unpack_from("<I", batch.data, index * batch.size))
        for batch in batches
        for index in range(len(batch.data) // batch.size)
    ]
    assert all(number == value for number, value in numbers)  # whatever is missing, the numbers know of it
    assert [number for number, _ in numbers] == sorted({number for number, _ in numbers})
    assert len(numbers) < count


@on_both
def test_a_producer_that_must_not_wait_loses_nothing_where_there_is_room(python):
    with Rig(python=python) as rig:
        rig.run(PRODUCER.replace('"clock"', '"clock", drop=True').format(count=300, pause="time.sleep(0.001)", more=""))
        batches = [event for event in until_closed(rig) if isinstance(event, session.PipeBatch)]
    assert sum(len(batch.data) // batch.size for batch in batches) == 300
