"""Tables, colours, progress and silence."""

import io
import sys

import pytest

from ukernel.cli import output


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Call it, and stdout and stderr are a terminal, which it returns. (What a fixture puts there pytest takes away before the test.)"""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def enter():
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", screen)
        return screen

    return enter


@pytest.fixture(autouse=True)
def _loud():
    yield
    output.set_quiet(False)


def test_a_table_is_plain_text_where_there_is_no_terminal(capsys):
    output.print_table(("name", "size"), [("a", 1), ("longer", 23)])
    assert capsys.readouterr().out == "name    size\na       1\nlonger  23\n"


def test_a_table_has_a_bold_heading_on_a_terminal(terminal):
    screen = terminal()
    output.print_table(("name", "size"), [("[red]a", 1)])
    assert "\x1b[1m" in screen.getvalue()
    assert "[red]a" in screen.getvalue()


def test_no_color_is_obeyed(terminal, monkeypatch):
    screen = terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.has_colours(sys.stdout)
    output.print_table(("name",), [("a",)])
    assert "\x1b[3" not in screen.getvalue()


def test_what_takes_long_has_a_bar_on_a_terminal(terminal, monkeypatch):
    screen = terminal()
    monkeypatch.setattr(output, "BAR_AFTER_S", 0.0)
    with output.progress() as show:
        show("/main.py", 1, 2)
        show("/main.py", 2, 2)
    assert "/main.py" in screen.getvalue()


def test_what_nobody_knows_the_size_of_has_a_bar_too(terminal, monkeypatch):
    screen = terminal()
    monkeypatch.setattr(output, "BAR_AFTER_S", 0.0)
    with output.progress() as show:
        show("/lib", 0, 0)
        show("/lib", 0, 0)
    assert "/lib" in screen.getvalue()


def test_what_is_soon_over_has_none(terminal, monkeypatch):
    screen = terminal()
    monkeypatch.setattr(output, "BAR_AFTER_S", 1e9)
    with output.progress() as show:
        show("/main.py", 1, 2)
    assert screen.getvalue() == ""


def test_no_bar_without_a_terminal_nor_where_it_is_to_be_quiet(terminal, monkeypatch, capsys):
    screen = terminal()
    monkeypatch.setattr(output, "BAR_AFTER_S", 0.0)
    output.set_quiet(True)
    with output.progress() as show:
        show("/main.py", 1, 2)
    output.say("A sentence.")
    assert screen.getvalue() == ""


def test_output_that_nobody_reads_is_told_once(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(output, "_closed", set())
    with pytest.raises(output.OutputClosed):
        output.write_board_output("a")
    output.write_board_output("b")  # the board's last words


def test_json_has_the_texts_as_they_are(capsys):
    output.print_json([{"name": "größe"}])
    assert "größe" in capsys.readouterr().out
