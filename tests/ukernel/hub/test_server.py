"""The hub: cells in turn, each client hears its own, and nothing waits for ever."""

import json
import threading

import pytest
from scripted import PATIENCE_S, ScriptedBoard, running_hub, wait_until

from ucore import wire
from ukernel.client import connection as client
from ukernel.errors import (
    BoardBusyError,
    BoardError,
    BoardGoneError,
    BoardNotFoundError,
    BoardVersionError,
    HubError,
    HubUnreachableError,
    NoAnswerError,
    UsageError,
)
from ukernel.hub import connection, eventqueue, sharedboard
from ukernel.hub.server import FIRST_CLIENT_S
from ukernel.link import session
from ukernel.ports import discovery, virtual
from ukernel.protocol import statefile

KITCHEN = "scripted://kitchen"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))


@pytest.fixture
def hub():
    with running_hub() as thread:
        yield thread


class Notebook:
    """A client attached to a board, and what it has heard."""

    def __init__(self, board=KITCHEN, label="a notebook", **kernel):
        self.client = client.connect(start=False)
        answer = self.client.request("attach_request", {"board": board, "client": label, **kernel})
        self.board, self.notice = answer["board"], answer["notice"]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.client.close()

    def send(self, code):
        return self.client.send("execute_request", {"code": code, "store": True})

    def next(self):
        message = self.client.receive(PATIENCE_S)
        assert message is not None, "nothing came"
        return message

    def until(self, type, parent):
        """All messages up to one of this type, as (type, content) pairs; all must belong to `parent`."""
        heard = []
        while not heard or heard[-1][0] != type:
            message = self.next()
            assert message["parent"] == parent
            heard.append((message["type"], message["content"]))
        return heard

    def run(self, code):
        return self.until("execute_reply", self.send(code))


@pytest.fixture
def notebook(hub):
    with Notebook() as attached:
        yield attached


def test_attaching_tells_which_board_it_is(hub):
    with Notebook() as notebook:
        assert notebook.board["name"] == "kitchen"
        assert notebook.board["port"] == KITCHEN
        assert notebook.board["facts"]["platform"] == "scripted"


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


def test_completion_asks_the_board_for_the_name_at_the_cursor(hub, notebook):
    code = "import time\ntime.sl\nx"
    answer = notebook.client.request("complete_request", {"code": code, "cursor_pos": 19})
    assert hub.boards["kitchen"].sent[-1][2] == b"time.sl"
    assert answer["matches"] == ["sleep", "sleep_ms"]
    assert (answer["cursor_start"], answer["cursor_end"]) == (17, 19)


def test_inspection_asks_for_the_whole_name(hub, notebook):
    answer = notebook.client.request("inspect_request", {"code": "pin.value", "cursor_pos": 5})
    assert hub.boards["kitchen"].sent[-1][2] == b"pin.value"
    assert answer["found"]
    assert "42" in answer["data"]["text/plain"]


def test_completion_does_not_wait_for_a_running_cell(hub, notebook):
    notebook.until("status", notebook.send("hold"))
    answer = notebook.client.request("complete_request", {"code": "ti", "cursor_pos": 2})
    assert (answer["status"], answer["matches"]) == ("ok", [])


def test_a_cell_too_large_for_the_board_is_refused_in_words(notebook):
    reply = notebook.run("x" * 70_000)[-1][1]
    assert reply["ename"] == "UsageError"
    assert "70,000" in reply["evalue"]


def test_a_board_that_goes_takes_its_cells_with_it(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    waiting = notebook.send("print never")
    assert notebook.next()["content"]["execution_state"] == "queued"
    hub.boards["kitchen"].gone(BoardGoneError("The board went away."))
    reply = notebook.until("execute_reply", held)[-1][1]
    assert (reply["ename"], reply["evalue"]) == ("BoardGoneError", "The board went away.")
    assert notebook.until("execute_reply", waiting)[-1][1]["ename"] == "BoardGoneError"
    assert notebook.run("print now")[-1][1]["ename"] == "BoardGoneError"


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


def test_a_restarted_board_ends_its_cell_with_that_reason(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    hub.boards["kitchen"].ready(restarted=True)
    assert notebook.until("execute_reply", held)[-1][1]["ename"] == "BoardRestartedError"
    assert notebook.run("print fresh")[-1][1] == {"status": "ok"}


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


def test_a_board_that_cannot_be_opened_is_an_error_for_who_asked(hub):
    with client.connect(start=False) as asking, pytest.raises(BoardNotFoundError, match="no port"):
        asking.request("attach_request", {"board": "scripted://missing"})
    wait_until(lambda: not hub.hub.boards.by_port)


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


def test_a_board_that_turns_out_to_be_unusable_says_why_from_then_on(hub, notebook):
    held = notebook.send("hold")
    notebook.until("status", held)
    refusing = hub.boards["kitchen"]
    refusing.tell(session.Refused(BoardVersionError("It speaks version 7.")))
    assert notebook.until("execute_reply", held)[-1][1]["ename"] == "BoardVersionError"
    assert notebook.until("detached", 0)[-1][1]["ename"] == "BoardVersionError"
    assert notebook.run("print again")[-1][1]["evalue"] == "It speaks version 7."
    assert refusing.closed.wait(PATIENCE_S)
    with Notebook() as fresh:
        assert fresh.run("print once more")[-1][1] == {"status": "ok"}


def test_a_client_without_a_board_is_told_so(hub):
    with client.connect(start=False) as alone:
        request = alone.send("execute_request", {"code": "1"})
        message = alone.receive(PATIENCE_S)
        assert (message["type"], message["parent"]) == ("execute_reply", request)
        with pytest.raises(BoardError, match="attached"):
            alone.request("complete_request", {"code": "1", "cursor_pos": 1})


def test_nonsense_from_a_client_or_a_board_harms_nobody(hub, notebook):
    with client.connect(start=False) as odd:
        odd._socket.sendall(b'not json\n[]\n{"type":1}\n{"type":"execute_request","id":1,"content":[1]}\n')
        with pytest.raises(UsageError, match="dance_request"):
            odd.request("dance_request")
    with pytest.raises(UsageError, match="code"):
        notebook.client.request("complete_request")
    board = hub.boards["kitchen"]
    request = notebook.send("hold")
    notebook.until("status", request)
    board.say(0x7F, b"a type of the future")
    board.say(wire.EXECUTE_RESULT, b"nonsense")
    board.say(wire.INPUT_REQUEST, b"[1]")
    board.tell("no event at all")
    board.write(b"1234", 4, 0, id=99)
    board.say(wire.EXECUTE_REPLY, b"not json either")
    assert notebook.until("execute_reply", request)[-1][1]["ename"] == "BoardError"
    assert notebook.run("print on")[-1][1] == {"status": "ok"}


def test_a_client_that_does_not_read_loses_output_not_replies(hub, notebook, monkeypatch):
    monkeypatch.setattr(connection, "MAX_PENDING_BYTES", 100_000)
    request = notebook.send("hold")
    notebook.until("status", request)
    board = hub.boards["kitchen"]
    text = b"x" * 60_000
    mine = next(iter(hub.hub.boards.clients))
    written = 0
    while not hub.call(lambda: mine._connection._dropped):
        board.say(wire.STREAM, text)
        written += len(text)
        assert written < 1 << 28
    board.finish()
    heard = notebook.until("execute_reply", request)
    assert heard[-1][1] == {"status": "ok"}
    assert sum(len(content.get("text", "")) for _, content in heard) < written


def test_an_unused_board_is_given_back_and_an_unused_hub_leaves():
    with running_hub(linger_s=0.05) as thread:
        with Notebook() as notebook:
            notebook.run("print hello")
        assert thread.boards["kitchen"].closed.wait(PATIENCE_S)
        thread.join()
        assert statefile.read() is None
        assert not thread.state_file.path.exists()


def test_a_hub_that_has_just_been_started_waits_for_its_first_client_whatever_the_linger():
    with running_hub(linger_s=0.0) as thread:
        left_s = thread.call(lambda: thread.hub._leave_timer.when() - thread.hub._loop.time())
        assert left_s > FIRST_CLIENT_S / 2


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


def test_a_hub_stays_until_its_boards_are_closed():
    with running_hub(linger_s=0.02) as thread:
        with Notebook():
            board, may_close = thread.boards["kitchen"], threading.Event()
            close = board.close
            board.close = lambda: (may_close.wait(PATIENCE_S), close())
        wait_until(lambda: thread.hub.boards.closing)
        assert thread.call(lambda: (thread.hub.boards.update_timers(), thread.hub._leave_timer)[1]) is None
        may_close.set()
        thread.join()


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


def test_a_hub_stays_for_a_running_cell_and_for_an_open_pipe():
    with running_hub(linger_s=0.05) as thread:
        with Notebook() as notebook:
            notebook.until("status", notebook.send("hold"))
            thread.boards["kitchen"].open("adc")
        wait_until(lambda: not thread.hub.boards.clients)
        thread.boards["kitchen"].finish()
        wait_until(lambda: thread.hub.boards.by_port[KITCHEN].running is None)
        assert not thread.boards["kitchen"].closed.is_set()
        thread.boards["kitchen"].close_pipe(0)
        thread.join()


def test_stop_is_for_anybody_but_a_newer_build_asks_first(hub, notebook):
    with client.connect(start=False) as other:
        with pytest.raises(HubError, match="a notebook"):
            other.request("stop_request", {"only_if_idle": True})
        assert other.request("stop_request") == {"status": "ok"}
    with pytest.raises(HubUnreachableError):
        while True:
            notebook.next()
    hub.join()


def test_a_stopping_hub_fails_the_running_cell(hub, notebook):
    request = notebook.send("hold")
    notebook.until("status", request)
    hub.stop()
    reply = notebook.until("execute_reply", request)[-1][1]
    assert reply["ename"] == "BoardGoneError"
    assert "hub stopped" in reply["evalue"]


def test_a_silent_board_is_an_error_in_bounded_time(hub, monkeypatch):
    monkeypatch.setattr(sharedboard, "ATTACH_TIMEOUT_S", 0.05)
    monkeypatch.setattr(ScriptedBoard, "start", lambda board: None)
    with client.connect(start=False) as asking, pytest.raises(NoAnswerError, match="reset button"):
        asking.request("attach_request", {"board": KITCHEN})


def test_boards_in_use_and_free_boards_are_listed(hub, notebook, monkeypatch):
    free = discovery.PortInfo("/dev/ttyX0", "rp2-123456", "rp2", "usb_cdc", "Pico", "E123456")
    monkeypatch.setattr(discovery, "find_boards", lambda: [free])
    monkeypatch.setattr(virtual, "running", list)  # those of other tests
    used, idle = notebook.client.request("boards_request")["boards"]
    assert (used["name"], used["state"], used["clients"]) == ("kitchen", "ready", ["a notebook"])
    assert idle == {"name": "rp2-123456", "port": "/dev/ttyX0", "state": "free", "description": "Pico"}


def test_the_boards_thread_is_held_back_while_the_hub_is_busy(hub, notebook, monkeypatch):
    monkeypatch.setattr(eventqueue, "MAX_BYTES", 10_000)
    board = hub.boards["kitchen"]
    busy, done = threading.Event(), threading.Event()
    hub.hub._loop.call_soon_threadsafe(lambda: (busy.set(), done.wait(PATIENCE_S)))
    assert busy.wait(PATIENCE_S)
    delivered = []

    def deliver():
        for number in range(200):
            board._tell(board, session.PipeBatch(1, number, 1000, bytes(1000)))
            delivered.append(number)

    board_thread = threading.Thread(target=deliver)
    board_thread.start()
    wait_until(lambda: len(delivered) >= 7)
    assert len(delivered) < 20
    done.set()
    board_thread.join(PATIENCE_S)
    assert len(delivered) == 200


def test_a_reset_gives_a_fresh_board_and_runs_what_came_meanwhile(hub, notebook):
    board = hub.boards["kitchen"]
    board.open("adc")
    board.boots = False
    reset = notebook.client.send("reset_request", {})
    wait_until(lambda: board.sent and board.sent[-1][0] == wire.SHUTDOWN_REQUEST)
    board.tell(session.Console("boot text"))
    fresh = notebook.send("print fresh")
    assert notebook.until("status", fresh) == [("status", {"execution_state": "queued", "holder": ""})]
    board.boot()
    came = [notebook.next() for _ in range(4)]
    assert [message["content"]["board"] for message in came if message["parent"] == reset] == ["kitchen"]
    assert [message["type"] for message in came if message["parent"] == fresh] == ["status", "stream", "execute_reply"]
    assert notebook.client.request("pipes_request")["pipes"][0]["open"] is False


def test_a_board_that_others_use_is_reset_by_force_only(hub):
    with Notebook(label="mine.ipynb") as mine, Notebook(label="yours.ipynb") as yours:
        held = yours.send("hold")
        yours.until("status", held)
        waiting = yours.send("print never")
        yours.next()
        with pytest.raises(BoardBusyError, match=r"yours\.ipynb"):
            mine.client.request("reset_request")
        assert mine.client.request("reset_request", {"force": True})["board"] == "kitchen"
        for request in (waiting, held):
            reply = yours.until("execute_reply", request)[-1][1]
            assert (reply["ename"], "mine.ipynb" in reply["evalue"]) == ("BoardRestartedError", True)
        assert yours.run("print on")[-1][1] == {"status": "ok"}


def test_a_board_that_does_not_reset_is_an_error_and_goes_on(hub, notebook, monkeypatch):
    monkeypatch.setattr(sharedboard, "RESET_TIMEOUT_S", 0.05)
    hub.boards["kitchen"].boots = False
    with pytest.raises(NoAnswerError):
        notebook.client.request("reset_request")
    assert notebook.run("print still the same")[-1][1] == {"status": "ok"}


def test_a_reset_of_a_board_that_goes_away_meanwhile_says_so(hub, notebook):
    board = hub.boards["kitchen"]
    board.boots = False
    reset = notebook.client.send("reset_request", {})
    wait_until(lambda: board.sent)
    board.gone(BoardGoneError("The board went away."))
    assert notebook.until("reset_reply", reset)[-1][1]["evalue"] == "The board went away."
    with pytest.raises(BoardGoneError):
        notebook.client.request("reset_request")


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


def test_replies_are_json_lines(hub):
    """The protocol as another language sees it, without the client library."""
    here = statefile.read()
    sock = client._handshake(here.host, here.port, here.token, {"role": "client"})
    with sock, sock.makefile("rwb") as lines:
        lines.write(b'{"type":"pipes_request","id":7,"content":{}}\n')
        lines.flush()
        assert json.loads(lines.readline()) == {"type": "pipes_reply", "parent": 7, "content": {"status": "ok", "pipes": []}}


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
    board = hub.boards["kitchen"]
    wait_until(lambda: board.running)
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
