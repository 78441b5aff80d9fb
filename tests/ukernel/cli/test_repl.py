"""A board's prompt: in a terminal, and where there is none."""

import contextlib
import io
import os
import stat
import sys
import textwrap

import pytest
from patience import PATIENCE_S
from scripted import HubThread

from ukernel.boards import connect
from ukernel.boards.introspection import Completion
from ukernel.cli import repl
from ukernel.hub.driver import BoardDriver
from ukernel.virtual.launcher import VirtualBoard

UP, TAB, CTRL_C, CTRL_D, CTRL_L = "\x1b[A", "\t", "\x03", "\x04", "\x0c"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UCORE_STATE_PATH", str(tmp_path_factory.mktemp("hub") / "state.json"))
        hub = HubThread(60.0)
        hub.hub.boards.make_driver = BoardDriver
        yield hub
        hub.stop()


@pytest.fixture(scope="module")
def virtual(micropython):
    with VirtualBoard("micropython") as virtual:
        yield virtual


@pytest.fixture
def board(hub, virtual):
    with connect(virtual.port) as board:
        yield board


# --- no terminal -----------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(board, monkeypatch, capsys):
    """Call it with what stdin has; returns the exit code, and what went to stdout and to stderr."""

    def pipe(text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(textwrap.dedent(text)))
        code = repl.run(board)
        return code, *capsys.readouterr()

    return pipe


@pytest.mark.micropython
def test_piped_statements_run_one_by_one_and_show_their_values(pipe):
    text = """\
        1 + 1
        for i in range(2):
            print(i)

            print('-')
        [1,
         'm']
        None
        ucore
        """
    code, out, err = pipe(text)
    assert (code, err) == (0, "")
    assert out.startswith("2\n0\n-\n1\n-\n[1, 'm']\n<")


@pytest.mark.micropython
@pytest.mark.parametrize("word", ["exit", "quit()"])
def test_who_leaves_leaves_without_a_terminal_too(pipe, word):
    assert pipe(f"1\n{word}\nprint('never')\n") == (0, "1\n", "")


@pytest.mark.micropython
def test_the_first_error_ends_it_with_its_line(pipe):
    code, out, err = pipe("print('a', end='')\n\nx = 1\nx / 0\nprint('never')\n")
    assert (code, out) == (1, "a\n")
    expected = 'Traceback (most recent call last):\n  File "<stdin>", line 4, in <module>\n    x / 0\n'
    assert err == expected + "ZeroDivisionError: divide by zero\n"


@pytest.mark.micropython
def test_the_boards_input_is_the_next_line_and_none_is_an_error(pipe, board):
    assert pipe("x = input('who? ')\nBob\nx\n")[:2] == (0, "who? 'Bob'\n")
    assert pipe("x = input()") == (1, "", repl.NO_INPUT + "\n")
    assert board.eval("1") == 1  # it does not wait for an answer any more


@pytest.mark.micropython
def test_help_is_asked_for_by_a_question_mark(pipe):
    code, out, _ = pipe("import machine\nmachine.Pin?\nnothing_at_all?\n")
    assert code == 0
    assert "Call:  machine.Pin(" in out
    assert out.endswith("Nothing is known of nothing_at_all.\n")


# --- what a prompt is made of ----------------------------------------------------------------------------------


class Named:
    """Stands where a board stands: has some names."""

    def __init__(self, *names):
        self.names = names

    def complete(self, code, cursor):
        start = max(code.rfind(" ", 0, cursor), code.rfind(".", 0, cursor)) + 1
        return Completion([name for name in self.names if name.startswith(code[start:cursor])], start, cursor)


@pytest.fixture
def typed(tmp_path):
    """Call it with keys, and a board's names; returns what was entered. ``then``: what the line becomes before Enter is pressed."""
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    def typed(keys, *names, then=""):
        with create_pipe_input() as keyboard:
            keyboard.send_text(keys)
            session = repl._session(Named(*names), repl._history(tmp_path / "history"), input=keyboard, output=DummyOutput())

            def end(buffer):
                if then and buffer.text == then:
                    keyboard.send_text("\r")

            session.default_buffer.on_text_changed += end
            return session.prompt()

    return typed


@pytest.mark.parametrize(
    ("keys", "entered"),
    [
        ("1 + 1\r", "1 + 1"),
        ("f(1,\r2)\r", "f(1,\n2)"),
        ("if x:\ry\r\r", "if x:\n    y\n    "),
        ("def f():\rif x:\ry\r\x7fz\r\r", "def f():\n    if x:\n        y\n    z\n    "),
        ("'''a\rb'''\r", "'''a\nb'''"),
        (")\r", ")"),  # the board says what is wrong with it
        ("a\x1b\rb\r", "a\nb"),
        ("\x1b[200~for i in x:\n    y\n\nz\x1b[201~\r", "for i in x:\n    y\n\nz"),
        ("name?\r", "name?"),
        ("\r", ""),
        ("  \r", ""),
    ],
)
def test_enter_runs_what_is_whole_and_else_goes_on_indented(typed, keys, entered):
    assert typed(keys) == entered


def test_tab_completes_by_the_board_and_indents_where_nothing_is_written(typed):
    assert typed(f"x = temper{TAB}", "temperature", "time", then="x = temperature") == "x = temperature"
    assert typed(f"if x:\r\x7f{TAB}y\r\r") == "if x:\n    y\n    "


def test_ctrl_c_and_ctrl_d_at_the_prompt(typed):
    with pytest.raises(KeyboardInterrupt):
        typed("abc" + CTRL_C)
    with pytest.raises(EOFError):
        typed(CTRL_D)
    assert typed("ab" + CTRL_L + "c\r") == "abc"


def test_what_was_typed_is_kept_for_this_user_alone(typed, tmp_path):
    assert typed("first = 'µ'\r") == "first = 'µ'"
    assert typed(UP + "\r") == "first = 'µ'"
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "history").stat().st_mode) == 0o600


def test_a_long_history_is_halved_at_an_entry_and_one_that_cannot_be_kept_is_none(typed, tmp_path, monkeypatch):
    monkeypatch.setattr(repl, "MAX_HISTORY", 1000)
    entries = [f"\n# 2026-01-01 00:00:{n:02}\n+line{n}\n" for n in range(60)]
    (tmp_path / "history").write_text("".join(entries))
    repl._history(tmp_path / "history")
    kept = (tmp_path / "history").read_text()
    assert kept == "".join(entries)[-len(kept) :]
    assert kept.startswith("\n# ")
    assert 0 < len(kept) < 1100
    assert [path.name for path in tmp_path.iterdir()] == ["history"]
    (tmp_path / "file").touch()
    assert type(repl._history(tmp_path / "file" / "history")).__name__ == "InMemoryHistory"


# --- a terminal ------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from ukernel.boards import connect
from ukernel.cli import repl
with connect(sys.argv[1]) as board:
    sys.exit(repl.run(board))
"""


class Terminal:
    """`ucore repl` in a pseudo-terminal. A context manager."""

    def __init__(self, port, folder):
        pexpect = pytest.importorskip("pexpect")
        environment = {
            **os.environ,
            "UCORE_DATA_DIR": str(folder),
            "TERM": "xterm",
            "NO_COLOR": "1",
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        self._end = pexpect.EOF
        self._child = pexpect.spawn(
            sys.executable, ["-c", PROGRAM, port], env=environment, encoding="utf-8", timeout=PATIENCE_S, dimensions=(40, 200)
        )
        self._child.delaybeforesend = None

    def __enter__(self):
        try:
            self.see("Ctrl-D leaves.")
            self.prompt()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        self._child.close(force=True)

    def see(self, pattern):
        """Wait until it appears."""
        self._child.expect(pattern)

    def prompt(self):
        """Wait until an empty one takes keys."""
        self.see(">>>\x1b\\[3D")
        self.see("\x1b\\[\\?25h")  # the cursor

    def enter(self, text):
        self._child.send(text + "\r")

    def press(self, key):
        self._child.send(key)

    def end(self):
        """Wait for the end; return the exit code."""
        self._child.expect(self._end)
        self._child.wait()
        return self._child.exitstatus


@pytest.fixture
def terminal(hub, virtual, tmp_path):
    if os.name != "posix":
        pytest.skip("needs a pseudo-terminal")
    with Terminal(virtual.port, tmp_path) as terminal:
        yield terminal


@pytest.mark.micropython
def test_a_terminal_shows_values_errors_and_help_and_leaves_on_ctrl_d(terminal):
    terminal.enter("20 + 22")
    terminal.see("42\r\n")
    terminal.prompt()
    terminal.enter("1 / 0")
    terminal.see("ZeroDivisionError: divide by zero\r\n")
    terminal.prompt()
    terminal.enter("%matplotlib")
    terminal.see("Line 1: %matplotlib is for the Python")
    terminal.prompt()
    terminal.press(CTRL_D)
    assert terminal.end() == 0


@pytest.mark.micropython
def test_ctrl_c_interrupts_the_board_while_it_runs_and_clears_the_line_while_not(terminal, board):
    terminal.enter("x = 1; print('so', end='')")
    terminal.see("so\r\n")  # the prompt begins a line of its own
    terminal.prompt()
    terminal.enter("print('be' + 'gun')\x1b\rwhile True: x += 1\r")
    terminal.see("begun")
    terminal.press(CTRL_C)
    terminal.see("KeyboardInterrupt\r\n")
    terminal.prompt()
    terminal.press("never()" + CTRL_C)
    terminal.prompt()
    terminal.enter("'al' + 'ive'")
    terminal.see("'alive'")
    assert board.eval("x") > 1


@pytest.mark.micropython
def test_the_board_asks_here_and_ctrl_c_there_interrupts_it(terminal):
    terminal.enter("input('your ' + 'name? ') + '!'")
    terminal.see("your name\\? ")
    terminal.enter("Bob")
    terminal.see("'Bob!'")
    terminal.prompt()
    terminal.enter("input('your ' + 'name? ') + '!'")
    terminal.see("your name\\? ")
    terminal.press(CTRL_C)
    terminal.see("KeyboardInterrupt")
    terminal.prompt()
    terminal.enter("'al' + 'ive'")
    terminal.see("'alive'")


@pytest.mark.micropython
def test_what_a_thread_prints_appears_while_a_line_is_being_typed(terminal, board):
    board.run("go = False")
    lines = ["def tell():", "while not go: time.sleep_ms(5)", "print('tick' + 'tock')\r"]
    terminal.enter("import time, _thread")
    terminal.prompt()
    terminal.enter("\r".join(lines))
    terminal.prompt()
    terminal.enter("_thread.start_new_thread(tell, ()) and None")
    terminal.prompt()
    terminal.press("40 +")
    board.run("go = True")
    terminal.see("ticktock")
    terminal.enter(" 2")
    terminal.see("42\r\n")


@pytest.mark.micropython
def test_several_prompts_and_programs_share_the_board(terminal, board, virtual, tmp_path):
    board.run("shared = 5")
    with Terminal(virtual.port, tmp_path) as other:
        other.enter("shared += 1")
        other.prompt()
        terminal.enter("shared * 7")
        terminal.see("42\r\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_board_that_goes_away_is_one_sentence_and_the_prompt_goes_on(hub, tmp_path):
    with contextlib.ExitStack() as virtual:
        # Nobody is given its port next, as happens to terminals.
        port = virtual.enter_context(VirtualBoard("cpython", socket=True)).port
        with Terminal(port, tmp_path) as terminal:
            virtual.close()
            for _ in range(2):
                terminal.enter("1 + 1")
                terminal.see(r"\x1b\[\?2004l[^\r\n]*socket://[^\n]*\.\r\n")
                terminal.prompt()
            terminal.enter("exit()")
            assert terminal.end() == 0


@pytest.mark.micropython
def test_a_board_that_goes_for_good_is_told_of_at_once(hub, micropython, tmp_path):
    with contextlib.ExitStack() as virtual:
        port = virtual.enter_context(VirtualBoard("micropython")).port
        with Terminal(port, tmp_path) as terminal:
            virtual.close()
            terminal.see("went away[^\r\n]* What you enter next tries again")
            terminal.press(CTRL_D)
            assert terminal.end() == 0
