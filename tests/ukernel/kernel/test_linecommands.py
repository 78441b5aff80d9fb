"""The commands of `%ucore`: what each asks of whom, what it prints, and what it says to a line that it does not take."""

import base64

import pytest

from ucore import wire
from ukernel.client import connection
from ukernel.errors import BoardBusyError, UcoreError, UsageError
from ukernel.kernel.linecommands import COMMANDS, CommandUsageError, usage
from ukernel.kernel.magicmessages import BOARD_INFO, EXECUTE, HUB, USE_BOARD
from ukernel.protocol import values

KITCHEN = {
    "name": "kitchen",
    "port": "/dev/ttyACM0",
    "facts": {"python": "micropython", "version": "1.26", "machine": "RP2", "build": "b"},
}


class ScriptedChannel:
    """Answers as it was told, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def ask(self, msg_type, **content):
        self.asked.append((msg_type, content))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class ScriptedHub:
    """A hub client that knows some boards and pipes."""

    def __init__(self, boards=(), pipes=()):
        self.answers = {"boards_request": {"boards": list(boards)}, "pipes_request": {"pipes": list(pipes)}}

    def request(self, msg_type):
        return self.answers[msg_type]

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass


def run(command, rest="", *answers, **names):
    """Run a command; return what it returns, and what it has asked."""
    channel = ScriptedChannel(*answers)
    return COMMANDS[command].run(channel, rest, names), channel.asked


@pytest.mark.parametrize("command", ["status", "board", "boards", "pipes", "producers"])
def test_a_command_that_takes_nothing_refuses_more(command):
    with pytest.raises(CommandUsageError, match=f"%ucore {command} takes nothing, not 'please'"):
        run(command, "please")


def test_use_names_the_board_and_says_where_cells_run_now(capsys):
    _, asked = run("use", "kitchen", KITCHEN)
    assert asked == [(USE_BOARD, {"board": "kitchen"})]
    assert capsys.readouterr().out == "Board cells of this notebook now run on kitchen (/dev/ttyACM0).\n"
    for line in ("", "one two"):
        with pytest.raises(CommandUsageError):
            run("use", line)


@pytest.mark.parametrize(("rest", "force"), [("", False), ("--force", True)])
def test_what_others_would_mind_is_asked_of_the_hub_with_force_or_without(rest, force, capsys):
    assert run("reset", rest, {"board": "kitchen"})[1] == [(HUB, {"type": "reset_request", "content": {"force": force}})]
    assert run("interrupt", rest, {"stopped": ""})[1] == [(HUB, {"type": "interrupt_request", "content": {"force": force}})]
    assert capsys.readouterr().out.startswith("The board kitchen has restarted")


def test_a_refusal_says_how_it_is_done_all_the_same():
    with pytest.raises(BoardBusyError, match=r"Others use it\. `%ucore reset --force` does it all the same\."):
        run("reset", "", BoardBusyError("Others use it."))
    with pytest.raises(CommandUsageError, match="does not know '--farce'"):
        run("reset", "--farce")


def test_an_interrupt_says_whose_cell_it_has_stopped(capsys):
    run("interrupt", "", {"stopped": "experiment.ipynb"})
    run("interrupt", "", {"stopped": ""})
    assert capsys.readouterr().out.splitlines() == [
        "A cell of experiment.ipynb was interrupted.",
        "The board runs no cell. Its threads cannot be interrupted.",
    ]


@pytest.mark.parametrize(
    ("rest", "pushed"), [("a", {"a": 1}), ("a b", {"a": 1, "b": [2]}), ("a,b", {"a": 1, "b": [2]}), ("c = a + 1", {"c": 2})]
)
def test_push_sends_values_under_their_names(rest, pushed):
    _, ((msg_type, content),) = run("push", rest, {"text": ""}, a=1, b=[2])
    assert msg_type == EXECUTE
    assert base64.b64decode(content["order"]) == values.storing(pushed)


@pytest.mark.parametrize(
    ("rest", "error", "words"),
    [
        ("", CommandUsageError, "takes what to push"),
        ("1a", CommandUsageError, "'1a' is no name"),
        ("class", CommandUsageError, "'class' is no name"),
        ("a = )", CommandUsageError, "is no expression"),
        ("nothing", NameError, "not defined on the host"),
        (f"big = 'x' * {wire.MAX_REQUEST}", UsageError, "Push parts"),
    ],
)
def test_what_cannot_be_pushed_is_not_sent(rest, error, words):
    with pytest.raises(error, match=words):
        run("push", rest)


def test_pull_has_the_board_evaluate_and_returns_the_value():
    value = base64.b64encode(values.encode([1, "two"])).decode()
    pulled, ((msg_type, content),) = run("pull", "readings[-1]", {"text": "", "value": value})
    assert (msg_type, pulled) == (EXECUTE, [1, "two"])
    assert "readings[-1]" in content["code"]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ({"value": None}, ValueError, "too large to be pulled"),
        ({"stuck": ("", "of type function", "<function f>")}, TypeError, "it is of type function, in <function f>"),
        ({"stuck": ("[1]", "of type object", "")}, TypeError, r"its \[1\] is of type object\. "),
        ({"stuck": ("", "of type f", "x" * 300)}, TypeError, "x{200}\\.\\.\\."),
    ],
)
def test_what_cannot_be_pulled_is_an_error_that_says_why(answer, error, words):
    with pytest.raises(error, match=words):
        run("pull", "f", answer)


@pytest.mark.parametrize("rest", ["", "x = 1", "import os"])
def test_pull_takes_an_expression_only(rest):
    with pytest.raises(CommandUsageError):
        run("pull", rest)


def test_producers_are_listed_by_name(capsys):
    _, asked = run("producers", "", {"producers": [("b", 10, 1234, "adc"), ("a", 0.5, 0, "")]})
    assert asked == [(HUB, {"type": "producers_request", "content": {"stop": ""}})]
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["a", "every", "0.5", "ms,", "0", "calls,", "no", "pipe"]
    assert second.split() == ["b", "every", "10", "ms,", "1,234", "calls,", "to", "the", "pipe", "adc"]
    run("producers", "", {"producers": []})
    assert "has no producer" in capsys.readouterr().out


def test_stop_names_the_producer_and_says_what_else_there_is():
    _, asked = run("stop", "'adc'", {"producers": [("adc", 10, 1, "")]})
    assert asked == [(HUB, {"type": "producers_request", "content": {"stop": "adc"}})]
    with pytest.raises(UsageError, match=r"no producer 'dac'.* It has adc\."):
        run("stop", "dac", {"producers": [("adc", 10, 1, "")]})
    with pytest.raises(UsageError, match="It has none"):
        run("stop", "dac", {"producers": []})
    with pytest.raises(CommandUsageError):
        run("stop")


def test_boards_marks_the_notebooks_own(capsys, monkeypatch):
    boards = [{"name": name, "port": "p", "state": "ready", "description": "a Pico"} for name in ("kitchen", "attic")]
    monkeypatch.setattr(connection, "connect", lambda: ScriptedHub(boards))
    _, asked = run("boards", "", KITCHEN)
    assert asked == [(BOARD_INFO, {"wait": False})]  # a board that is not attached is waited for by nobody
    own, other = capsys.readouterr().out.splitlines()
    assert own.startswith("* kitchen ") and other.startswith("  attic ")
    monkeypatch.setattr(connection, "connect", ScriptedHub)
    run("boards", "", KITCHEN)
    assert "`%ucore use virtual`" in capsys.readouterr().out


def test_status_says_what_the_board_is_and_who_uses_it(capsys, monkeypatch):
    board = {
        "name": "kitchen",
        "state": "busy",
        "running": {"client": "a", "since": 0},
        "waiting": ["b"],
        "clients": ["a", "b"],
    }
    pipe = {"name": "adc", "board": "kitchen", "open": True, "frames": 5, "frames_per_s": 1, "bytes_per_s": 2, "lost": {}}
    monkeypatch.setattr(connection, "connect", lambda: ScriptedHub([board], [pipe, {**pipe, "board": "attic"}]))
    run("status", "", KITCHEN)
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["Board"].strip() == "kitchen on /dev/ttyACM0, busy"
    assert lines["Runs"].strip() == "MicroPython 1.26, RP2, µcore b"
    assert (lines["Waiting"].strip(), lines["Used by"].strip()) == ("b", "a, b")
    assert lines["Busy"].strip().startswith("with a cell of a, ")
    assert lines["Pipes"].strip() == "adc (5 frames, 1 frames and 2 bytes per second, none lost)"


def test_without_a_board_status_says_why_and_there_is_no_picture(capsys):
    run("status", "", {"error": "There is none."})
    assert capsys.readouterr().out.split(maxsplit=1) == ["Board:", "none: There is none.\n"]
    with pytest.raises(UcoreError, match=r"There is none\."):
        run("board", "", {"error": "There is none."})


def test_help_lists_every_command_and_a_mistake_its_own(capsys):
    run("help")
    assert capsys.readouterr().out == usage() + "\n"
    assert all(f"%ucore {command}" in usage() for command in COMMANDS)
    assert usage("use").count("%ucore") == 1
