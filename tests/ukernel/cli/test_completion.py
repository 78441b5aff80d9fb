"""What a shell is given to complete, and that nothing holds it up."""

import threading

import pytest
from patience import wait_until
from scripted import running_hub

from ukernel import cli
from ukernel.cli import completion
from ukernel.client import connection
from ukernel.pipes import pipes
from ukernel.ports import discovery


@pytest.fixture
def complete(monkeypatch, tmp_path, capsys):
    """Return the words that bash is given for a line."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setattr(discovery, "find_boards", list)
    monkeypatch.setattr(discovery, "find_virtual_boards", list)
    monkeypatch.setattr(discovery, "resolve", lambda ref: ref)

    def complete(line):
        monkeypatch.setenv("_UCORE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
        cli.main([])
        return [line.partition(",")[2] for line in capsys.readouterr().out.splitlines() if line]

    return complete


def test_commands_are_completed(complete):
    assert "pipes" in complete("ucore p") and "boards" not in complete("ucore p")
    assert complete("ucore fs re") == ["restore"]
    assert "--recursive" in complete("ucore rm --")


def test_boards_are_completed_by_name_and_by_port(complete):
    with running_hub(), connection.connect() as hub:
        hub.request("attach_request", {"board": "scripted://kitchen", "client": "a test"})
        assert complete("ucore ls -b ki") == ["kitchen"]
        assert complete("ucore -b scr") == ["scripted://kitchen"]


def test_pipes_are_completed(complete):
    with running_hub() as hub, connection.connect() as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a test"})
        hub.boards["kitchen"].open("adc")
        hub.boards["kitchen"].open("motor", 1003)
        wait_until(lambda: len(pipes()) == 2, "the opening of both pipes")
        assert complete("ucore pipe read a") == ["adc"]
        assert sorted(complete("ucore cat-pipe ")) == ["adc", "motor"]


def test_without_a_hub_no_file_is_offered_and_none_is_started(complete, tmp_path):
    assert complete("ucore cat /") == []
    assert not (tmp_path / "hub.json").exists()


def test_a_search_that_fails_offers_nothing():
    def fail():
        raise OSError("no")

    assert completion._within(1.0, fail) == []


def test_a_search_that_takes_too_long_is_not_waited_for():
    forever = threading.Event()

    def wait():
        forever.wait()
        return [("late", "")]

    try:
        assert completion._within(0.01, wait) == []
    finally:
        forever.set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell, capsys):
    cli.main(["completion", shell])
    assert "_UCORE_COMPLETE" in capsys.readouterr().out


def test_a_shell_that_is_not_known_is_a_usage_error(monkeypatch, capsys):
    monkeypatch.setenv("SHELL", "/bin/rc")
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion"])
    assert ended.value.code == 2
