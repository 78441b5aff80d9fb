"""Prints, writes, opens and closes of a scheduled callback, whatever it has interrupted: with a GIL, and without one as on an RP2."""

from handmade import board

from ucore import about, pipes, quirks, wire
from ucore import link as link_module

UART = {"line": "uart", "baud": 115200, "window": 2048, "payload": 112}


class Scene:
    """A board with a pipe, and ``callback``, which runs a function as a scheduled callback of the main thread."""

    def __init__(self, two_cores):
        self.two_cores = two_cores
        self.port, self.link, self.output, self.host = board(two_cores)
        self.host.hello(**UART)
        self.pipe = pipes.open_pipe("p")
        self.host.frames()
        self.host.ack(self.link.seq)
        self.port.now += 100

    def print(self, text):
        if self.link.do(self.output.write, 1, text) is False:
            self.output.lost += len(text)

    def callback(self, action, *args):
        errors = []

        def run(_=None):
            try:
                action(*args)
            except Exception as error:
                errors.append(error)

        if quirks.CPYTHON:
            link_module.micropython = Running
            run()
            link_module.micropython = None
        else:
            import micropython

            micropython.schedule(run, 0)
            for _ in range(3):
                pass
        if errors:
            raise errors[0]

    def serve(self):
        """What the idle agent does in a step."""
        self.link.do(self.link.pump)

    def text(self, frames):
        return b"".join(
            [bytes(payload[3:]) for kind, _, payload in frames if kind == wire.MESSAGE and payload[0] == wire.STREAM]
        )


class Running:
    """The module `micropython` of the board that CPython stands in for, while a callback runs."""

    @staticmethod
    def in_callback():
        return True


def scenes():
    for two_cores in (False, True):
        yield Scene(two_cores)
    board()


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


def closes(frames):
    """How many frames the pipes that were closed had."""
    return [
        int.from_bytes(payload[4:8], "little")
        for kind, _, payload in frames
        if kind == wire.MESSAGE and payload[0] == wire.COMM_CLOSE
    ]


def test_what_is_printed_while_its_own_thread_has_a_lock_follows_in_order():
    for scene in scenes():
        for lock in (scene.link.tx, scene.link.rx, scene.link.big, pipes._names):
            with lock:
                scene.callback(scene.print, "a")
                scene.callback(scene.print, "b")
                assert not scene.link.out
            scene.print("c\n")
            scene.output.drain()
            assert scene.text(scene.host.frames()) == b"abc\n"
            scene.host.ack(scene.link.seq)


def test_what_is_written_while_its_own_thread_has_a_lock_follows_in_order():
    for scene in scenes():
        for lock in (scene.link.tx, scene.link.rx, pipes._names):
            write = scene.pipe.write
            write(b"0000")
            with lock:
                scene.callback(write, b"11111")  # of another size: it cannot join
                scene.callback(write, b"2222")
            write(b"3333")
            scene.port.now += 50
            scene.link.pump()
            frames = scene.host.frames()
            skip = {wire.BATCH: 7, wire.NEXT: 1, wire.SAME: 0}
            assert b"".join([payload[skip[kind] :] for kind, _, payload in frames]) == b"00001111122223333"
            scene.host.ack(scene.link.seq)


def test_the_idle_agent_sends_what_was_put_aside_also_where_nothing_follows():
    for scene in scenes():
        with scene.link.rx:
            scene.callback(scene.pipe.write, b"1111")
            scene.callback(scene.print, "text")
        scene.serve()
        scene.port.now += 50
        scene.serve()
        frames = scene.host.frames()
        assert values(frames) == [(0, b"1111")]
        assert scene.text(frames) == b"text"


def test_the_ticker_sends_what_was_put_aside_while_the_main_thread_computes():
    for scene in scenes():
        with scene.link.tx:
            scene.callback(scene.print, "text")
            scene.callback(scene.pipe.write, b"1111")
        scene.link._tick(None)
        scene.port.now += 50
        scene.link._tick(None)
        frames = scene.host.frames()
        assert (scene.text(frames), values(frames)) == (b"text", [(0, b"1111")])


def test_a_callback_that_strikes_who_catches_up_does_not_overtake():
    for scene in scenes():
        scene.pipe._opening._write_now = struck(scene, scene.pipe._opening._write_now, b"1111")
        with scene.link.tx:
            scene.callback(scene.pipe.write, b"0000")
        scene.serve()
        scene.serve()
        scene.port.now += 50
        scene.serve()
        assert values(scene.host.frames()) == [(0, b"0000"), (1, b"1111")]


def struck(scene, call, *late):
    """A function that calls ``call``, but the first time is struck by a callback that writes ``late``."""
    late = list(late)

    def instead(*args):
        if late:
            scene.callback(scene.pipe.write, late.pop())
        call(*args)

    return instead


def test_a_callback_may_close_a_pipe_whatever_it_interrupts():
    for name in ("tx", "rx", "names"):
        for scene in scenes():
            with pipes._names if name == "names" else getattr(scene.link, name):
                scene.callback(scene.pipe.write, b"0000")
                scene.callback(scene.pipe.close)
                scene.callback(pipes.is_pipe_open, "p")
            scene.serve()
            frames = scene.host.frames()
            assert values(frames) == [(0, b"0000")]
            assert closes(frames) == [1]
            assert not pipes.is_pipe_open("p")


def test_what_is_too_much_is_dropped_and_counted():
    for scene in scenes():
        scene.pipe.write(b"0000")
        with scene.link.tx:
            for _ in range(link_module.MAX_ASIDE + 7):
                scene.callback(scene.pipe.write, b"1111")
            scene.callback(scene.print, "lost")
            assert scene.output.lost == 4
        scene.serve()
        scene.port.now += 50
        scene.serve()
        scene.pipe.write(b"9999")
        scene.port.now += 50
        scene.serve()
        sent = values(scene.host.frames())
        assert [number for number, _ in sent] == list(range(51)) + [58]  # MAX_ASIDE, and 7 that were too many
        assert sent[-1][1] == b"9999"


def test_a_write_for_a_callback_that_an_interrupt_ends_is_counted():
    for scene in scenes():
        write_now = scene.pipe._opening._write_now

        def interrupted(*args):
            raise KeyboardInterrupt

        for size in (4, 0, 200):
            with scene.link.tx:
                scene.callback(scene.pipe.write, bytes(size))
            scene.pipe._opening._write_now = interrupted
            try:
                scene.serve()
                raise AssertionError("it raised nothing")
            except KeyboardInterrupt:
                pass
            scene.pipe._opening._write_now = write_now
        scene.pipe.close()
        assert closes(scene.host.frames()) == [3]


def test_a_pipe_that_callbacks_close_again_and_again_is_closed_once():
    for scene in scenes():
        with scene.link.tx:
            for _ in range(200):
                scene.callback(scene.pipe.close)
            assert len(scene.link.calls) == link_module.MAX_ASIDE
        scene.serve()
        assert closes(scene.host.frames()) == [0]


def test_what_a_callback_wrote_after_the_close_is_dropped():
    for scene in scenes():
        with scene.link.tx:
            scene.callback(scene.pipe.close)
            scene.callback(scene.pipe.write, b"0000")
            scene.callback(scene.pipe.write, b"0000")
        scene.serve()
        assert closes(scene.host.frames()) == [0]
        assert not scene.link.calls


def test_what_cannot_wait_says_so():
    for scene in scenes():
        with scene.link.tx:
            for call in ((pipes.open_pipe, "another"), (about.ask, scene.link, 1, scene.link.session)):
                try:
                    scene.callback(*call)
                except RuntimeError as error:
                    assert "callback" in str(error)
                else:
                    raise AssertionError("it raised nothing")
            scene.callback(pipes.open_pipe, "p")  # is open already


def test_an_error_in_what_was_put_aside_leaves_the_rest_to_be_done():
    for scene in scenes():

        def fail(*args):
            raise KeyboardInterrupt

        scene.link.calls.append((fail, ()))
        scene.link.calls.append((scene.output.write, (1, "text")))
        try:
            scene.serve()
            raise AssertionError("it raised nothing")
        except KeyboardInterrupt:
            pass
        scene.serve()
        assert scene.text(scene.host.frames()) == b"text"
        assert not scene.link.busy


def test_whether_it_is_a_callback_is_known_also_where_as_many_wait_as_can():
    scene = Scene(False)
    seen = []

    def ask(_=None):
        seen.append(scene.link.in_callback())

    if not quirks.CPYTHON:
        import micropython

        waiting = True
        while waiting and len(seen) < 20:
            try:
                micropython.schedule(ask, 0)
            except RuntimeError:
                waiting = False
    assert not scene.link.in_callback()
    assert not scene.link.in_callback()
    scene.callback(ask)
    assert seen and all(seen)


def test_a_thread_is_never_taken_for_a_callback_however_many_callbacks_there_are():
    if quirks.CPYTHON:
        return  # nothing is asked there
    import micropython

    scene = Scene(False)
    seen = []
    taken = 0
    going = [True]

    def beat(_):
        seen.append(scene.link.in_callback())
        if going[0]:
            micropython.schedule(beat, 0)

    for _ in range(3):
        micropython.schedule(beat, 0)
    for _ in range(300):
        taken += scene.link.in_callback()
    going[0] = False
    while scene.link.in_callback():  # the last ones
        pass
    assert len(seen) > 300 and all(seen)
    assert taken == 0


def test_the_ticker_leaves_a_lock_alone_that_somebody_has():
    for scene in scenes():
        with scene.link.tx:
            scene.link._tick(None)
        scene.link._tick(None)
        with scene.link.tx:
            pass


def test_the_main_thread_writes_for_the_other_core_although_it_met_the_lock_at_every_try():
    _, link, _, host = board(two_cores=True)
    host.hello(**UART)
    hurried = []
    hurry, link_module.hurry = link_module.hurry, hurried.append
    main, link.main = link.main, -1  # this thread is the other core's
    try:
        with link.tx:
            link.commit(bytearray((wire.MESSAGE, 0, wire.STREAM, 1, 0)) + b"other", None)
            while hurried:
                hurried.pop()(0)
        assert not host.frames()
        link.pump()  # it waits for an answer
        hurried.pop()(0)
        assert [payload for _, _, payload in host.frames()] == [bytes((wire.STREAM, 1, 0)) + b"other"]
    finally:
        link_module.hurry = hurry
        link.main = main
    board()


def test_a_long_text_goes_before_those_of_others_and_an_interrupt_gives_way():
    scene = Scene(False)
    slept = []
    seen = []

    def sleep(ms):
        scene.port.now += ms
        seen.append(scene.output._whose)
        slept.append(ms)
        if len(slept) == 2:
            raise KeyboardInterrupt

    link_module.sleep_ms = sleep
    try:
        scene.print("x" * 1000)
    except KeyboardInterrupt:
        pass
    assert seen and None not in seen
    assert scene.output._whose is None
