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


@pytest.mark.parametrize(("said", "meant"), [("boads", "boards"), ("inf", "info")])
def test_a_slip_of_the_finger_is_recognised(said, meant, capsys):
    with pytest.raises(SystemExit):
        cli.main([said])
    assert f"Did you mean {meant!r}?" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["..", "/..", "a/../..", ":../x", "/a/./../../b"])
def test_a_path_that_climbs_out_is_refused(path):
    with pytest.raises(click.BadParameter, match="leads out"):
        files.board_path(path)


@pytest.mark.parametrize(("path", "meant"), [(":/lib", "/lib"), ("a/../b", "a/../b"), ("", ""), (":", ""), ("..a", "..a")])
def test_other_paths_are_the_boards_and_a_colon_is_left_out(path, meant):
    assert files.board_path(path) == meant
