"""No memory for a frame: what it was to carry is kept, or counted, and no lock is lost; nor by an interrupt of the write."""

from handmade import board

from ucore import pipes, wire


class Scarce:
    """While it lasts, there is no memory for any frame."""

    def __enter__(self):
        self._stuff = wire.stuff
        wire.stuff = self._fail

    def __exit__(self, *exc):
        wire.stuff = self._stuff

    def _fail(self, body):
        raise MemoryError


def fails(kind, action, *args):
    try:
        action(*args)
    except kind:
        return True
    return False


def scene(two_cores=False):
    port, link, output, host = board(two_cores)
    host.hello(window=2048, payload=112)
    return port, link, output, host


def text(frames):
    return b"".join([payload[3:] for kind, _, payload in frames if kind == wire.MESSAGE and payload[0] == wire.STREAM])


def messages(frames, type):
    return [payload[3:] for kind, _, payload in frames if kind == wire.MESSAGE and payload[0] == type]


def test_a_text_for_which_there_was_no_memory_is_sent_later():
    port, link, output, host = scene()
    output.write(1, "one ")
    with Scarce():
        port.now += 100
        assert fails(MemoryError, output.write, 1, "two ")
        assert fails(MemoryError, output.drain)
    output.write(1, "three")
    output.drain()
    assert text(host.frames()) == b"one two three"


def test_the_notice_of_lost_text_is_not_lost_itself():
    port, link, output, host = scene()
    output.lost = 7
    with Scarce():
        assert fails(MemoryError, output.drain)
    output.drain()
    output.drain()
    assert text(host.frames()) == b"[7 bytes of output lost]\n"


def test_a_text_whose_write_is_interrupted_is_sent_once():
    port, link, output, host = scene()
    output.write(1, "once")
    write = port.write

    def interrupted(data):
        write(data)
        raise KeyboardInterrupt

    port.write = interrupted
    assert fails(KeyboardInterrupt, output.drain)
    port.write = write
    output.drain()
    assert text(host.frames()) == b"once"


def test_items_for_which_there_was_no_memory_are_counted():
    port, link, output, host = scene()
    pipe = pipes.open_pipe("p")
    for _ in range(2):  # the host knows the run of items that it is in
        pipe.write(b"1111")
        port.now += 50
        link.pump()
    with Scarce():
        pipe.write(b"2222")
        port.now += 50
        assert fails(MemoryError, link.pump)
    pipe.write(b"3333")
    port.now += 50
    link.pump()
    kind, _, payload = host.frames()[-1]
    assert (kind, int.from_bytes(payload[3:7], "little"), payload[7:]) == (wire.BATCH, 3, b"3333")
    pipe.close()
    assert int.from_bytes(messages(host.frames(), wire.COMM_CLOSE)[0][1:5], "little") == 4


def test_a_pipe_that_could_not_be_told_of_is_not_open_and_can_be_opened():
    port, link, output, host = scene()
    with Scarce():
        assert fails(MemoryError, pipes.open_pipe, "p")
    assert not pipes.is_pipe_open("p") and not link.ticks
    pipe = pipes.open_pipe("p")
    pipe.write(b"1")
    pipe.close()
    frames = host.frames()
    assert len(messages(frames, wire.COMM_OPEN)) == len(messages(frames, wire.COMM_CLOSE)) == 1


def test_a_close_that_could_not_be_told_of_can_be_made_again():
    port, link, output, host = scene()
    pipe = pipes.open_pipe("p")
    with Scarce():
        assert fails(MemoryError, pipe.close)
    assert pipes.is_pipe_open("p")
    pipe.write(b"1")
    pipe.close()
    assert len(messages(host.frames(), wire.COMM_CLOSE)) == 1 and not link.ticks


def test_the_ticker_gives_the_lock_back_whatever_kind_of_error_it_meets():
    # Where there is no memory, all threads share one exception: a MemoryError may have become a ZeroDivisionError when it is caught.
    for two_cores in (False, True):
        for kind in (MemoryError, ZeroDivisionError, KeyboardInterrupt):
            port, link, output, host = scene(two_cores)

            def flush(now, kind=kind):
                raise kind

            link.flush = flush
            assert fails(kind, link._tick, None)
            assert not link.tx.locked()
            with link.tx:
                assert not fails(BaseException, link._tick, None)
                assert link.tx.locked()
    board()
