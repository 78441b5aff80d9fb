"""Prints and writes below a scheduled callback that has interrupted who has the link's locks."""

from handmade import board

import ucore
from ucore import callbacks, pipes, wire

UART = {"line": "uart", "baud": 115200, "window": 2048, "payload": 112}


def guarded():
    port, link, output, host = board()
    host.hello(**UART)
    ucore._link = link
    callbacks.guard()
    ucore._link = None
    pipe = pipes.open_pipe("p")
    host.frames()
    host.ack(link.seq)
    port.now += 100
    return port, link, output, host, pipe


def values(frames):
    """The 4-byte items of a pipe's frames, with their numbers."""
    found = []
    number = 0
    for kind, _, payload in frames:
        if kind == wire.BATCH:
            number = int.from_bytes(payload[3:7], "little")
            payload = payload[7:]
        elif kind != wire.SAME:
            continue
        for at in range(0, len(payload), 4):
            found.append((number, bytes(payload[at : at + 4])))
            number += 1
    return found


def test_what_is_printed_while_its_own_thread_has_the_lock_follows_in_order():
    port, link, output, host, pipe = guarded()
    for lock in (link.tx, link.rx):
        with lock:
            link.output.write(1, "a")
            link.output.write(1, "b")
            assert not link.out
        link.output.write(1, "c\n")
        output.drain()
        assert b"".join([payload[3:] for _, _, payload in host.frames()]) == b"abc\n"
        host.ack(link.seq)


def test_what_is_written_while_its_own_thread_has_the_lock_follows_in_order():
    port, link, output, host, pipe = guarded()
    pipe.write(b"0000")
    with link.tx:
        pipe.write(b"1111")
        pipe.write(b"2222")
    pipe.write(b"3333")
    port.now += 50
    link.pump()
    assert values(host.frames()) == [(0, b"0000"), (1, b"1111"), (2, b"2222"), (3, b"3333")]


def test_the_main_thread_sends_what_was_put_aside_also_where_nothing_follows():
    port, link, output, host, pipe = guarded()
    with link.rx:
        pipe.write(b"1111")
        link.output.write(1, "text")
    port.now += 10
    link.pump()
    port.now += 50
    link.pump()
    frames = host.frames()
    assert values(frames) == [(0, b"1111")]
    assert [payload[3:] for kind, _, payload in frames if kind == wire.MESSAGE] == [b"text"]


def test_a_callback_in_another_thread_does_not_overtake_the_one_before():
    port, link, output, host, pipe = guarded()
    link.main = None  # with a GIL callbacks strike whichever thread runs
    with link.tx:
        pipe.write(b"0000")
    pipe.write(b"1111")
    port.now += 50
    link.pump()
    assert values(host.frames()) == [(0, b"0000"), (1, b"1111")]


def test_a_callback_that_strikes_who_catches_up_does_not_overtake_either():
    port, link, output, host, pipe = guarded()
    write_now = pipe._opening._write_now
    late = [b"1111"]

    def interrupted(data, called):
        if late:
            pipe.write(late.pop())
        write_now(data, called)

    pipe._opening._write_now = interrupted
    with link.tx:
        pipe.write(b"0000")
    link.pump()
    port.now += 50
    link.pump()
    assert values(host.frames()) == [(0, b"0000"), (1, b"1111")]


def closes(frames):
    """How many frames the pipes that were closed had."""
    return [
        int.from_bytes(payload[4:8], "little")
        for kind, _, payload in frames
        if kind == wire.MESSAGE and payload[0] == wire.COMM_CLOSE
    ]


def test_what_was_put_aside_before_a_close_is_written_before_it():
    port, link, output, host, pipe = guarded()
    with link.tx:
        pipe.write(b"0000")
    pipe.close()
    frames = host.frames()
    assert values(frames) == [(0, b"0000")]
    assert closes(frames) == [1]


def test_a_callback_may_close_a_pipe_whatever_it_interrupts():
    for lock in ("tx", "rx", "names"):
        port, link, output, host, pipe = guarded()
        with pipes._names if lock == "names" else getattr(link, lock):
            pipe.write(b"0000")
            pipe.close()
            link.pump()
            assert pipes.is_pipe_open("p")
        link.pump()
        frames = host.frames()
        assert values(frames) == [(0, b"0000")]
        assert closes(frames) == [1]
        assert not pipes.is_pipe_open("p")


def test_what_is_too_much_is_dropped_and_counted():
    port, link, output, host, pipe = guarded()
    pipe.write(b"0000")
    with link.tx:
        for _ in range(callbacks.MAX_ASIDE + 7):
            pipe.write(b"1111")
        link.output.write(1, "lost")
    port.now += 50
    link.pump()
    pipe.write(b"9999")
    port.now += 50
    link.pump()
    sent = values(host.frames())
    assert [number for number, _ in sent] == list(range(51)) + [58]  # MAX_ASIDE, and 7 that were too many
    assert sent[-1][1] == b"9999"
    assert output.lost == 4


def test_what_would_wait_for_itself_raises_instead():
    port, link, output, host, pipe = guarded()
    for lock in (link.tx, pipes._names):
        with lock:
            try:
                pipes.open_pipe("another")
            except RuntimeError as error:
                assert "callback" in str(error)
            else:
                raise AssertionError("it raised nothing")


def test_the_ticker_leaves_a_guarded_lock_alone_that_somebody_has():
    port, link, output, host, pipe = guarded()
    with link.tx:
        link._tick(None)
    link._tick(None)
    with link.tx:
        pass
