"""The loop: messages, timers, and calls from other threads."""

import threading

import pytest
import zmq

from ukernel.kernel.loop import MAX_BURST, Loop


@pytest.fixture
def pair():
    with zmq.Context() as context, context.socket(zmq.PAIR) as here, context.socket(zmq.PAIR) as there:
        here.bind("inproc://pair")
        there.connect("inproc://pair")
        here.linger = there.linger = 0
        yield here, there


def test_every_message_is_delivered_in_order(loop, pair):
    here, there = pair
    got = []
    loop.add_socket(here, got.append)
    for number in range(MAX_BURST + 10):
        there.send_multipart([b"%d" % number])
    while len(got) < MAX_BURST + 10:
        loop.run_once()
    assert got == [[b"%d" % number] for number in range(MAX_BURST + 10)]


def test_a_socket_is_drained_to_the_last_message_that_is_there(loop, pair):
    here, there = pair
    got = []
    loop.add_socket(here, got.append)
    for _ in range(2 * MAX_BURST + 10):
        there.send(b"x")
    assert here.poll(10_000)
    loop.drain(here)
    assert len(got) == 2 * MAX_BURST + 10


def test_a_mistake_with_one_message_is_reported_and_the_next_is_delivered(loop, pair, capsys):
    here, there = pair
    got = []

    def receive(frames):
        if frames == [b"bad"]:
            raise RuntimeError("not this one")
        got.append(frames)

    loop.add_socket(here, receive)
    there.send(b"bad")
    there.send(b"good")
    while not got:
        loop.run_once()
    assert "not this one" in capsys.readouterr().err


def test_a_removed_socket_is_not_read_even_in_the_same_turn(loop, pair):
    here, there = pair
    got = []
    loop.add_socket(here, got.append)
    there.send(b"x")
    loop.remove_reader(here)
    loop.remove_reader(here)
    loop.call_soon_threadsafe(lambda: None)
    loop.run_once()
    assert got == []


def test_timers_run_in_the_order_of_their_time(loop):
    ran = []
    loop.call_later(0.02, lambda: ran.append("late"))
    loop.call_later(0.01, lambda: ran.append("early"))
    loop.call_later(0.01, lambda: ran.append("early too"))
    while len(ran) < 3:
        loop.run_once()
    assert ran == ["early", "early too", "late"]


def test_another_thread_gets_things_done_in_the_loop(loop):
    ran = []
    thread = threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(lambda: ran.append(threading.current_thread())) for _ in range(10_000)]
    )
    thread.start()
    while len(ran) < 10_000:
        loop.run_once()
    thread.join()
    assert set(ran) == {threading.current_thread()}


def test_a_thread_that_outlives_the_loop_is_not_told_so():
    loop = Loop()
    loop.close()
    loop.call_soon_threadsafe(lambda: None)
