"""One board cell between a hub, a sub-kernel and a front end, each of which may be early, late or gone."""

import base64
import re

import pytest
from jupyter_client.session import Session

from ukernel.boards import rewrite
from ukernel.errors import BoardNotFoundError, HubUnreachableError, UsageError
from ukernel.kernel import cellmagic
from ukernel.kernel.boardexecution import BoardExecution
from ukernel.kernel.executequeue import ExecuteQueue
from ukernel.kernel.history import CellHistory
from ukernel.kernel.hostexecution import HostExecution
from ukernel.kernel.messages import Message, MessageSigner
from ukernel.protocol import values

KEY = "a key for tests"


class RecordingFrontend:
    """Keeps what a front end would see, in order."""

    def __init__(self):
        self.seen = []
        self.asked = []
        self.iopub = self.shell = self

    def publish(self, msg_type, content, parent=b"{}"):
        self.seen.append((msg_type, content))

    def status(self, state, request):
        self.seen.append((state, request.content["code"]))

    def reply(self, request, content, *, control=False, metadata=None):
        self.seen.append(("reply", content))

    def ask(self, request, prompt, password):
        self.asked.append((prompt, password))

    def send_multipart(self, frames):
        message = Message(frames)
        self.seen.append((message.content.get("execution_state", message.type), message.content))

    @property
    def types(self):
        return [kind for kind, _ in self.seen]

    def last(self, kind):
        return [content for seen, content in self.seen if seen == kind][-1]


class ObedientConnection:
    """A hub client that does nothing by itself: the test is the board."""

    def __init__(self, ready=True):
        self.ready = ready
        self.sent = []
        self.waiting = []
        self.receive = None
        self.notice = ""

    def when_ready(self, callback):
        if self.ready:
            callback(None)
        else:
            self.waiting.append(callback)

    def forget(self, callback):
        self.waiting.remove(callback)

    def take_notice(self):
        notice, self.notice = self.notice, ""
        return notice

    def send(self, msg_type, content, receive=None):
        self.sent.append((msg_type, content))
        self.receive = receive or self.receive
        return len(self.sent)


class HangedUpConnection(ObedientConnection):
    """The hub is gone when the cell is sent."""

    def send(self, msg_type, content, receive=None):
        raise HubUnreachableError("The hub is gone.")


class RecordingSubkernel:
    """Keeps what the sub-kernel would get."""

    def __init__(self):
        self.sent = []
        self.ignored = []
        self.interrupts = 0

    def send(self, channel, message):
        self.sent.append(message)

    def ignore(self, request, *, reply, idle):
        self.ignored.append((reply, idle))

    def interrupt(self):
        self.interrupts += 1


class Bench:
    """Stands where the kernel's context stands; the test plays the sub-kernel and the board."""

    def __init__(self, connection=None):
        self.frontend = RecordingFrontend()
        self.connection = connection or ObedientConnection()
        self.history = CellHistory()
        self.input_waiter = None
        self.loop = self
        self.board_connections = self
        self.subkernel = RecordingSubkernel()
        self.timers = []
        self.signer = MessageSigner(KEY)
        self.session = Session(key=KEY.encode())
        self.queue = ExecuteQueue(self, self._make_execution)

    def _make_execution(self, request, queue):
        cell = cellmagic.parse(request.content["code"])
        return HostExecution(self, request, queue) if cell is None else BoardExecution(self, request, queue, cell)

    # what an execution asks of the loop and the board connections
    def get(self, board):
        return self.connection

    def call_later(self, seconds, action):
        self.timers.append((seconds, action))

    def drain(self, sock):
        pass

    # what a test does
    def execute(self, code, **options):
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True, **options}
        self.queue.add(Message(self.session.serialize(self.session.msg("execute_request", content))))
        return self.queue.running

    def subkernel_says(self, msg_type, content):
        message = Message(self.signer.make(msg_type, content, parent=self.subkernel.sent[-1].header_frame))
        take = {"status": "take_status", "execute_input": "take_input", "execute_reply": "take_reply"}[msg_type]
        getattr(self.queue.running, take)(message)

    def subkernel_begins(self, count=7):
        self.subkernel_says("status", {"execution_state": "busy"})
        self.subkernel_says("execute_input", {"code": "", "execution_count": count})

    def board_says(self, msg_type, **content):
        self.connection.receive(msg_type, content)


@pytest.fixture
def bench():
    return Bench()


def test_the_board_gets_the_cell_and_the_sub_kernel_the_same_request(bench):
    bench.execute("%%ucore\nx\n1 + 1")
    assert bench.connection.sent == [("execute_request", {"code": "\nx\n_ucore_show((1 + 1))", "key": 1})]
    assert bench.subkernel.sent[0].content["code"] == "%%ucore\nx\n1 + 1"


def test_what_must_be_told_comes_before_the_first_output_once(bench):
    bench.connection.notice = "The board was left alone."
    for expected in ("The board was left alone.\nout", "out"):
        bench.frontend.seen.clear()
        bench.execute("%%ucore\n1")
        bench.subkernel_begins()
        bench.board_says("stream", name="stdout", text="out")
        bench.board_says("execute_reply", status="ok")
        assert "".join(content["text"] for kind, content in bench.frontend.seen if kind == "stream") == expected


def test_a_question_mark_asks_the_board_and_pages_the_answer(bench):
    bench.execute("%%ucore\nled?")
    assert bench.connection.sent == [("inspect_request", {"code": "led", "cursor_pos": 3})]
    bench.subkernel_begins()
    bench.board_says("inspect_reply", status="ok", found=True, data={"text/plain": "a LED"}, metadata={})
    assert bench.frontend.last("reply")["payload"] == [{"source": "page", "data": {"text/plain": "a LED"}, "start": 0}]


def test_what_does_not_belong_into_a_board_cell_is_an_error_of_the_cell(bench, monkeypatch):
    def refuse(body, plain):
        raise UsageError("Line 2: not there")

    monkeypatch.setattr(rewrite, "program", refuse)
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    assert bench.frontend.last("error")["ename"] == "UsageError"


def run(bench, code, *outputs, **reply):
    """Run a cell to its end: the host's variables that it made, and the texts that were shown."""
    names = {}
    bench.subkernel.run_hidden = lambda code, callback: (exec(code, names), callback())
    bench.execute(code)
    bench.subkernel_begins()
    for kind, content in outputs:
        bench.board_says(kind, **content)
    bench.board_says("execute_reply", **{"status": "ok", **reply})
    names.pop("__builtins__", None)
    return names, "".join(content["text"] for kind, content in bench.frontend.seen if kind == "stream")


PRINTED = ("stream", {"name": "stdout", "text": "out\n"})
WARNED = ("stream", {"name": "stderr", "text": "err\n"})
RESULT = ("execute_result", {"data": {"text/plain": "42"}, "metadata": {}})
PICTURE = ("display_data", {"data": {"text/html": "<b>"}, "metadata": {"a": 1}})


def test_capture_keeps_the_outputs_of_the_board_cell_as_ipythons_does(bench):
    names, shown = run(bench, "%%capture kept\n%%ucore\n1", PRINTED, WARNED, PICTURE, RESULT)
    assert shown == "" and bench.frontend.types == ["busy", "execute_input", "reply", "idle"]
    assert list(names) == ["kept"]
    kept = names["kept"]
    assert (type(kept).__name__, kept.stdout, kept.stderr) == ("CapturedIO", "out\n", "err\n")
    assert [(one.data, one.metadata) for one in kept.outputs] == [({"text/html": "<b>"}, {"a": 1}), ({"text/plain": "42"}, {})]


def test_capture_leaves_what_it_is_told_to_leave(bench):
    names, shown = run(bench, "%%capture --no-stderr --no-display kept\n%%ucore\n1", PRINTED, WARNED, RESULT)
    assert shown == "err\n" and bench.frontend.last("execute_result")["data"] == {"text/plain": "42"}
    assert (names["kept"].stdout, names["kept"].outputs) == ("out\n", [])


def test_capture_without_a_name_is_silence(bench):
    assert run(bench, "%%capture\n%%ucore\n1", PRINTED, WARNED, RESULT) == ({}, "")
    assert bench.frontend.types == ["busy", "execute_input", "reply", "idle"]


def test_a_cell_that_fails_shows_its_error_and_keeps_what_it_printed(bench):
    names, _ = run(bench, "%%capture kept\n%%ucore\n1/0", PRINTED, status="error", ename="ValueError", evalue="")
    assert names["kept"].stdout == "out\n"
    assert bench.frontend.last("error")["ename"] == "ValueError"


def test_a_picture_that_was_cleared_is_not_kept(bench):
    names, _ = run(bench, "%%capture kept\n%%ucore\n1", PICTURE, ("clear_output", {"wait": True}), RESULT)
    assert [one.data for one in names["kept"].outputs] == [{"text/plain": "42"}]


def test_time_says_how_long_the_board_took(bench):
    _, shown = run(bench, "%%time\n%%ucore\n1", PRINTED)
    assert re.fullmatch(r"out\nWall time: [\d.]+ (s|ms|µs)\n", shown)


def test_time_does_not_count_the_wait_for_another_cell(bench, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("ukernel.kernel.wrappers.time.monotonic", lambda: clock[0])
    bench.execute("%%time\n%%ucore\n1")
    bench.subkernel_begins()
    bench.board_says("status", execution_state="queued", holder="a script")
    clock[0] += 50
    bench.board_says("status", execution_state="busy")
    clock[0] += 1.25
    bench.board_says("execute_reply", status="ok")
    assert bench.frontend.last("stream")["text"].endswith("Wall time: 1.25 s\n")


def test_time_and_capture_nest(bench):
    value = ("execute_result", {"data": {values.MIME: base64.b64encode(values.encode(42)).decode()}, "metadata": {}})
    names, shown = run(bench, "%%time\n%%capture kept\n%%ucore --out value\n1", PRINTED, value)
    assert shown.startswith("Wall time")
    assert (names["kept"].stdout, names["value"]) == ("out\n", 42)
    bench.frontend.seen.clear()
    names, shown = run(bench, "%%capture kept\n%%time\n%%ucore\n1", PRINTED)
    assert shown == "" and names["kept"].stdout.startswith("out\nWall time")


def test_threads_print_after_the_end_of_a_captured_cell(bench):
    run(bench, "%%capture\n%%ucore\n1", PRINTED)
    bench.board_says("stream", name="stdout", text="later")
    assert bench.frontend.last("stream")["text"] == "later"


def test_a_value_that_could_not_be_found_is_not_replaced_by_what_was_printed(bench):
    names, _ = run(bench, "%%ucore --out value\nf(1 2)", PRINTED)
    assert names == {}
    said = bench.frontend.last("error")["evalue"]
    assert "syntax is not known" in said and "%ucore pull" in said and "nothing" in said


def test_a_result_that_cannot_be_shown_is_said(bench):
    _, shown = run(bench, "%%ucore\nf(1 2)", PRINTED)
    assert "syntax is not known" in shown
    bench.frontend.seen.clear()
    _, shown = run(bench, "%%ucore\nf(1 2)", status="error", ename="SyntaxError", evalue="")
    assert shown == "" and bench.frontend.last("error")["ename"] == "SyntaxError"


def test_a_password_has_a_prompt(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.board_says("input_request", prompt="", password=True)
    assert bench.frontend.asked == [("Password: ", True)]


def test_output_waits_until_the_cell_has_its_number(bench):
    bench.execute("%%ucore\n1")
    bench.board_says("stream", name="stdout", text="early")
    bench.board_says("execute_result", data={"text/plain": "1"})
    bench.board_says("execute_reply", status="ok")
    assert bench.frontend.seen == []
    bench.subkernel_begins(count=7)
    assert bench.frontend.types == ["busy", "execute_input", "stream", "execute_result", "reply", "idle"]
    assert bench.frontend.last("execute_result")["execution_count"] == 7
    assert bench.frontend.last("reply")["execution_count"] == 7


def test_a_board_that_is_done_does_not_wait_for_the_sub_kernels_reply(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.board_says("execute_reply", status="ok")
    assert bench.frontend.types[-2:] == ["reply", "idle"]
    assert bench.subkernel.ignored == [(True, True)]
    assert bench.queue.running is None


def test_a_sub_kernel_that_is_done_does_not_end_the_cell(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.subkernel_says("execute_reply", {"status": "ok", "execution_count": 7, "payload": [], "user_expressions": {}})
    bench.subkernel_says("status", {"execution_state": "idle"})
    assert bench.frontend.types == ["busy", "execute_input"]
    bench.board_says("execute_reply", status="ok")
    assert bench.frontend.types[-2:] == ["reply", "idle"]
    assert bench.subkernel.ignored == [(False, False)]


def test_user_expressions_are_waited_for(bench):
    bench.execute("%%ucore\n1", user_expressions={"a": "1"})
    bench.subkernel_begins()
    bench.board_says("execute_reply", status="ok")
    assert "reply" not in bench.frontend.types
    bench.subkernel_says("execute_reply", {"status": "ok", "execution_count": 7, "user_expressions": {"a": 1}})
    assert bench.frontend.last("reply")["user_expressions"] == {"a": 1}


def test_a_board_that_is_not_found_is_an_error_of_the_cell(bench):
    bench.connection.ready = False
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.connection.waiting[0](BoardNotFoundError("There is no board."))
    assert bench.frontend.types == ["busy", "execute_input", "error", "reply", "idle"]
    assert bench.frontend.last("error")["ename"] == "BoardNotFoundError"
    assert bench.frontend.last("reply")["evalue"] == "There is no board."


def test_a_hub_that_is_gone_is_an_error_of_the_cell():
    bench = Bench(HangedUpConnection())
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    assert bench.frontend.last("reply")["ename"] == "HubUnreachableError"


def test_an_answer_after_the_end_is_not_a_second_end(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.board_says("execute_reply", status="ok")
    seen = list(bench.frontend.seen)
    bench.board_says("execute_reply", status="error", ename="HubUnreachableError", evalue="gone")
    assert bench.frontend.seen == seen


def test_text_of_the_cells_threads_comes_after_its_end(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.board_says("execute_reply", status="ok")
    bench.board_says("stream", name="stdout", text="late")
    assert bench.frontend.seen[-1] == ("stream", {"name": "stdout", "text": "late"})


def test_a_cell_that_must_wait_for_a_board_says_so_after_a_while(bench):
    bench.connection.ready = False
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.timers[0][1]()
    assert "Connecting" in bench.frontend.last("stream")["text"]


def test_an_interrupt_while_there_is_no_board_ends_the_wait(bench):
    bench.connection.ready = False
    execution = bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    execution.interrupt()
    assert bench.frontend.last("reply")["ename"] == "KeyboardInterrupt"
    assert bench.connection.waiting == []


def test_an_interrupt_goes_to_the_board_not_to_python(bench):
    execution = bench.execute("%%ucore\n1")
    execution.interrupt()
    assert bench.connection.sent[-1] == ("interrupt_request", {"parent": 1})
    assert bench.subkernel.interrupts == 0


def test_an_interrupt_of_a_cell_that_waits_for_python_goes_there_after_a_while(bench):
    execution = bench.execute("%%ucore\n1")
    bench.board_says("execute_reply", status="ok")
    execution.interrupt()
    for _, action in bench.timers:
        action()
    assert bench.subkernel.interrupts == 1


def test_an_interrupt_of_a_cell_that_ends_leaves_python_alone(bench):
    execution = bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    execution.interrupt()
    bench.board_says("execute_reply", status="error", ename="KeyboardInterrupt")
    for _, action in bench.timers:
        action()
    assert bench.subkernel.interrupts == 0


def test_a_cell_taken_back_by_an_interrupt_is_a_keyboard_interrupt(bench):
    execution = bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    execution.interrupt()
    bench.board_says("execute_reply", status="aborted")
    assert bench.frontend.last("reply")["ename"] == "KeyboardInterrupt"


def test_the_user_is_asked_and_the_answer_reaches_the_board(bench):
    execution = bench.execute("%%ucore\ninput('? ')")
    bench.subkernel_begins()
    bench.board_says("input_request", prompt="? ", password=True)
    assert bench.frontend.asked == [("? ", True)]
    assert bench.input_waiter is execution
    execution.answer_input("yes")
    assert bench.connection.sent[-1] == ("input_reply", {"parent": 1, "value": "yes"})
    assert bench.input_waiter is None


def test_text_before_a_question_is_shown_before_it(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    for text in ("one ", "two "):
        bench.board_says("stream", name="stdout", text=text)
    bench.board_says("input_request", prompt="? ")
    assert bench.frontend.types.count("stream") == 2
    assert bench.frontend.asked == [("? ", False)]


def test_an_end_takes_the_question_back(bench):
    bench.execute("%%ucore\n1")
    bench.subkernel_begins()
    bench.board_says("input_request", prompt="? ")
    bench.board_says("execute_reply", status="error", ename="KeyboardInterrupt", evalue="", traceback=[])
    assert bench.input_waiter is None


def test_a_time_limit_interrupts_and_is_named_in_the_error(bench):
    bench.execute("%%ucore --timeout 3\n1")
    bench.subkernel_begins()
    bench.board_says("status", execution_state="queued", holder="a script")
    assert bench.timers == [], "waiting in line is not the cell's own time"
    bench.board_says("status", execution_state="busy")
    seconds, action = bench.timers[-1]
    assert seconds == 3
    action()
    assert bench.connection.sent[-1][0] == "interrupt_request"
    bench.board_says("execute_reply", status="error", ename="KeyboardInterrupt", evalue="", traceback=[])
    assert bench.frontend.last("reply")["ename"] == "TimeoutError"
    assert "3 s" in bench.frontend.last("reply")["evalue"]


def test_a_time_limit_after_the_end_does_nothing(bench):
    bench.execute("%%ucore --timeout 3\n1")
    bench.subkernel_begins()
    bench.board_says("status", execution_state="busy")
    bench.board_says("execute_reply", status="ok")
    bench.timers[-1][1]()
    assert [kind for kind, _ in bench.connection.sent] == ["execute_request"]


def test_a_sub_kernel_that_dies_before_it_spoke_does_not_hide_the_cell(bench):
    execution = bench.execute("%%ucore\n1")
    execution.lose_subkernel({"evalue": "Python is gone."})
    bench.board_says("stream", name="stdout", text="x")
    bench.board_says("execute_reply", status="ok")
    assert bench.frontend.types == ["busy", "stream", "stream", "reply", "idle"]
    assert [content["text"] for kind, content in bench.frontend.seen if kind == "stream"] == ["Python is gone.\n", "x"]


def test_an_error_aborts_what_waits_and_the_next_request_runs(bench):
    bench.execute("%%ucore\n1")
    bench.execute("%%ucore\n2")
    bench.execute("3")
    bench.subkernel_begins()
    bench.board_says("execute_reply", status="error", ename="ValueError", evalue="", traceback=[])
    replies = [content["status"] for kind, content in bench.frontend.seen if kind == "reply"]
    assert replies == ["error", "aborted", "aborted"]
    assert bench.execute("%%ucore\n4") is not None


def test_what_is_sent_on_seeing_the_error_is_not_aborted(bench):
    bench.execute("1")
    replied = bench.frontend.send_multipart

    def send_and_continue(frames):
        replied(frames)
        if Message(frames).type == "execute_reply":
            bench.execute("2")

    bench.frontend.send_multipart = send_and_continue
    bench.subkernel_says("status", {"execution_state": "busy"})
    bench.subkernel_says("execute_reply", {"status": "error"})
    bench.subkernel_says("status", {"execution_state": "idle"})
    assert bench.queue.running.request.content["code"] == "2"


@pytest.mark.parametrize("options", [{"silent": True}, {"stop_on_error": False}])
def test_errors_that_stop_nothing_stop_nothing(bench, options):
    bench.execute("1", **options)
    bench.execute("2")
    bench.subkernel_says("status", {"execution_state": "busy"})
    bench.subkernel_says("execute_reply", {"status": "error"})
    bench.subkernel_says("status", {"execution_state": "idle"})
    assert bench.queue.running.request.content["code"] == "2"


def test_the_next_cell_waits_for_the_end_of_the_one_before(bench):
    bench.execute("1")
    bench.execute("2")
    bench.subkernel_says("status", {"execution_state": "busy"})
    bench.subkernel_says("execute_reply", {"status": "ok"})
    assert len(bench.subkernel.sent) == 1
    bench.subkernel_says("status", {"execution_state": "idle"})
    assert [message.content["code"] for message in bench.subkernel.sent] == ["1", "2"]


def test_a_host_cell_is_interrupted_on_the_host(bench):
    bench.execute("1").interrupt()
    assert bench.subkernel.interrupts == 1
    assert bench.connection.sent == []


def test_a_host_cell_whose_reply_is_missing_and_whose_python_dies_is_answered_once(bench):
    first = bench.execute("1")
    bench.subkernel_says("status", {"execution_state": "busy"})
    bench.subkernel_says("status", {"execution_state": "idle"})
    ((_, give_up),) = bench.timers
    first.lose_subkernel({"ename": "PythonExited", "evalue": "It ended.", "traceback": []})
    second = bench.execute("2")
    give_up()
    assert bench.frontend.types.count("reply") == 1
    assert bench.queue.running is second
