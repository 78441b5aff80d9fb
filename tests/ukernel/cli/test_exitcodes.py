"""Exit codes are documented, and each error of the tree has one."""

import re
from pathlib import Path

import pytest

from ukernel import cli, errors
from ukernel.cli import boards, exitcodes

PAGE = Path(__file__).parents[3] / "docs" / "workbench.md"
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.UcoreError)]


def test_every_code_stands_in_the_documentation():
    table = PAGE.read_text("utf-8").partition("| code | |")[2].partition("\n\n")[0]
    documented = {
        int(number)
        for row in table.splitlines()
        if (cell := row.partition("|")[2].partition("|")[0])
        for number in re.findall(r"\d+", cell)
    }
    assert {value for name, value in vars(exitcodes).items() if name.isupper() and isinstance(value, int)} <= documented


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_sentence_and_a_code(kind, monkeypatch, capsys):
    def fail():
        raise kind("The sentence.")

    monkeypatch.setattr(boards, "known_boards", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main(["boards"])
    assert ended.value.code == exitcodes.of(kind("")) != 0
    assert capsys.readouterr() == ("", "ucore: The sentence.\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BoardNotFoundError(""), 3),
        (errors.BoardBusyError(""), 4),
        (errors.NoAnswerError(""), 5),
        (errors.BoardGoneError(""), 5),
        (errors.BoardTimeoutError(""), 124),
        (errors.BoardCodeError(""), 1),
        (errors.HubUnreachableError(""), 7),
        (errors.PipeNameError(""), 8),
        (FileNotFoundError(2, "No such file", "x"), 6),
        (TimeoutError(), 124),
        (ValueError(), 1),
    ],
)
def test_the_kinds_are_told_apart(error, code):
    assert exitcodes.of(error) == code


def test_a_fault_of_ours_is_a_sentence_that_says_how_to_see_more(monkeypatch, capsys):
    monkeypatch.setattr(boards, "known_boards", lambda: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        cli.main(["boards"])
    assert ended.value.code == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "UCORE_TRACEBACK" in err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (BrokenPipeError, 0)])
def test_a_ctrl_c_and_a_reader_that_left_need_no_words(error, code, monkeypatch, capfd):
    def fail():
        raise error

    monkeypatch.setattr(boards, "known_boards", fail)
    monkeypatch.setattr(cli, "_close_output", lambda: 0)
    try:
        cli.main(["boards"])
    except SystemExit as ended:
        assert ended.code == code
    else:
        assert code == 0
    assert capfd.readouterr() == ("", "")
