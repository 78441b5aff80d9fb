"""Cells on a board that several share: in turn, each client hears its own, and nothing waits for ever."""

import json

import pytest
from hubnotebook import KITCHEN, Notebook
from patience import wait_until
from scripted import ScriptedBoard

from ucore import wire
from ukernel.errors import (
    BoardBusyError,
    BoardGoneError,
)
from ukernel.link import session


def test_a_cell_is_busy_prints_shows_and_is_answered(notebook):
    assert notebook.run("print hello") == [
        ("status", {"execution_state": "busy"}),
        ("stream", {"name": "stdout", "text": "hello"}),
        ("execute_reply", {"status": "ok"}),
    ]
    shown = notebook.run("show 42")
    assert shown[1] == ("execute_result", {"data": {"text/plain": "42"}, "metadata": {}})


def test_an_error_on_the_board_is_the_reply(notebook):
    reply = notebook.run("fail too hot")[-1][1]
    assert (reply["status"], reply["ename"], reply["evalue"]) == ("error", "ValueError", "too hot")


def test_text_cut_inside_a_character_arrives_whole(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)
    board = hub.boards["kitchen"]
    board.say(wire.STREAM, "µ".encode()[:1])
    board.say(wire.STREAM, "µ".encode()[1:])
    board.finish()
    assert notebook.until("execute_reply", request)[0] == ("stream", {"name": "stdout", "text": "µ"})


def test_a_second_client_waits_and_hears_for_whom(hub):
    with Notebook(label="first.ipynb") as first, Notebook(label="second.ipynb") as second:
        held = first.send("hold")
        first.until("status", held)
        waiting = second.send("print mine")
        assert second.next()["content"] == {"execution_state": "queued", "holder": "first.ipynb"}
        hub.boards["kitchen"].finish()
        assert first.until("execute_reply", held)[-1][1] == {"status": "ok"}
        assert [kind for kind, _ in second.until("execute_reply", waiting)] == ["status", "stream", "execute_reply"]


def test_clients_take_turns(hub):
    with Notebook(label="greedy") as greedy, Notebook(label="modest") as modest:
        greedy.until("status", greedy.send("hold"))
        for n in range(3):
            greedy.send(f"print greedy {n}")
        modest.send("print modest")
        wait_until(lambda: len(hub.call(lambda: hub.hub.boards.by_port[KITCHEN].as_dict())["waiting"]) == 4)
        hub.boards["kitchen"].finish()
        wait_until(lambda: len(hub.boards["kitchen"].sent) == 5)
        cells = [content.decode() for _, _, content in hub.boards["kitchen"].sent]
        assert cells == ["hold", "print greedy 0", "print modest", "print greedy 1", "print greedy 2"]


def test_each_client_hears_its_own_output_only(hub):
    with Notebook() as one, Notebook() as other:
        assert [content.get("text") for _, content in one.run("print one")][1] == "one"
        assert [content.get("text") for _, content in other.run("print other")][1] == "other"
        assert one.client.drain() == []


def test_a_thread_prints_after_its_cell_has_ended(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)
    board = hub.boards["kitchen"]
    parent = board.running
    board.finish()
    notebook.until("execute_reply", request)
    notebook.run("print another cell")
    board.say(wire.STREAM, b"late", parent)
    late = notebook.next()
    assert (late["type"], late["parent"], late["content"]["text"]) == ("stream", request, "late")


def test_console_text_belongs_to_the_running_cell_then_to_the_last(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)
    hub.boards["kitchen"].tell(session.Console("ets Jul 29"))
    assert notebook.next()["content"]["text"] == "ets Jul 29"
    hub.boards["kitchen"].finish()
    notebook.until("execute_reply", request)
    hub.boards["kitchen"].tell(session.Console("rst:0x1"))
    assert notebook.next()["parent"] == request


def test_input_goes_to_the_client_and_back(hub, notebook):
    request = notebook.send("ask Name? ")
    asked = notebook.until("input_request", request)[-1][1]
    assert asked == {"prompt": "Name? ", "password": False}
    notebook.client.send("input_reply", {"parent": request, "value": "Ada µ"})
    assert notebook.until("execute_reply", request)[0] == ("stream", {"name": "stdout", "text": "Ada µ"})


def test_an_interrupt_stops_the_running_cell(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)
    notebook.client.request("interrupt_request", {"parent": request})
    assert notebook.until("execute_reply", request)[-1][1]["ename"] == "KeyboardInterrupt"


def test_an_interrupt_without_a_parent_stops_all_of_ones_own(hub):
    with Notebook() as mine, Notebook() as other:
        held = mine.send("hold")
        mine.until("status", held)
        waiting = mine.send("print never")
        others = other.send("print later")
        assert mine.next()["content"]["execution_state"] == "queued"
        mine.client.request("interrupt_request", {"parent": None})
        assert mine.until("execute_reply", waiting)[-1][1] == {"status": "aborted"}
        assert mine.until("execute_reply", held)[-1][1]["ename"] == "KeyboardInterrupt"
        assert other.until("execute_reply", others)[-1][1] == {"status": "ok"}


def test_another_ones_cell_is_interrupted_by_force_only(hub):
    with Notebook(label="mine.ipynb") as mine, Notebook() as other:
        held = mine.send("hold")
        mine.until("status", held)
        with pytest.raises(BoardBusyError, match=r"mine\.ipynb"):
            other.client.request("interrupt_request", {"parent": None})
        assert other.client.request("interrupt_request", {"parent": held})["stopped"] == ""
        assert hub.boards["kitchen"].interrupts == 0
        assert other.client.request("interrupt_request", {"force": True})["stopped"] == "mine.ipynb"
        assert mine.until("execute_reply", held)[-1][1]["ename"] == "KeyboardInterrupt"


def test_a_cell_too_large_for_the_board_is_refused_in_words(notebook):
    reply = notebook.run("x" * 70_000)[-1][1]
    assert reply["ename"] == "UsageError"
    assert "70,000" in reply["evalue"]


def test_a_board_that_comes_back_with_a_cell_running_is_not_free(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    board = hub.boards["kitchen"]
    board.gone(BoardGoneError("The board went away."))
    notebook.until("execute_reply", held)
    board.ready(resumed=True, cell_parent=board.running)
    waiting = notebook.send("print after")
    assert notebook.next()["content"]["execution_state"] == "queued"
    board.finish()
    assert notebook.until("execute_reply", waiting)[-1][1] == {"status": "ok"}  # and no second reply for the first


def test_a_cell_left_by_an_earlier_hub_is_waited_for_and_can_be_interrupted(hub, notebook):
    board = hub.boards["kitchen"]
    board.running = 777
    board.ready(cell_parent=777)
    waiting = notebook.send("print mine")
    assert notebook.next()["content"] == {"execution_state": "queued", "holder": "an earlier session", "left": True}
    notebook.client.request("interrupt_request", {"parent": waiting + 1000})
    notebook.client.request("interrupt_request", {"parent": None})
    assert notebook.until("execute_reply", waiting)[-1][1] == {"status": "aborted"}
    wait_until(lambda: board.interrupts == 1)
    assert notebook.run("print free")[-1][1] == {"status": "ok"}


def test_who_waits_is_told_when_the_holder_of_the_board_has_left(hub, notebook):
    with Notebook(label="closed.ipynb") as leaving:
        leaving.until("status", leaving.send("hold"))
        notebook.send("print mine")
        assert notebook.next()["content"] == {"execution_state": "queued", "holder": "closed.ipynb"}
    assert notebook.next()["content"] == {"execution_state": "queued", "holder": "closed.ipynb", "left": True}


def test_a_client_that_leaves_does_not_stop_its_cell(hub, notebook):
    with Notebook(label="closed.ipynb") as leaving:
        leaving.until("status", leaving.send("hold"))
        leaving.send("print never")
        leaving.next()
    wait_until(lambda: len(hub.hub.boards.clients) == 1)
    running = notebook.client.request("boards_request")["boards"][0]["running"]
    assert running["client"] == "closed.ipynb"
    waiting = notebook.send("print mine")
    notebook.next()
    hub.boards["kitchen"].finish()
    notebook.until("execute_reply", waiting)
    assert [content for _, _, content in hub.boards["kitchen"].sent] == [b"hold", b"print mine"]


def test_a_cell_that_asks_nobody_is_interrupted(hub, notebook):
    with Notebook() as leaving:
        leaving.until("input_request", leaving.send("ask anybody there?"))
    wait_until(lambda: hub.boards["kitchen"].interrupts == 1)
    assert notebook.run("print free")[-1][1] == {"status": "ok"}


def trace(*names):
    return "trace " + json.dumps(["Traceback:", *(f'  File "<cell {name}>", line 1, in read' for name in names), "ValueError"])


def cells_of(notebook, code, key=None):
    request = notebook.client.send("execute_request", {"code": code, "key": key})
    return notebook.until("execute_reply", request)[-1][1].get("cells")


def test_an_error_tells_whose_cells_its_frames_are(hub, notebook):
    with Notebook(label="the notebook x") as other:
        cells_of(other, "print def read(): pass", 7)
        cells_of(notebook, "print def read(): 1", 7)
        assert cells_of(notebook, trace("b", "c")) == [[{"label": "the notebook x"}], [{"key": 7}]]
        board = hub.boards["kitchen"]
        cells = [parent for type, parent, _ in board.sent if type == wire.EXECUTE_REQUEST]
        assert [parent % wire.SLOTS for parent in cells] == [1, 2, 0]
        board.boot()
        assert cells_of(notebook, trace("b")) == [[]]


def test_a_thread_that_prints_a_traceback_tells_whose_cells_its_frames_are(hub, notebook):
    cells_of(notebook, "print def read(): 1", 7)
    # The hub asks the board whether another one has had it.
    wait_until(lambda: cells_of(notebook, trace("b")) == [[{"key": 7}]])
    board = hub.boards["kitchen"]
    request = notebook.send("hold")
    notebook.until("status", request)
    board.say(wire.STREAM, b'  File "<cell b>", li')
    board.say(wire.STREAM, b"ne 1, in read\n")
    board.finish()
    streams = [content for type, content in notebook.until("execute_reply", request) if type == "stream"]
    assert [content["cells"] for content in streams if "cells" in content] == [[[{"key": 7}]]]


def test_on_a_board_that_another_hub_has_had_nothing_is_certain(hub, monkeypatch):
    monkeypatch.setattr(ScriptedBoard, "sessions", 2, raising=False)
    with Notebook(label="me") as notebook:
        cells_of(notebook, "print def read(): 1", 7)
        assert cells_of(notebook, trace("b")) == [[{"key": 7}, {}]]


# A full memory


def _failing(hub, notebook, reply):
    request = notebook.send("hold")
    board = hub.boards["kitchen"]
    wait_until(lambda: board.running)
    board.finish(reply)
    return notebook.until("execute_reply", request)[-1][1]


def test_a_board_without_the_memory_to_say_why_is_spoken_for(hub, notebook):
    error = _failing(hub, notebook, {"status": "error"})
    assert error["ename"] == "MemoryError"
    assert "kitchen's memory is full" in error["evalue"] and "%ucore reset" in error["evalue"]


def test_a_cell_for_which_there_was_no_memory_says_what_to_do(hub, notebook):
    last = "MemoryError: memory allocation failed, allocating 1024 bytes"
    reply = {
        "status": "error",
        "ename": "MemoryError",
        "evalue": last[13:],
        "traceback": ["Traceback (most recent call last):", last],
    }
    error = _failing(hub, notebook, reply)
    assert error["evalue"].startswith(last[13:]) and "%ucore reset" in error["evalue"]
    assert error["traceback"] == [reply["traceback"][0], f"MemoryError: {error['evalue']}"]


def test_a_cell_that_ran_out_of_memory_in_a_line_of_its_own_is_passed_on_as_it_is(hub, notebook):
    reply = {
        "status": "error",
        "ename": "MemoryError",
        "evalue": "memory allocation failed",
        "traceback": [
            "Traceback (most recent call last):",
            '  File "<cell>", line 1, in <module>',
            "MemoryError: memory allocation failed",
        ],
    }
    assert _failing(hub, notebook, reply) == {**reply, "cells": []}


def test_the_cell_after_says_that_the_board_dropped_the_variables(hub, notebook):
    request = notebook.send("hold")
    board = hub.boards["kitchen"]
    wait_until(lambda: board.running)
    board.say(wire.STATUS, b"dropped")
    board.finish()
    said = [content for type, content in notebook.until("execute_reply", request) if type == "stream"]
    assert [content["name"] for content in said] == ["stderr"]
    assert "kitchen was full" in said[0]["text"] and "dropped the variables" in said[0]["text"]


def test_a_board_that_began_afresh_because_its_memory_was_full_says_why(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)  # a message ends what was said outside of messages before it
    board = hub.boards["kitchen"]
    for text in ("MemoryError: memory allocation failed, allocating 300 bytes\n", "a chip's boot text\n"):
        board.tell(session.Console(text))
    board.boot()
    error = notebook.until("execute_reply", request)[-1][1]
    assert error["ename"] == "BoardRestartedError" and "its memory was full" in error["evalue"]
    assert notebook.run("print 1")[-1][1]["status"] == "ok"
    notebook.until("stream", notebook.send("print 2"))


def test_between_two_cells_the_one_before_says_why_the_board_began_afresh(hub, notebook):
    request = notebook.send("print 1")
    notebook.until("execute_reply", request)
    board = hub.boards["kitchen"]
    board.tell(session.Console("MemoryError: \n"))
    board.boot()
    assert "MemoryError" in notebook.until("stream", request)[-1][1]["text"]
    said = notebook.until("stream", request)[-1][1]
    assert said["name"] == "stderr" and "its memory was full" in said["text"]


def test_a_memory_error_of_long_ago_is_not_why_a_board_restarts(hub, notebook):
    board = hub.boards["kitchen"]
    board.tell(session.Console("MemoryError: in a thread\n"))
    notebook.run("print 1")
    request = notebook.send("hold")
    wait_until(lambda: board.running)
    board.boot()
    assert "memory" not in notebook.until("execute_reply", request)[-1][1]["evalue"].replace("remembered", "")
