"""`ucore.every`: what is called when, what of it is written, and what ends it. On CPython and on MicroPython."""

import sys

from handmade import board

import ucore
from ucore import link as link_module
from ucore import periodic, pipes, wire

if not hasattr(sys, "print_exception"):  # CPython: what the agent's stand-in board adds
    import traceback

    sys.print_exception = lambda error, file: traceback.print_exception(error, file=file)

UART = {"line": "uart", "baud": 115200, "window": 2048, "payload": 112}


class Runner:
    """The agent's, as far as threads go: those that are started do not run until the test lets them."""

    def __init__(self):
        self.parents = {}
        self.cell = 7
        self.started = []
        self.full = False

    def parent(self):
        return self.cell

    def start_new_thread(self, function, args):
        if self.full:
            raise OSError("core1 in use")
        self.started.append(function)


class Stop(BaseException):
    pass


class Scene:
    """A board whose one thread runs on a clock made by hand."""

    def __init__(self, threads=True):
        self.port, self.link, self.output, self.host = board()
        self.host.hello(**UART)
        self.runner = self.link.runner = Runner()
        self.runner.full = not threads
        ucore.start_new_thread = self.runner.start_new_thread
        periodic._all[:] = []
        periodic._threaded = False
        periodic._timer = None
        periodic._early_ms = periodic.EARLY_MS = 0
        periodic.ticks_ms = self.port.ticks_ms
        periodic.sleep_ms = self.sleep
        periodic.hurry = self.hurried
        periodic.start(self.link)
        self.until = 0
        self.actions = []

    def hurried(self, callback):
        callback(0)

    def sleep(self, ms):
        while self.actions and self.actions[0][0] <= self.port.now + ms:
            at, action = self.actions.pop(0)
            ms -= at - self.port.now
            self.port.now = at
            action()
        self.port.now += ms
        self.host.ack(self.link.seq)
        if self.port.now >= self.until:
            raise Stop

    def at(self, ms, action):
        self.actions.append((self.port.now + ms, action))

    def run(self, ms):
        """Let the thread run for so long; tells whether it goes on."""
        self.until = self.port.now + ms
        try:
            self.runner.started[-1]()
        except Stop:
            periodic._threaded = True  # it goes on in the next `run`
            return True
        return False

    def data(self):
        """What has been written, joined."""
        self.port.now += 100
        self.link.pump()
        found = b""
        for kind, _, payload in self.host.frames():
            if kind in (wire.BATCH, wire.NEXT, wire.SAME):
                found += payload[7 if kind == wire.BATCH else 1 if kind == wire.NEXT else 0 :]
        return found

    def text(self):
        """What has been printed, by cell."""
        self.port.now += 100
        self.link.pump()
        texts = {}
        for kind, _, payload in self.host.frames():
            if kind == wire.MESSAGE and payload[0] == wire.STREAM:
                texts[payload[1]] = texts.get(payload[1], "") + bytes(payload[3:]).decode()
        return texts


def raises(error, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except error as found:
        return str(found)
    raise AssertionError("it raised nothing")


def floats(data):
    import struct as exact

    return list(exact.unpack("<" + "f" * (len(data) // 4), data))


def counter(scene, calls, take_ms=0):
    def count():
        calls.append(scene.port.now)
        scene.port.now += take_ms

    return count


def test_a_function_is_called_at_once_and_at_exact_times_however_long_it_takes():
    scene = Scene()
    calls = []
    began = scene.port.now
    made = periodic.every(10, counter(scene, calls, 3), name="count")
    assert scene.run(95)
    assert [at - began for at in calls] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert made.calls == 10
    assert repr(made) == "<Producer count, every 10 ms, 10 calls>"


def test_calls_that_are_missed_are_left_out_and_do_not_come_in_a_bunch():
    scene = Scene()
    calls = []
    began = scene.port.now

    def slow_once():
        calls.append(scene.port.now - began)
        if len(calls) == 2:
            scene.port.now += 34

    periodic.every(10, slow_once)
    scene.run(95)
    assert calls == [0, 10, 44, 50, 60, 70, 80, 90]


def test_who_wakes_up_a_moment_late_misses_nothing():
    scene = Scene()
    sleep = scene.sleep
    turn = [0]

    def late(ms):
        turn[0] += 1
        sleep(ms + (turn[0] % 3 == 0))

    periodic.sleep_ms = late
    made = periodic.every(1, lambda: None, name="quick")
    assert scene.run(1000)
    assert 999 <= made.calls <= 1001


def test_what_would_have_to_be_awaited_is_an_error():
    scene = Scene()

    def later():
        yield 5

    periodic.every(10, later)
    assert not scene.run(50)
    assert "does not await" in scene.text()[7]


def test_a_period_with_a_fraction_does_not_drift():
    scene = Scene()
    calls = []
    periodic.every(2.5, counter(scene, calls), name="quick")
    scene.run(1000)
    assert len(calls) == 400


def calls_in_a_second_of_ticks(period):
    """How many there are where who sleeps wakes up at ticks of 10 ms, or a little later."""
    scene = Scene()
    periodic.EARLY_MS = periodic._early_ms = 5
    sleep = scene.sleep
    goers = periodic._goers
    jitter = [0]

    def sleep_to_a_tick(ms):
        jitter[0] = (jitter[0] + 1) % 3
        sleep((scene.port.now + ms + 9) // 10 * 10 + jitter[0] - scene.port.now)

    def spin():  # what is not slept is spun
        scene.port.now += 1
        if scene.port.now >= scene.until:
            raise Stop
        return goers()

    made = periodic.every(period, lambda: None, name="steady")
    periodic.sleep_ms = sleep_to_a_tick
    periodic._goers = spin
    try:
        assert scene.run(1000)
    finally:
        periodic._goers = goers
    return made.calls


def test_where_sleep_ends_at_ticks_of_10_ms_no_call_is_lost():
    for period, least, most in ((10, 99, 101), (15, 66, 67), (20, 49, 51), (25, 39, 41), (5, 199, 201), (7, 141, 144)):
        assert least <= calls_in_a_second_of_ticks(period) <= most, period


def test_one_thread_calls_all_of_them():
    scene = Scene()
    often, seldom = [], []
    periodic.every(5, counter(scene, often), name="often")
    periodic.every(300, counter(scene, seldom), name="seldom")
    scene.run(999)
    assert (len(often), len(seldom), len(scene.runner.started)) == (200, 4, 1)
    assert sorted(periodic.producers()) == ["often", "seldom"]


def test_what_comes_back_becomes_a_frame():
    for value, data in (
        (1.5, b"\0\0\xc0?"),
        (2, b"\0\0\0@"),
        ((True, False), b"\0\0\x80?\0\0\0\0"),
        (True, b"\0\0\x80?"),
        ((1.5, 2), b"\0\0\xc0?\0\0\0@"),
        ([2], b"\0\0\0@"),
        (b"abc", b"abc"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (None, b""),
        ((), b""),
    ):
        scene = Scene()
        made = periodic.every(10, lambda value=value: value, pipe="adc")
        assert scene.run(1)
        assert (made.name, made.calls, scene.data()) == ("adc", 1, data), value


def test_what_cannot_be_written_ends_it_and_says_why_in_its_cell():
    for value, kind in (("1.5", "str"), ({}, "dict"), ((1, "2"), "str"), (1j, "complex")):
        scene = Scene()
        made = periodic.every(10, lambda value=value: value, pipe="adc")
        scene.runner.cell = 8
        assert not scene.run(100)
        said = scene.text()
        assert list(said) == [7]
        text = said[7]
        assert "The producer adc has ended" in text and "TypeError: a pipe takes" in text and kind in text
        assert repr(made) == "<Producer adc, every 10 ms, 0 calls, stopped>"
        assert not ucore.is_pipe_open("adc")


def test_without_a_pipe_it_is_just_called():
    scene = Scene()
    made = periodic.every(10, lambda: "whatever", name="blink")
    assert scene.run(45)
    assert made.calls == 5


def test_an_error_ends_only_its_own():
    scene = Scene()
    calls = []

    def bad():
        if len(calls) == 3:
            raise ValueError("no sensor")

    periodic.every(10, counter(scene, calls), name="good")
    periodic.every(10, bad, pipe="bad")
    assert scene.run(95)
    assert len(calls) == 10 and list(periodic.producers()) == ["good"]
    text = scene.text()[7]
    assert "ValueError: no sensor" in text and "in bad" in text and "/periodic.py" not in text


def test_system_exit_ends_it_in_silence():
    scene = Scene()

    def leave():
        raise SystemExit

    periodic.every(10, leave)
    assert not scene.run(50)
    assert scene.text() == {}


def test_run_again_it_replaces_itself_in_the_same_opening_without_a_step_in_time():
    scene = Scene()
    seen = []

    def produce(mark):
        def read():
            seen.append((scene.port.now - began, mark))
            return mark

        return periodic.every(10, read, pipe="adc")

    began = scene.port.now
    first = produce(1.0)
    opening = first.pipe._opening
    again = []
    scene.at(34, lambda: again.append(produce(2.0)))
    scene.run(75)
    assert [at for at, _ in seen] == [0, 10, 20, 30, 40, 50, 60, 70]
    assert [mark for _, mark in seen] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert again[0].pipe._opening is opening and opening.open
    assert "stopped" in repr(first) and list(periodic.producers().values()) == again
    assert floats(scene.data()) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_call_under_way_when_it_is_replaced_is_made_by_the_new_one():
    scene = Scene()

    def old():
        if scene.port.now - began == 20:
            periodic.every(10, lambda: 2.0, pipe="adc")
        return 1.0

    began = scene.port.now
    periodic.every(10, old, pipe="adc")
    scene.run(45)
    assert floats(scene.data()) == [1, 1, 2, 2, 2]


def test_a_pipe_has_one_producer_whatever_its_name():
    Scene()
    periodic.every(10, lambda: 1, pipe="adc", name="first")
    periodic.every(10, lambda: 2, pipe="adc", name="second")
    assert list(periodic.producers()) == ["second"] and ucore.is_pipe_open("adc")
    periodic.every(10, lambda: 3, pipe="other", name="second")
    assert ucore.is_pipe_open("other") and not ucore.is_pipe_open("adc")


def test_stop_closes_the_pipe_and_the_close_of_the_pipe_stops():
    scene = Scene()
    made = periodic.every(10, lambda: 1.0, pipe="adc")
    scene.run(25)
    made.stop()
    assert not ucore.is_pipe_open("adc") and periodic.producers() == {} and not scene.run(50) and made.calls == 3
    made.stop()
    scene = Scene()
    made = periodic.every(10, lambda: 1.0, pipe="adc")
    scene.at(25, lambda: ucore.close_pipe("adc"))
    assert not scene.run(100)
    assert made.calls == 3 and periodic.producers() == {} and scene.text() == {}


def test_a_pipe_closed_and_opened_again_is_not_its_own():
    Scene()
    made = periodic.every(10, lambda: 1.0, pipe="adc")
    ucore.close_pipe("adc")
    ucore.open_pipe("adc")
    assert "stopped" in repr(made) and periodic.producers() == {}
    made.stop()
    assert ucore.is_pipe_open("adc")


def test_it_may_stop_itself():
    scene = Scene()
    made = []

    def read():
        if made[0].calls == 3:
            made[0].stop()
        return 1.0

    made.append(periodic.every(10, read, pipe="adc"))
    assert not scene.run(100)
    assert made[0].calls == 3 and floats(scene.data()) == [1, 1, 1] and scene.text() == {}


def test_it_decorates_a_function_which_can_still_be_called():
    scene = Scene()

    @periodic.every(20)
    def blink(state="on"):
        return state

    assert scene.run(50)
    assert (blink.name, blink.calls, blink("off")) == ("blink", 3, "off")


def test_a_pipe_that_drops_stays_one():
    Scene()
    pipe = ucore.open_pipe("fast", drop=True)
    made = periodic.every(10, lambda: 1.0, pipe=pipe)
    assert made.pipe._opening is pipe._opening
    pipe.close()
    made = periodic.every(10, lambda: 1.0, pipe=pipe)
    assert made.name == "fast" and made.pipe._opening.drop


def test_what_it_cannot_take_it_says_and_replaces_nothing():
    scene = Scene()
    kept = periodic.every(10, lambda: 1.0, pipe="adc")
    assert "period first" in raises(TypeError, periodic.every, len, 10)
    assert "from 1 to" in raises(ValueError, periodic.every, 0, len)
    assert "from 1 to" in raises(ValueError, periodic.every, -5, len)
    assert "calls a function" in raises(TypeError, periodic.every, 10, 5, pipe="adc")
    assert "without read's parentheses" in raises(TypeError, periodic.every, 10, None, name="blink")  # what a call returned
    assert "name or a Pipe" in raises(TypeError, periodic.every, 10, len, pipe=5)
    assert "name=" in raises(ValueError, periodic.every, 10, lambda: 1)
    assert "str" in raises(TypeError, periodic.every, 10, len, name=5)
    raises(ValueError, periodic.every, 10, len, pipe="a\nb")
    assert list(periodic.producers().values()) == [kept]
    scene.runner.full = True
    periodic._threaded = False
    sys.modules["machine"] = None
    try:
        raises((OSError, ImportError), periodic.every, 10, len, pipe="new")
    finally:
        del sys.modules["machine"]
    assert not ucore.is_pipe_open("new")


timers = []


class Timer:
    """The timers that have been made."""

    PERIODIC = 1

    def __init__(self, id):
        timers.append(self)

    def init(self, period, mode, callback):
        self.period = period
        self.callback = callback

    def deinit(self):
        self.callback = None


class Machine:
    Timer = Timer


def test_where_no_thread_can_be_started_a_timer_calls():
    scene = Scene(threads=False)
    timers.clear()
    sys.modules["machine"] = Machine
    try:
        ten = periodic.every(10, lambda: 1.0, pipe="ten")
        fifteen = periodic.every(15, lambda: None, name="fifteen")
    finally:
        del sys.modules["machine"]
    assert [timer.callback is not None for timer in timers] == [False, True]
    timer = timers[-1]
    assert timer.period == 5
    for _ in range(12):
        scene.port.now += 5
        timer.callback(timer)
    assert (ten.calls, fifteen.calls) == (7, 5)
    scene.port.now -= 1  # a tick that comes a moment early
    for _ in range(2):
        scene.port.now += 5
        timer.callback(timer)
    assert (ten.calls, fifteen.calls) == (8, 5)
    ten.stop()
    fifteen.stop()
    timer.callback(timer)
    assert timer.callback is None


def test_a_thread_takes_over_from_the_timer_as_soon_as_there_is_one():
    scene = Scene(threads=False)
    timers.clear()
    sys.modules["machine"] = Machine
    try:
        one = periodic.every(10, lambda: None, name="one")
        scene.runner.full = False
        periodic.every(10, lambda: None, name="two")
    finally:
        del sys.modules["machine"]
    assert [timer.callback for timer in timers] == [None]
    assert scene.run(55)
    assert one.calls == 6


# --- two threads that write to one pipe -------------------------------------------------------------


class Threads:
    """Writes of several threads: which one writes is said by hand. What is printed is kept."""

    def __init__(self):
        self.port, self.link, self.output, self.host = board()
        self.host.hello(**UART)
        self.said = []
        self.me = self.link.main
        pipes.get_ident = link_module.get_ident = lambda: self.me
        self.warn = []

        __import__("ucore.threads")
        self.module = sys.modules["ucore.threads"]

    def __enter__(self):
        self.was = self.module.warn
        self.module.warn = self.warn.append
        return self

    def __exit__(self, *exc):
        from _thread import get_ident

        self.module.warn = self.was
        pipes.get_ident = link_module.get_ident = get_ident

    def writes(self, thread, pipe):
        sys.modules["ucore.threads"] = self.module
        self.me = thread
        try:
            self.port.now += 100
            pipe.write(b"abcd")
            self.host.ack(self.link.seq)
        finally:
            self.me = self.link.main


def test_a_second_thread_that_writes_is_told_of_once():
    with Threads() as threads:
        pipe = ucore.open_pipe("adc")
        for thread in (1, 1, 2, 1, 3, 2, 1):
            threads.writes(thread, pipe)
        assert threads.warn == ["adc"]
        pipe.close()
        pipe = ucore.open_pipe("adc")
        for thread in (4, 5, 4, 5):
            threads.writes(thread, pipe)
        assert threads.warn == ["adc", "adc"]


def test_threads_one_after_the_other_and_the_main_one_are_nothing_to_tell():
    with Threads() as threads:
        pipe = ucore.open_pipe("adc")
        for thread in (1, threads.link.main, 1):
            threads.writes(thread, pipe)
        pipes.forget(1)
        for thread in (2, threads.link.main, 2):
            threads.writes(thread, pipe)
        assert threads.warn == []


def test_one_late_write_of_a_thread_whose_own_opening_has_ended_is_not_blamed():
    with Threads() as threads:
        pipe = ucore.open_pipe("adc")
        threads.writes(1, pipe)
        pipe.close()
        pipe = ucore.open_pipe("adc")
        threads.writes(1, pipe)
        threads.writes(2, pipe)
        threads.writes(2, pipe)
        assert threads.warn == []
        threads.writes(1, pipe)  # it goes on all the same
        assert threads.warn == ["adc"]


def replies(scene):
    """The answers to questions about producers, by the question."""
    from ucore.quirks import json

    found = {}
    for kind, _, payload in scene.host.frames():
        if kind == wire.MESSAGE and payload[0] == wire.EVERY_REPLY:
            found[payload[1]] = json.loads(bytes(payload[3:]).decode())
    return found


def test_their_thread_answers_for_them_and_stops_them_while_a_cell_runs():
    scene = Scene()
    periodic.every(10, lambda: 1.5, pipe="adc")
    blink = periodic.every(50, lambda: None, name="blink")
    scene.link.cell = 7
    scene.link.inbox.append((wire.EVERY_REQUEST, 8, b""))
    assert scene.run(45)
    assert sorted(replies(scene)[8]) == [["adc", 10, 0, "adc"], ["blink", 50, 0, None]]
    scene.link.inbox.append((wire.EVERY_REQUEST, 9, b"adc"))
    assert scene.run(45)
    assert sorted(row[0] for row in replies(scene)[9]) == ["adc", "blink"]
    assert periodic.producers() == {"blink": blink} and not pipes.is_pipe_open("adc")
