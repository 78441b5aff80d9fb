"""The channel that carries `%ucore`'s requests as well as what the user types: each gets its own, whoever asks beside it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import zmq
from jupyter_client.session import Session

from ukernel.errors import BoardBusyError
from ukernel.kernel.magicmessages import BOARD_INFO, EXECUTE, INSPECT
from ukernel.kernel.stdinchannel import StdinChannel

PATIENCE_S = 30.0


class Bench:
    """Stands where ipykernel stands, and at the other end of its socket; the test is the switchboard."""

    def __init__(self, context):
        self.session = Session(key=b"k")
        self.stdin_socket, self.switchboard = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self.stdin_socket.bind("inproc://stdin")
        self.switchboard.connect("inproc://stdin")
        self._parent_ident = {"shell": b"a front end"}
        self.threads = ThreadPoolExecutor()
        self.channel = StdinChannel(self)

    def get_parent(self, channel):
        assert channel == "shell"
        return {"header": {"msg_id": "the cell", "msg_type": "execute_request", "session": "s"}}

    def begin(self, action, *arguments, **options):
        """Have a thread ask; return what will be its answer, and the message that the switchboard has got."""
        future = self.threads.submit(action, *arguments, **options)
        assert self.switchboard.poll(PATIENCE_S * 1000)
        idents, message = self.session.recv(self.switchboard)
        assert idents == [b"a front end"] and message["parent_header"]["msg_id"] == "the cell"
        return future, message

    def ask(self, msg_type, **content):
        return self.begin(self.channel.ask, msg_type, **content)

    def ask_user(self, prompt, password=False):
        return self.begin(self.channel.ask_user, prompt, b"a front end", self.get_parent("shell"), password)

    def answer(self, message, **content):
        msg_type = message["msg_type"].removesuffix("_request") + "_reply"
        self.session.send(self.switchboard, msg_type, content, message)


@pytest.fixture
def bench():
    context = zmq.Context()
    bench = Bench(context)
    yield bench
    bench.threads.shutdown()
    context.destroy(linger=0)


def test_a_request_goes_out_under_its_type_and_its_answer_comes_back(bench):
    future, message = bench.ask(EXECUTE, code="x")
    assert (message["msg_type"], message["content"]) == ("execute_request", {"code": "x"})
    bench.answer(message, text="42")
    assert future.result(PATIENCE_S) == {"text": "42"}


@pytest.mark.parametrize(("ename", "error"), [("BoardBusyError", BoardBusyError), ("KeyboardInterrupt", KeyboardInterrupt)])
def test_an_answer_that_is_an_error_is_raised(bench, ename, error):
    future, message = bench.ask(BOARD_INFO, wait=True)
    bench.answer(message, status="error", ename=ename, evalue="It is busy.")
    assert isinstance(future.exception(PATIENCE_S), error)


def test_threads_get_their_own_answers_in_any_order(bench):
    first, one = bench.ask(EXECUTE, code="1")
    second, two = bench.ask(EXECUTE, code="2")
    bench.answer(two, text="second")
    assert second.result(PATIENCE_S) == {"text": "second"}
    assert not first.done()
    bench.answer(one, text="first")
    assert first.result(PATIENCE_S) == {"text": "first"}


def test_who_waits_for_the_user_keeps_an_answer_for_who_asked_the_switchboard(bench):
    typed, question = bench.ask_user("Name? ")
    assert question["content"] == {"prompt": "Name? ", "password": False}
    asked, request = bench.ask(EXECUTE, code="x")
    bench.answer(question, value="Ada")
    bench.answer(request, text="42")
    assert (typed.result(PATIENCE_S), asked.result(PATIENCE_S)) == ("Ada", {"text": "42"})


def test_what_was_typed_for_an_interrupted_question_answers_no_later_one(bench):
    bench.answer({"msg_type": "input_request", "header": {}}, value="too late")
    typed, question = bench.ask_user("Password: ", password=True)
    bench.answer(question, value="secret")
    assert typed.result(PATIENCE_S) == "secret"


def test_an_answer_for_which_nobody_waits_changes_nothing(bench):
    bench.answer({"msg_type": EXECUTE, "header": {"msg_id": "forgotten"}}, text="old")
    future, message = bench.ask(EXECUTE, code="x")
    bench.answer(message, text="new")
    assert future.result(PATIENCE_S) == {"text": "new"}


def test_the_end_of_input_is_an_error_as_python_has_it(bench):
    typed, question = bench.ask_user("")
    bench.answer(question, value="\x04")
    assert isinstance(typed.exception(PATIENCE_S), EOFError)


@pytest.mark.parametrize(
    ("answer", "found"),
    [({"type": "Pin"}, "Pin"), ({"type": None}, ""), ({}, ""), ({"status": "error", "ename": "BoardGoneError"}, "")],
)
def test_the_type_of_a_name_is_empty_where_it_cannot_be_told(bench, answer, found):
    future, message = bench.begin(bench.channel.type_of, "led")
    assert (message["msg_type"], message["content"]) == (INSPECT, {"name": "led"})
    bench.answer(message, **answer)
    assert future.result(PATIENCE_S) == found
