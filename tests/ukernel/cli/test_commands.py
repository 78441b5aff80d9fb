"""The tables of commands: each row leads to a command, and the list of them loads none."""

import subprocess
import sys

import click
import pytest

from ukernel import cli
from ukernel.cli import files, packages, pipes

GROUPS = [cli.ucore, files.fs, packages.mip, pipes.pipe]
ROWS = [(group, name) for group in GROUPS for name in group.list_commands(click.Context(group))]
HEAVY = [
    "asyncio",
    "IPython",
    "jupyter_client",
    "mpremote",
    "numpy",
    "parso",
    "prompt_toolkit",
    "rich",
    "serial",
    "zmq",
    "ukernel.boards",
    "ukernel.hub",
]


@pytest.mark.parametrize(("group", "name"), ROWS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_each_row_leads_to_a_command_of_that_name_with_a_help(group, name):
    command = group.get_command(click.Context(group), name)
    assert command is not None and command.name == name
    assert command.help


def test_the_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert [entry.name for entry in cli.COMMANDS if f"\n  {entry.name} " not in out] == []


@pytest.mark.parametrize("arguments", [["--help"], ["fs", "--help"], ["pipe", "read", "--help"], ["run", "--help"]])
def test_help_loads_nothing_that_takes_long(arguments):
    code = f"import sys\nfrom ukernel.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass\nprint(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_without_a_command_the_help_is_shown_and_that_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
    assert "boards" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "meant"), [("boads", "boards"), ("inf", "info"), ("tree", "fs tree"), ("devs", "boards")])
def test_a_slip_of_the_finger_and_what_others_call_a_command_are_recognised(said, meant, capsys):
    with pytest.raises(SystemExit):
        cli.main([said])
    assert f"Did you mean {meant!r}?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-b", "", "ls"], ["ls", "-b", ""]])
def test_a_board_without_a_name_is_a_usage_error_wherever_it_stands(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "the name of a board cannot be empty" in capsys.readouterr().err


@pytest.mark.parametrize(("group", "name"), ROWS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_a_file_that_may_not_be_read_is_no_usage_error(group, name):
    """The command finds out, and ends as for any file that cannot be had (exit code 6)."""
    types = [option.type for option in group.get_command(click.Context(group), name).params]
    assert [path for path in types if isinstance(path, click.Path) and (path.readable or path.exists)] == []
