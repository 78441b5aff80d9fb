"""What `%ucore` asks of the switchboard: one answer to every question, whatever happens to hub, board and Python."""

import pytest
from jupyter_client.session import Session

from ukernel.errors import BoardNotFoundError, HubUnreachableError
from ukernel.kernel.history import CellHistory
from ukernel.kernel.magicmessages import BOARD_INFO, EXECUTE, HUB, USE_BOARD
from ukernel.kernel.magicrequests import MagicRequests
from ukernel.kernel.messages import Message


class Bench:
    """Stands where the kernel's context and its connections stand; the test plays the hub."""

    def __init__(self, error=None):
        self.frontend = self.subkernel = self.board_connections = self.default = self
        self.history = CellHistory()
        self.error = error
        self.board = {"name": "kitchen", "port": "p", "facts": {}}
        self.notice = ""
        self.sent = []
        self.published = []
        self.answers = []
        self.receive = None
        self.used = []
        self.attached = True
        self.magic_requests = MagicRequests(self)

    def when_ready(self, callback):
        self.callback = callback
        if self.attached:
            callback(self.error)

    def use(self, board, done):
        self.used.append(board)
        done(self.error)

    def send(self, msg_type, content, receive=None):
        if self.error:
            raise self.error
        self.sent.append((msg_type, content))
        self.receive = receive or self.receive
        return len(self.sent)

    def take_notice(self):
        notice, self.notice = self.notice, ""
        return notice

    def publish(self, msg_type, content, parent):
        assert b"host cell" in parent
        self.published.append((msg_type, content))

    def answer(self, question, content):
        self.answers.append(content)

    def ask(self, msg_type, **content):
        session = Session(key=b"k")
        parent = session.msg_header("execute_request") | {"msg_id": "host cell"}
        self.magic_requests.start(Message(session.serialize(session.msg(msg_type, content, parent={"header": parent}))))
        return self.answers[-1] if self.answers else None


def test_a_small_cell_runs_and_its_text_is_the_answer():
    bench = Bench()
    bench.ask(EXECUTE, code="\nx")
    assert bench.sent == [("execute_request", {"code": "\nx"})]
    bench.receive("status", {"execution_state": "busy"})
    bench.receive("stream", {"name": "stdout", "text": "printed"})
    bench.receive("execute_result", {"data": {"text/plain": "'42'"}})
    bench.receive("execute_reply", {"status": "ok"})
    assert bench.published == [("stream", {"name": "stdout", "text": "printed"})]
    assert bench.answers == [{"text": "'42'"}]
    bench.receive("stream", {"name": "stdout", "text": "later, by a thread"})
    assert len(bench.published) == 2


@pytest.mark.parametrize(
    ("reply", "ename", "word"),
    [
        ({"status": "error", "ename": "NameError", "evalue": "no x", "traceback": ["…"]}, "BoardError", "NameError: no x"),
        ({"status": "error", "ename": "MemoryError", "evalue": "", "traceback": ["…"]}, "BoardError", "MemoryError"),
        ({"status": "error", "ename": "BoardGoneError", "evalue": "It went.", "traceback": []}, "BoardGoneError", "It went."),
        ({"status": "aborted"}, "KeyboardInterrupt", ""),
    ],
)
def test_what_goes_wrong_is_the_answer(reply, ename, word):
    bench = Bench()
    bench.ask(EXECUTE, code="x")
    bench.receive("execute_reply", reply)
    bench.receive("execute_reply", {"status": "ok"})  # a second end changes nothing
    (answer,) = bench.answers
    assert (answer["status"], answer["ename"]) == ("error", ename)
    assert word in answer["evalue"]


def test_a_cell_that_asks_for_input_is_interrupted():
    bench = Bench()
    bench.ask(EXECUTE, code="input()")
    bench.receive("input_request", {"prompt": "?"})
    assert bench.sent[-1] == ("interrupt_request", {"parent": 1})


def test_an_interrupt_reaches_only_what_is_under_way():
    bench = Bench()
    bench.ask(EXECUTE, code="x")
    bench.magic_requests.interrupt()
    assert bench.sent[-1] == ("interrupt_request", {"parent": 1})
    bench.receive("execute_reply", {"status": "ok"})
    bench.magic_requests.interrupt()
    assert len(bench.sent) == 2


def test_an_interrupted_cell_is_an_interrupt_whatever_the_board_says():
    bench = Bench()
    bench.ask(EXECUTE, code="x")
    bench.magic_requests.interrupt()
    bench.receive("execute_reply", {"status": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": ["…"]})
    assert [answer["ename"] for answer in bench.answers] == ["KeyboardInterrupt"]


def test_what_is_interrupted_before_the_board_is_there_never_runs():
    bench = Bench()
    bench.attached = False
    bench.ask(EXECUTE, code="x")
    bench.magic_requests.interrupt()
    bench.callback(None)
    assert bench.sent == []
    assert [answer["ename"] for answer in bench.answers] == ["KeyboardInterrupt"]


def test_a_cell_of_a_python_that_died_is_stopped():
    bench = Bench()
    bench.ask(EXECUTE, code="x")
    bench.magic_requests.forget()
    assert bench.sent[-1] == ("interrupt_request", {"parent": 1})
    bench.magic_requests.interrupt()
    assert len(bench.sent) == 2


def test_who_waits_is_told_for_whom():
    bench = Bench()
    bench.ask(EXECUTE, code="x")
    bench.receive("status", {"execution_state": "queued", "holder": "experiment.ipynb"})
    assert "experiment.ipynb" in bench.published[0][1]["text"]


def test_only_what_the_magic_needs_is_passed_on_to_the_hub():
    bench = Bench()
    bench.ask(HUB, type="reset_request", content={"force": True})
    assert bench.sent == [("reset_request", {"force": True})]
    bench.receive("reset_reply", {"status": "ok", "board": "kitchen"})
    assert bench.answers == [{"status": "ok", "board": "kitchen"}]
    for msg_type, content in ((HUB, {"type": "stop_request", "content": {}}), ("dance_request", {}), ("", {})):
        assert bench.ask(msg_type, **content)["ename"] == "UsageError"
    assert len(bench.sent) == 1


def test_the_notebooks_board_is_told_with_what_must_be_told():
    bench = Bench()
    bench.notice = "The board was left alone."
    assert bench.ask(BOARD_INFO, wait=True)["name"] == "kitchen"
    assert bench.published == [("stream", {"name": "stderr", "text": "The board was left alone.\n"})]
    assert bench.ask(USE_BOARD, board="other")["port"] == "p"
    assert bench.used == ["other"]


@pytest.mark.parametrize("error", [BoardNotFoundError("There is none."), HubUnreachableError("It is gone.")])
def test_without_a_board_every_request_says_why(error):
    bench = Bench(error)
    for msg_type, content in (
        (EXECUTE, {"code": "x"}),
        (USE_BOARD, {"board": "b"}),
        (HUB, {"type": "reset_request", "content": {}}),
    ):
        answer = bench.ask(msg_type, **content)
        assert (answer["ename"], answer["evalue"]) == (type(error).__name__, str(error))
    assert bench.ask(BOARD_INFO, wait=True)["error"] == str(error)
    bench.board = {}
    assert bench.ask(BOARD_INFO, wait=False) == {"name": "", "port": "", "facts": {}}
