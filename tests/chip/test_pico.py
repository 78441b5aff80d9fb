"""The agent on a chip: two cores, no GIL, 240 kB of memory, USB that throws unread input away at Ctrl-C."""

import struct

import pytest
from picos import Talker, mpremote

from ucore import wire
from ukernel.install import installer
from ukernel.link import session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.board
def test_a_stock_board_gets_the_agent_and_runs_a_cell(talker, board_port):
    assert board_port or talker.ready.facts["platform"] == "rp2"
    assert talker.cell("print(6 * 7)") == "42\n"


@pytest.mark.board
def test_an_installed_board_is_started_without_copying(pico):
    assert installer.ensure_agent(pico.port) is False


@pytest.mark.board
def test_an_error_has_a_traceback_of_the_cell_alone(talker):
    talker.begin("def f():\n    1/0\nf()")
    text, reply = talker.end()
    assert "ZeroDivisionError" in reply and "line 2, in f" in reply and "agent" not in reply


@pytest.mark.board
def test_input_asks_the_host(talker):
    assert talker.cell("print(input('name? ').upper())", answer="abc") == "ABC\n"


@pytest.mark.board
def test_rich_output_comes_from_the_cell_and_from_a_thread_that_asks_first(talker):
    talker.begin(
        "import _thread, time\ndef show():\n    ucore.display(png=b'\\x89PNG' + bytes(range(256)) * 20)\n"
        "_thread.start_new_thread(show, ())\ntime.sleep(0.5)\nucore.display(html='<b>hi</b>')"
    )
    first = talker.wait_for(session.Message, lambda event: event.type == wire.DISPLAY_DATA)
    second = talker.wait_for(session.Message, lambda event: event.type == wire.DISPLAY_DATA)
    assert first.content == b"png\n\x89PNG" + bytes(range(256)) * 20
    assert second.content == b"html\n<b>hi</b>"
    assert "ok" in talker.end()[1]


@pytest.mark.board
def test_an_await_runs_the_event_loop_and_an_interrupt_ends_it(talker):
    await_ = "from ucore.tasks import run as _ucore_await\nimport asyncio\n"
    assert (
        talker.cell(await_ + "async def f():\n    await asyncio.sleep(0.01)\n    return 5\nprint(_ucore_await(f()))") == "5\n"
    )
    talker.begin(await_ + "_ucore_await(asyncio.sleep(1000))")
    talker.wait_for(session.Message, lambda event: event.type == wire.STATUS)
    talker.board.interrupt()
    assert "KeyboardInterrupt" in talker.end()[1]
    assert talker.cell("print(_ucore_await(f()))") == "5\n"


@pytest.mark.board
@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(1000)", "while True: print('x')"])
def test_an_interrupt_ends_the_cell_and_nothing_else(talker, body):
    talker.cell("kept = 1")
    talker.begin(body)
    talker.wait_for(session.Message, lambda event: event.type == wire.STATUS)
    talker.board.interrupt()
    assert "KeyboardInterrupt" in talker.end()[1]
    assert talker.cell("print(kept)") == "1\n"


@pytest.mark.board
def test_a_producer_on_the_other_core_loses_nothing_beside_prints(talker):
    count = 10_000
    talker.frames.clear()
    talker.cell(
        "import _thread, struct\np = ucore.open_pipe('both')\ndone = []\n"
        f"def run():\n    for i in range({count}):\n        p.write(struct.pack('<I', i))\n    done.append(1)\n"
        "_thread.start_new_thread(run, ())"
    )
    text = talker.cell("n = 0\nwhile not done:\n    n += 1\n    print('line', n)\nprint('end', n)\np.close()")
    lines = text.splitlines()
    assert lines == [f"line {i + 1}" for i in range(len(lines) - 1)] + [f"end {len(lines) - 1}"]
    while not talker.closed:
        talker.next()
    assert [event.frames for event in talker.closed] == [count]
    assert b"".join(data for _, _, data in talker.frames) == b"".join(struct.pack("<I", i) for i in range(count))


def test_a_timer_prints_and_writes_whatever_it_interrupts(talker):
    talker.frames.clear()
    talker.cell(
        """
import _thread, machine, time
pipe = ucore.open_pipe('timer')
calls = [0]
def call(timer):
    calls[0] += 1
    pipe.write(b'call')
    print('call')
going = True
def produce():
    while going:
        pipe.write(b'core')
timer = machine.Timer(period=20, callback=call)
_thread.start_new_thread(produce, ())
"""
    )
    text = talker.cell(
        """
until = time.ticks_add(time.ticks_ms(), 1500)
mains = 0
while time.ticks_diff(until, time.ticks_ms()) > 0:
    mains += 1
    pipe.write(b'main')
    print('main')
timer.deinit()
going = False
pipe.close()
print('end', calls[0], mains)
"""
    )
    while not talker.closed:
        talker.next()
    lines = text.splitlines()
    calls, mains = (int(word) for word in lines.pop().split()[1:])
    assert calls > 20 and mains > 20
    assert lines.count("main") == mains and set(lines) <= {"main", "call"}
    data = b"".join(data for _, _, data in talker.frames)
    items = [data[at : at + 4] for at in range(0, len(data), 4)]
    counted = talker.closed[-1].frames
    assert items.count(b"main") == mains and items.count(b"core") > 20
    assert items.count(b"call") == calls - (counted - len(items))


COUNT = "def count():\n    global n\n    n += 1\n    return n\nn = 0\n"
AGAIN = "ucore.every(10, count, pipe='count')\n"
LINES = "import time\nfor i in range(40):\n    print('line', i)\n    time.sleep_ms(10)\n"
END = "made = ucore.producers()['count']\nmade.stop()\nprint(n - made.calls)\n"


@pytest.mark.board
@pytest.mark.parametrize("core1", ["free", "in use"])
def test_every_counts_on_the_other_core_or_where_that_is_in_use_by_a_timer(talker, core1):
    talker.frames.clear()
    if core1 == "in use":
        talker.cell(
            "import _thread, time\nours = True\ndef other():\n    while ours: time.sleep_ms(5)\n_thread.start_new_thread(other, ())"
        )
    talker.cell(COUNT + AGAIN)
    talker.cell("before = n\n" + LINES)
    talker.cell("assert n > before\nbefore, now = ucore.producers()['count'].calls, n\n" + AGAIN + LINES)  # run again
    assert len(talker.cell("print(ucore.producers())").split("Producer")) == 2
    talker.cell("ours = False\n" + END)
    while not talker.closed:
        talker.next()
    data = b"".join(data for _, _, data in talker.frames)
    values = [value for (value,) in struct.iter_unpack("<f", data)]
    assert len(values) > 20 and values == sorted(set(values))
    assert set(range(1, int(values[-1]) + 1)) - set(values) <= {values[-1]} | set(_made_again(values))
    assert talker.closed.pop().frames == len(values)


def _made_again(values):
    """What a call that was under way when its producer was replaced or stopped had counted: one, or none."""
    return [before + 1 for before, after in zip(values, values[1:]) if after != before + 1][:1]


def test_writes_of_all_sizes_arrive_as_they_were(talker):
    sizes = [1, 4, 4, 4, 0, 7, 7, 1, 0, 0, 500, 500, 4, 3000, 4, 4, 1]
    talker.cell(f"p = ucore.open_pipe('sizes')\nfor n in {sizes}: p.write(bytes([n & 255]) * n)\np.close()\np = None")
    got = []
    for _, size, data in talker.frames:
        got += [size] * (len(data) // size if size else 1)
    assert got == sizes


def test_a_stamp_is_a_time_by_which_its_frames_were_written(talker):
    clock = talker.board._session.clock
    stamps, times = [], clock.times
    # As the chip says it: the emulator's clock does not run evenly with ours.
    clock.times = lambda pipe, stamp, exact, *more: (stamps.append((stamp, exact)), times(pipe, stamp, exact, *more))[1]
    talker.board.set_timestamps(True)
    talker.cell(
        "import _thread, struct, time\np = ucore.open_pipe('when')\n"
        "def run():\n    for i in range(200):\n        p.write(struct.pack('<I', time.ticks_us()))\n        time.sleep_ms(1)\n"
        "    p.close()\n_thread.start_new_thread(run, ())"
    )
    events = talker.passed_over + talker.until(session.PipeClosed)
    talker.board.set_timestamps(False)
    batches = [event for event in events if isinstance(event, session.PipeBatch)]
    written = [[ticks for (ticks,) in struct.iter_unpack("<I", batch.data)] for batch in batches]
    assert sum(map(len, written)) == 200
    assert len(stamps) == len(batches)
    assert all(batch.times is not None for batch in batches)
    for ticks, after, (stamp, exact) in zip(written, [*written[1:], [2**30]], stamps):
        assert ticks[-1] <= stamp
        assert not exact or stamp <= after[0]


@pytest.mark.board
def test_a_producer_that_must_not_wait_drops_and_the_numbers_know(talker):
    count = 900
    talker.begin(
        "import struct\nwith ucore.open_pipe('fast', drop=True) as p:\n"
        f"    for i in range({count}):\n        p.write(struct.pack('<I', i) + bytes(i % 3 * 250))\np = None"
    )
    talker.wait_for(session.PipeOpened, lambda event: event.name == "fast" and event.drops)
    events = talker.until(session.PipeClosed)
    assert '"ok"' in talker.end()[1]
    batches = [event for event in events if isinstance(event, session.PipeBatch)]
    numbers = [batch.number + index for batch in batches for index in range(len(batch.data) // batch.size)]
    values = [value for batch in batches for (value,) in struct.iter_unpack(f"<I{batch.size - 4}x", batch.data)]
    assert numbers == values == sorted(set(values))
    assert events[-1].frames == count


@pytest.mark.board
def test_a_text_is_no_frame(talker):
    talker.begin("p = ucore.open_pipe('text')\np.write(b'abc')\np.write('abc')")
    assert "TypeError" in talker.end()[1]
    talker.cell("p.close()")


@pytest.mark.board
def test_a_soft_reset_is_noticed_and_the_agent_is_started_again(talker):
    talker.cell("gone = 1")
    talker.board.send(wire.SHUTDOWN_REQUEST, 0, b"")
    ready = talker.wait_for(session.Ready)
    assert ready.restarted
    assert talker.cell("print('gone' in globals())") == "False\n"


def test_mpremote_gets_the_prompt_and_the_host_comes_back_to_its_variables(pico):
    with Talker(pico.port) as talker:
        talker.cell(
            "import _thread\nkept = 5\nq = ucore.open_pipe('on')\n"
            "def run():\n    while ucore.is_pipe_open('on'): q.write(b'abcd')\n_thread.start_new_thread(run, ())"
        )
    assert mpremote(pico.port, "resume", "exec", "print(1 + 1)") == "2\n"
    assert "agent.mpy" in mpremote(pico.port, "resume", "fs", "ls", "/lib/ucore")
    with Talker(pico.port) as talker:
        assert talker.cell("print(kept)\nucore.close_pipe('on')") == "5\n"


@pytest.mark.board
def test_mpremote_gets_the_prompt_while_a_cell_runs(pico):
    with Talker(pico.port) as talker:
        talker.begin("while True: pass")
        talker.wait_for(session.Message, lambda event: event.type == wire.STATUS)
    assert mpremote(pico.port, "exec", "print(2 + 2)") == "4\n"
    with Talker(pico.port) as talker:
        assert talker.cell("print('here')") == "here\n"


BEAT = """
import machine
beats = [0]
def beat(timer):
    beats[0] += 1
    if beats[0] % 4:
        beaten.write(b'beat')
    else:
        print('beat', beats[0])
beaten = ucore.open_pipe('beats')
heart = machine.Timer(period=1, callback=beat)
"""


@pytest.mark.board
def test_a_timer_of_a_millisecond_beside_prints_the_other_core_and_an_idle_agent(talker):
    talker.frames.clear()
    talker.closed.clear()
    talker.cell(BEAT)  # exec as any program's: nothing on the host has seen that there is a timer
    for _ in range(10):
        talker.wait_for(session.Message, lambda event: event.type == wire.STREAM)  # while the agent is idle
    talker.cell(
        "import _thread\np = ucore.open_pipe('core')\ngoing = True\n"
        "def produce():\n    while going:\n        p.write(b'core')\n_thread.start_new_thread(produce, ())"
    )
    text = talker.cell("for i in range(12):\n    print('main', i)\n    beaten.write(b'main')")
    assert [line for line in text.splitlines() if line.startswith("main")] == [f"main {i}" for i in range(12)]
    text = talker.cell("going = False\nheart.deinit()\nucore.close_pipe('beats')\np.close()\nprint('end', beats[0])")
    assert "end" in text
    while len(talker.closed) < 2:
        talker.next()
    items = b"".join(data for _, size, data in talker.frames if size == 4)
    assert items.count(b"main") == 12 and items.count(b"beat") > 50 and items.count(b"core") > 50


@pytest.mark.board
def test_long_prints_of_both_cores_stay_whole(talker):
    for _ in range(5):
        text = talker.cell(
            "import _thread, time\ndone = []\ndef say():\n    for i in range(10):\n        print('c' * 500)\n    done.append(1)\n"
            "_thread.start_new_thread(say, ())\nfor i in range(10):\n    print('m' * 300)\nwhile not done: time.sleep_ms(5)\n"
        )
        assert sorted(text.split()) == ["c" * 500] * 10 + ["m" * 300] * 10
