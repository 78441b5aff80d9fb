"""The boards of a hub: shared by who attaches, let go when nobody uses them, left as they were or reset for a kernel that restarts."""

import threading

from hubnotebook import KITCHEN, Notebook
from patience import PATIENCE_S, wait_until
from scripted import ScriptedBoard, running_hub

from ukernel.client import connection as client
from ukernel.errors import (
    BoardGoneError,
)
from ukernel.ports import discovery, virtual


def test_a_board_that_is_being_opened_is_kept_for_who_waits_for_it(monkeypatch):
    monkeypatch.setattr(ScriptedBoard, "start", lambda board: None)
    with running_hub(linger_s=0.01) as thread, client.connect(start=False) as first:
        asked = first.send("attach_request", {"board": KITCHEN, "client": "first"})
        wait_until(lambda: "kitchen" in thread.boards)
        with client.connect(start=False) as second:
            second.send("attach_request", {"board": KITCHEN, "client": "second"})
        wait_until(lambda: len(thread.hub.boards.clients) == 1)  # the second has lost its patience
        assert not thread.boards["kitchen"].closed.wait(0.1)
        thread.boards["kitchen"].ready()
        reply = first.receive(PATIENCE_S)
        assert (reply["parent"], reply["content"]["status"]) == (asked, "ok")
        assert not thread.boards["kitchen"].closed.is_set()


def test_two_clients_that_attach_at_once_share_one_board(hub):
    with client.connect(start=False) as first, client.connect(start=False) as second:
        first.send("attach_request", {"board": KITCHEN, "client": "first"})
        second.send("attach_request", {"board": KITCHEN, "client": "second"})
        for one in (first, second):
            assert one.receive(PATIENCE_S)["content"]["status"] == "ok"
        assert list(hub.hub.boards.by_port) == [KITCHEN]


def test_a_board_that_is_just_being_let_go_is_opened_again_only_when_it_is_closed(hub):
    with Notebook():
        old = hub.hub.boards.by_port[KITCHEN]
        closing, may_close = threading.Event(), threading.Event()
        close = old.driver.close
        old.driver.close = lambda: (closing.set(), may_close.wait(PATIENCE_S), close())
    hub.call(hub.hub.boards.drop, old)
    assert closing.wait(PATIENCE_S)
    with client.connect(start=False) as again:
        again.send("attach_request", {"board": KITCHEN, "client": "again"})
        assert again.receive(0.1) is None
        assert hub.boards["kitchen"] is old.driver
        may_close.set()
        assert again.receive(PATIENCE_S)["content"]["status"] == "ok"
        fresh = hub.hub.boards.by_port[KITCHEN]
        hub.call(hub.hub.boards.drop, old)  # said again, it is not for its successor
        assert hub.hub.boards.by_port[KITCHEN] is fresh and not fresh.driver.closed.is_set()


def test_the_pipes_of_a_board_that_is_let_go_have_ended():
    with running_hub(linger_s=0.05) as thread, client.connect(start=False) as watcher:
        with Notebook():
            board = thread.boards["kitchen"]
            board.open("adc")
            board.gone(BoardGoneError("unplugged"))
        assert board.closed.wait(PATIENCE_S)
        wait_until(lambda: not watcher.request("pipes_request")["pipes"][0]["open"])
        assert watcher.request("pipes_request")["pipes"][0]["ended"] == "board gone"
        assert not thread.hub.boards.replay_buffers._open


def test_boards_in_use_and_free_boards_are_listed(hub, notebook, monkeypatch):
    free = discovery.PortInfo("/dev/ttyX0", "rp2-123456", "rp2", "usb_cdc", "Pico", "E123456")
    monkeypatch.setattr(discovery, "find_boards", lambda: [free])
    monkeypatch.setattr(virtual, "running", list)  # those of other tests
    used, idle = notebook.client.request("boards_request")["boards"]
    assert (used["name"], used["state"], used["clients"]) == ("kitchen", "ready", ["a notebook"])
    assert idle == {"name": "rp2-123456", "port": "/dev/ttyX0", "state": "free", "description": "Pico"}


def test_a_kernel_that_restarts_alone_finds_a_fresh_board(hub):
    with Notebook(kernel="k", instance="1") as before:
        before.until("status", before.send("hold"))
        before.client.request("restart_request")
    wait_until(lambda: hub.boards["kitchen"].resets == 1)
    with Notebook(kernel="k", instance="2") as after:
        assert after.notice == ""
        assert after.run("print fresh")[-1][1] == {"status": "ok"}


def test_a_kernel_that_restarts_among_others_is_told_what_it_left_alone(hub, notebook):
    with Notebook(kernel="k", instance="1") as before:
        held = before.send("hold")
        before.until("status", held)
        before.client.request("restart_request")
        assert before.until("execute_reply", held)[-1][1]["ename"] == "KeyboardInterrupt"
    with Notebook(kernel="k", instance="2") as after:
        assert "a notebook" in after.notice and "not reset" in after.notice
    with Notebook(kernel="k", instance="2") as again:
        assert again.notice == ""
    assert hub.boards["kitchen"].resets == 0


def test_a_reader_of_a_pipe_counts_as_a_user(hub):
    with Notebook(kernel="k", instance="1") as before:
        hub.boards["kitchen"].open("adc")
        with client.open_reader("adc"):
            before.client.request("restart_request")

            wait_until(lambda: hub.hub.boards.restart_warnings._kept)
    with Notebook(kernel="k", instance="2") as after:
        assert "'adc'" in after.notice


def test_a_kernel_that_ended_abruptly_is_told_by_the_next_one_only(hub, notebook):
    with Notebook(kernel="k", instance="1"):
        pass
    wait_until(lambda: len(hub.hub.boards.clients) == 1)
    with Notebook(kernel="k", instance="1") as same:
        assert same.notice == ""
    wait_until(lambda: len(hub.hub.boards.clients) == 1)
    with Notebook(kernel="k", instance="2") as after:
        assert "abrupt" in after.notice
        after.client.send("leave_request", {})
    wait_until(lambda: len(hub.hub.boards.clients) == 1)
    with Notebook(kernel="k", instance="3") as last:
        assert last.notice == ""


def test_nothing_is_told_of_a_board_that_has_restarted_since(hub, notebook):
    with Notebook(kernel="k", instance="1"):
        pass
    wait_until(lambda: len(hub.hub.boards.clients) == 1)
    hub.boards["kitchen"].facts = {"boot": 2}
    with Notebook(kernel="k", instance="2") as after:
        assert after.notice == ""
