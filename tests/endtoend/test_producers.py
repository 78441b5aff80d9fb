"""Producers of `ucore.every`, and cells that are run twice."""

import pytest

pytestmark = pytest.mark.board

READ = """
values = []
def read():
    values.append(len(values))
    return values[-1]
"""
THREAD = """
import struct, time, _thread
{}
pipe = ucore.open_pipe("adc")

def send_ones():
    while ucore.is_pipe_open("adc"):
        pipe.write(struct.pack("<f", 1.0))
        time.sleep_ms(10)

_thread.start_new_thread(send_ones, ());
"""
TWO = "Two threads write to the pipe 'adc'"


def said(bench, cell, wanted):
    """What a board cell prints, also after its end, until it has printed this."""
    outcome = bench.notebook.run("%%ucore\n" + cell)
    text = outcome.text()
    while wanted not in text:
        more = bench.notebook.wait_for(lambda message: message["msg_type"] == "stream", what=f"{wanted!r} after {text!r}")
        assert more["parent_header"]["msg_id"] == outcome.request
        text += more["content"]["text"]
    return text


def test_a_cell_that_is_run_again_goes_on_in_the_same_pipe_with_no_sample_twice(bench):
    bench.board(READ + "ucore.every(10, read, pipe='adc')")
    bench.host("pipe = subscribe('adc', timeout=20)\nfirst = pipe.read_array(20)")
    bench.board("ucore.every(10, read, pipe='adc')")  # what is counted goes on
    bench.host("rest = pipe.read_array(60)\npipe.close()")
    found = [*bench.value("first.tolist()"), *bench.value("rest.tolist()")]
    assert found == [found[0] + n for n in range(80)]
    assert bench.board_value("len(ucore.producers())") == 1


def test_a_decorated_function_streams_and_its_close_ends_it(bench):
    bench.board("@ucore.every(5, pipe='imu')\ndef imu():\n    return 1, 2.5, -3")
    assert bench.value("collect('imu', n=3, decoder='<fff').tolist()") == [[1, 2.5, -3]] * 3
    bench.board("ucore.close_pipe('imu')")
    assert bench.board("imu").result.endswith("calls, stopped>")
    assert bench.board_value("len(ucore.producers())") == 0


def test_what_it_prints_and_how_it_fails_is_in_the_cell_that_started_it(bench):
    cell = "count = 0\ndef talk():\n    global count\n    count += 1\n    print('call', count)\n    1 // (count < 3)\n"
    text = said(bench, cell + "ucore.every(20, talk);", "ZeroDivisionError")
    assert "call 1\ncall 2\ncall 3\nThe producer talk has ended" in text and "line 7, in talk" in text
    assert bench.board_value("ucore.producers()") == {}


def test_an_interrupt_and_other_cells_leave_it_alone(bench):
    bench.board(READ + "ucore.every(5, read, pipe='adc');")
    request = bench.notebook.send("%%ucore\nprint('started')\nwhile True:\n    pass")
    bench.notebook.wait_for_text(request, "started")
    bench.notebook.interrupt()
    assert bench.notebook.finish(request)[0].error == "KeyboardInterrupt"
    assert bench.value("len(collect('adc', n=20))") == 20
    bench.board("ucore.producers()['adc'].stop()")


def test_where_no_thread_can_be_had_a_timer_calls(bench):
    full = "def full(*args):\n    raise OSError('core1 in use')\n"
    bench.board(full + "import _thread\nruns = _thread.start_new_thread\n_thread.start_new_thread = full")
    try:
        bench.board(READ + "ucore.every(10, read, pipe='adc');")
        found = bench.value("collect('adc', n=30).tolist()")
        assert found == [found[0] + n for n in range(30)]
        bench.board("for turn in range(200):\n    ucore.every(1, read, pipe='adc')")  # the timer strikes anywhere in it
        assert bench.board_value("[len(ucore.producers()), ucore.producers()['adc'].calls >= 0]") == [1, True]
        assert bench.value("len(collect('adc', n=30))") == 30
    finally:
        bench.board("_thread.start_new_thread = runs\nucore.close_pipe('adc')")
    assert bench.board_value("ucore.producers()") == {}


def test_a_producer_of_threads_that_is_run_twice_is_told_of_in_its_cell(bench):
    bench.board(THREAD.format(""))
    text = said(bench, THREAD.format(""), "ucore.every() needs none.\n")
    assert text.count(TWO) == 1
    bench.host("collect('adc', n=100)")
    while more := bench.notebook.received():
        assert TWO not in str(more)


def test_run_twice_as_the_examples_say_it_is_one(bench):
    for _ in range(3):
        outcome = bench.board(THREAD.format("ucore.close_pipe('adc')"))
        bench.host("samples = collect('adc', n=50)")
        assert TWO not in outcome.text()
