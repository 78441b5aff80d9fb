import os
import re
import signal
import subprocess
import sys
import tempfile

import pytest
from scripted import running_hub

from ukernel import __version__, cli
from ukernel.client import connection
from ukernel.install import repl
from ukernel.ports import discovery
from ukernel.protocol import statefile


def test_the_virtual_board_says_what_runs_where_and_how_to_use_it_and_ends_on_ctrl_c():
    command = [sys.executable, "-m", "ukernel.cli", "virtual", "--python", "cpython"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0
    assert first.startswith("A virtual board, CPython 3.")
    port = first.rsplit(" on ", 1)[1].strip()
    assert any(f"UCORE_BOARD={port} jupyter lab" in line for line in lines)


@pytest.mark.parametrize("arguments", [["--heap", "much"], ["--heap", "1k"], ["--id", "12"], ["--python", "ruby"]])
def test_an_option_that_makes_no_sense_is_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["virtual", *arguments])
    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_what_cannot_be_done_is_one_sentence_and_no_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_CACHE_DIR", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^ucore: MicroPython for the virtual board is not built yet.*ucore virtual --build$"):
        cli.main(["virtual", "--python", "micropython"])


def test_an_identity_in_the_environment_that_is_none_is_one_sentence(monkeypatch):
    monkeypatch.setenv("UCORE_VIRTUAL_ID", "mine")
    with pytest.raises(SystemExit, match=r"^ucore: UCORE_VIRTUAL_ID: 'mine' is not 12 hexadecimal digits\.$"):
        cli.main(["virtual", "--python", "cpython"])


@pytest.mark.parametrize(
    ("port", "sentence"),
    [
        ("foo://bar", "The port foo://bar cannot be opened: invalid URL, protocol 'foo' not known"),
        ("/dev/null", "The port /dev/null cannot be opened: "),
        ("socket://127.0.0.1:1", "socket://127.0.0.1:1"),
    ],
)
def test_a_port_that_cannot_be_opened_is_said_with_the_reason(monkeypatch, port, sentence):
    monkeypatch.setattr(repl, "OPEN_S", 0.0)
    with pytest.raises(SystemExit, match=r"^ucore: ") as ended:
        cli.main(["install", port])
    assert sentence in ended.value.code
    assert "failed to access" not in ended.value.code


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_what_shows_no_prompt_is_given_up_and_a_virtual_board_is_thought_of(monkeypatch):
    monkeypatch.setattr(repl, "REPL_S", 0.1)
    monkeypatch.setattr(repl, "ANSWER_S", 600.0)  # no read may take as long as a step of the installation
    silent = os.openpty()
    try:
        with pytest.raises(SystemExit, match=r"shows no MicroPython prompt.*virtual board.*needs no installation"):
            cli.main(["install", os.ttyname(silent[1])])
    finally:
        for end in silent:
            os.close(end)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"µcore {__version__}\n"


@pytest.fixture
def private_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where no virtual board of other tests is


def test_without_a_hub_the_boards_are_those_that_are_plugged_in(private_hub, monkeypatch, capsys):
    info = discovery.PortInfo("/dev/ttyACM7", "esp32-abc", "esp32", "usb_jtag", "a chip", "abc")
    monkeypatch.setattr(discovery, "find_boards", lambda: [info])
    cli.main(["boards"])
    assert capsys.readouterr().out.split() == ["esp32-abc", "/dev/ttyACM7", "a", "chip", "free"]


def test_a_board_that_a_hub_holds_is_listed_with_its_users(private_hub, monkeypatch, capsys):
    monkeypatch.setattr(discovery, "find_boards", list)
    monkeypatch.setattr(discovery, "resolve", lambda ref: ref)
    with running_hub(), connection.connect() as hub:
        hub.request("attach_request", {"board": "/dev/scripted", "client": "the notebook a.ipynb"})
        cli.main(["boards"])
    assert "/dev/scripted" in (out := capsys.readouterr().out)
    assert "ready, used by the notebook a.ipynb" in out


def test_without_any_board_the_virtual_one_is_named(private_hub, monkeypatch, capsys):
    monkeypatch.setattr(discovery, "find_boards", list)
    cli.main(["boards"])
    assert "ucore virtual" in capsys.readouterr().out


def test_pipes_are_listed_with_their_rate_and_loss(private_hub, monkeypatch, capsys):
    monkeypatch.setattr(discovery, "resolve", lambda ref: ref)
    cli.main(["pipes"])
    assert capsys.readouterr().out == "No pipe is open.\n"
    with running_hub() as hub, connection.connect() as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a test"})
        board = hub.boards["kitchen"]
        board.open("adc", drops=True)
        board.write(b"aaaabbbb", 4, 1000)
        cli.main(["pipes"])
        out = capsys.readouterr().out
        assert re.search(r"^adc +kitchen +open +1,002 +\d+ frames, \d+ bytes +1,000 \(board\) +0$", out, re.M)
        board.close_pipe(1002)
        cli.main(["pipes"])
        assert "ended: closed" in capsys.readouterr().out


def test_the_token_is_that_of_the_living_hub(private_hub, capsys):
    with pytest.raises(SystemExit, match="No board hub runs"):
        cli.main(["token"])
    with running_hub():
        cli.main(["token"])
        assert capsys.readouterr().out.strip() == statefile.read().token
