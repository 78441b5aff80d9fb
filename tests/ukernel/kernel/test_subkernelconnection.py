"""What the switchboard and the sub-kernel owe each other: requests wait, answers find who asked, and a dead process owes nothing."""

import pytest
from jupyter_client.session import Session

from ukernel.kernel.messages import Message, MessageSigner
from ukernel.kernel.subkernelconnection import SubkernelConnection, SubkernelState

KEY = "a key for tests"


class RecordingProcess:
    """A sub-kernel that does nothing by itself: the test speaks for it."""

    def __init__(self, age_s=0.0):
        self.sockets = {channel: channel for channel in ("iopub", "shell", "control", "stdin")}
        self.sent = []
        self.interrupts = 0
        self.age_s = age_s
        self.exit_status = None
        self.unlink_attempts = 0
        self.closed = False

    def connect(self, context):
        pass

    def on_exit(self, callback):
        self.end = lambda: callback(self)

    def send(self, channel, frames):
        self.sent.append((channel, Message(frames)))

    def interrupt(self):
        self.interrupts += 1

    def unlink_sockets(self):
        self.unlink_attempts += 1
        return self.unlink_attempts > 1

    def close(self):
        self.closed = True


class Bench:
    """Stands where the loop and the switchboard stand."""

    def __init__(self, **options):
        self.session = Session(key=KEY.encode())
        self.signer = MessageSigner(KEY)
        self.sockets = {}
        self.timers = []
        self.seen = []
        self.exits = []
        self.process = RecordingProcess(**options)
        self.connection = SubkernelConnection(self.process, self, self.signer, None)
        receivers = dict.fromkeys(self.process.sockets, self.seen.append)
        self.connection.connect(receivers, self.exits.append)

    # what the connection asks of the loop
    def add_socket(self, sock, receive):
        self.sockets[sock] = receive

    def remove_reader(self, sock):
        del self.sockets[sock]

    def drain(self, sock):
        pass

    def call_later(self, seconds, action):
        self.timers.append(action)

    def call_soon_threadsafe(self, action):
        action()

    # what a test does
    def request(self, msg_type="execute_request", channel="shell"):
        message = Message(self.session.serialize(self.session.msg(msg_type, {"code": ""})))
        self.connection.send(channel, message)
        return message

    def say(self, channel, msg_type, content, parent=None):
        """Have the process say something about a request."""
        message = Message(
            self.session.serialize(self.session.msg(msg_type, content, parent={"header": parent.header} if parent else None))
        )
        self.sockets[channel](message.frames)
        return message

    def status(self, state, parent=None):
        return self.say("iopub", "status", {"execution_state": state}, parent)

    def replace(self):
        self.connection.close_ended()
        self.process = RecordingProcess()
        self.connection.replace(self.process)

    @property
    def got(self):
        """The requests that the process has got, but for probes."""
        return [message.id for channel, message in self.process.sent if channel == "shell" or message.idents != [b"probe"]]


@pytest.fixture
def bench():
    return Bench()


def test_requests_wait_in_order_until_the_process_speaks(bench):
    first, second = bench.request(), bench.request("complete_request")
    assert bench.got == []
    bench.status("starting")
    third = bench.request()
    assert bench.got == [first.id, second.id, third.id]


def test_a_process_that_does_not_speak_is_asked_until_it_does(bench):
    (probe,) = bench.timers
    probe()
    assert [message.type for _, message in bench.process.sent] == ["kernel_info_request"]
    asked = bench.process.sent[0][1]
    bench.status("busy", asked)
    bench.say("control", "kernel_info_reply", {}, asked)
    bench.timers[-1]()
    assert len(bench.process.sent) == 1 and [message.type for message in bench.seen] == ["status"]


def test_a_process_serves_when_it_has_answered_on_its_shell_channel(bench):
    assert bench.connection.state is SubkernelState.STARTING
    bench.status("starting")
    assert bench.connection.state is SubkernelState.READY
    bench.say("shell", "execute_reply", {}, bench.request())
    assert bench.connection.state is SubkernelState.SERVING


def test_the_sockets_are_unlinked_as_soon_as_all_are_connected(bench):
    bench.status("starting")
    bench.timers[-1]()
    assert bench.process.unlink_attempts == 2


def test_it_is_idle_when_it_has_been_idle_after_everything(bench):
    bench.status("starting")
    request = bench.request()
    assert not bench.connection.is_idle
    bench.status("busy", request)
    bench.status("idle", request)
    assert bench.connection.is_idle


def test_what_is_over_for_the_front_end_is_kept_back_once(bench):
    bench.status("starting")
    request = bench.request()
    bench.connection.ignore(request, reply=True, idle=True)
    assert bench.connection.has_only_ignored
    reply, idle = bench.say("shell", "execute_reply", {}, request), bench.status("idle", request)
    assert bench.connection.take_ignored(reply, "reply") and bench.connection.take_ignored(idle, "idle")
    assert not bench.connection.take_ignored(reply, "reply")
    assert not bench.connection.has_only_ignored


def test_a_comm_message_beside_what_is_over_may_hang(bench):
    bench.status("starting")
    bench.connection.ignore(bench.request(), reply=False, idle=True)
    bench.request("complete_request")
    assert not bench.connection.has_only_ignored


def test_a_hidden_statement_is_answered_to_who_wanted_it(bench):
    bench.status("starting")
    done = []
    bench.connection.run_hidden("x = 1", lambda: done.append(True))
    ((_, request),) = bench.process.sent
    assert request.content == {"code": "x = 1", "silent": True, "store_history": False, "allow_stdin": False}
    assert bench.connection.take_ignored(bench.status("busy", request), "busy")
    reply = bench.say("shell", "execute_reply", {}, request)
    assert bench.connection.take_hidden(reply) and done == [True]
    assert not bench.connection.take_hidden(reply)


def test_a_question_of_the_sub_kernel_is_answered_by_type(bench):
    bench.status("starting")
    question = bench.say("stdin", "board_info_request", {"wait": True})
    bench.connection.answer(question, {"name": "kitchen"})
    channel, answer = bench.process.sent[-1]
    assert (channel, answer.type, answer.content) == ("stdin", "board_info_reply", {"name": "kitchen"})
    assert answer.parent_id == question.id


def test_before_it_is_ready_nothing_is_interrupted_or_answered(bench):
    question = Message(bench.session.serialize(bench.session.msg("board_info_request", {})))
    bench.connection.answer(question, {})
    bench.connection.interrupt()
    assert bench.process.sent == [] and bench.process.interrupts == 0
    bench.status("starting")
    bench.connection.interrupt()
    assert bench.process.interrupts == 1


def test_the_end_of_a_process_is_told_once_and_only_of_the_present_one(bench):
    old = bench.process
    old.exit_status = -9
    old.end()
    assert bench.exits == [-9]
    bench.replace()
    assert old.closed
    old.end()
    assert bench.exits == [-9]


def test_a_process_has_ended_quickly_if_it_was_young_and_had_no_cell():
    assert Bench().connection.has_ended_quickly
    assert not Bench(age_s=60.0).connection.has_ended_quickly
    bench = Bench()
    bench.request()
    assert bench.connection.has_ended_quickly  # the cell still waits
    bench.status("starting")
    assert not bench.connection.has_ended_quickly


def test_what_was_asked_in_vain_is_asked_again_each_once(bench):
    running, question = bench.request(), bench.request("complete_request")
    done = []
    bench.connection.run_hidden("x = 1", lambda: done.append(True))
    bench.replace()
    bench.connection.ask_again([running])
    assert done == [True]
    bench.status("starting")
    assert bench.got[:2] == [running.id, question.id] and len(set(bench.got)) == len(bench.got)


def test_of_what_a_dead_process_owes_only_what_the_kernel_is_is_asked_again(bench):
    bench.status("starting")
    info, question = bench.request("kernel_info_request"), bench.request("complete_request")
    control = bench.request("debug_request", "control")
    bench.replace()
    waiting = bench.request("inspect_request")
    dropped = bench.connection.drop_requests()
    assert [(channel, request.id) for channel, request in dropped] == [
        ("shell", question.id),
        ("control", control.id),
        ("shell", waiting.id),
    ]
    bench.status("starting")
    assert bench.got == [info.id]
    assert bench.connection.take_pending(bench.say("shell", "kernel_info_reply", {}, info)).id == info.id


def test_after_the_last_process_nothing_is_sent(bench):
    bench.connection.close_ended()
    bench.connection.give_up()
    bench.request()
    assert bench.got == [] and bench.connection.state is SubkernelState.GONE
