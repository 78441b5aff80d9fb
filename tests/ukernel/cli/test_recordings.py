"""`ucore record`, `recordings` and `recover`."""

import json
import os
import signal
import subprocess
import sys

import pytest
from patience import PATIENCE_S, wait_until
from recordingfile import Contents
from scripted import running_hub

from ukernel import cli
from ukernel.cli import recordings as commands
from ukernel.client import connection
from ukernel.recordings import recordings


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A scripted board, on a real hub."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "run" / "hub.json"))
    monkeypatch.delenv("UCORE_PIPE_PORT", raising=False)
    monkeypatch.delenv("UCORE_BOARD", raising=False)
    with running_hub() as hub, connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a test"})
        yield hub.boards["kitchen"]


def run(capsys, *arguments):
    """Run a command; returns its exit code, and what it printed."""
    try:
        cli.main(list(arguments))
        code = 0
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()


def test_it_records_in_the_foreground_until_a_signal_comes(board, tmp_path):
    path = tmp_path / "x.mcap"
    code = "from ukernel.cli import main; main()"
    arguments = ["record", "adc", "-o", str(path), "-f", "<h", "--names", "volts"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: recordings() or process.poll() is not None, "its beginning")
        board.open("adc")
        board.write(b"aabb", 2, 0)
        wait_until(lambda: recordings()[0].state.frames == 2, "the frames")
        (line,) = [line for line in [process.stderr.readline()] if line]
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=PATIENCE_S)[1]
    assert "adc to" in line and "waiting" in line
    assert process.returncode == 0 and f"Recorded adc to {path}: ended; 2 frames" in rest
    contents = Contents(path)
    assert contents.is_finished and contents.data() == [b"aa", b"bb"] and contents.runs[0][0].names == ("volts",)


def test_it_records_in_the_background_is_listed_and_stopped(board, tmp_path, capsys):
    path = tmp_path / "x.mcap"
    code, id, said = run(capsys, "record", "adc", "-o", str(path), "--detach")
    assert code == 0 and "--stop" in said
    board.open("adc")
    board.write(b"ab", 1, 0)
    wait_until(lambda: recordings()[0].state.frames == 2, "the frames")
    code, out, _ = run(capsys, "recordings")
    assert code == 0 and out.split("\n")[0].split()[:3] == ["id", "pipes", "boards"] and str(path) in out
    code, out, _ = run(capsys, "recordings", "--json")
    (about,) = json.loads(out)
    assert (about["id"], about["frames"], about["lost"], about["state"]) == (id.strip(), 2, 0, "recording")
    code, out, _ = run(capsys, "status")
    assert code == 0 and f"Recording {id.strip()}: adc to {path}: recording" in out
    code, out, said = run(capsys, "recordings", "--stop", str(path))
    assert code == 0 and "Stopped: adc" in said and Contents(path).is_finished
    assert run(capsys, "recordings")[1] == "Nothing is being recorded.\n"
    code, out, _ = run(capsys, "recordings", "--all")
    assert code == 0 and "ended" in out


def test_what_is_not_recorded_cannot_be_stopped(board, capsys):
    code, _, said = run(capsys, "recordings", "--stop", "nothing")
    assert code == 2 and "Nothing is being recorded as 'nothing'. `ucore recordings` lists what is." in said
    assert run(capsys, "recordings", "--stop", "all")[0] == 0


def test_a_file_that_cannot_be_has_the_exit_code_of_files(board, tmp_path, capsys):
    code, _, said = run(capsys, "record", "adc", "-o", str(tmp_path / "nowhere" / "x.mcap"))
    assert code == 6 and "there is no folder" in said
    code, _, said = run(capsys, "record", "adc", "-o", str(tmp_path / "x.mcap"), "-f", "<zz")
    assert code == 6 and "is not a struct format" in said and os.listdir(tmp_path) == ["run"]


def test_a_torn_file_is_mended(board, tmp_path, capsys):
    path = tmp_path / "x.mcap"
    run(capsys, "record", "adc", "-o", str(path), "--seconds", "0.01")
    path.write_bytes(path.read_bytes()[:-5])
    code, out, _ = run(capsys, "recover", str(path))
    assert code == 0 and "is mended" in out
    code, out, _ = run(capsys, "recover", str(path), "--json")
    assert code == 0 and json.loads(out)["was_whole"] is True
    code, _, said = run(capsys, "recover", str(tmp_path / "missing"))
    assert code == 6 and "there is no such file" in said


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (("<f",), {"*": "<f"}),
        (("adc=<f", "<h", "t*=<hh"), {"adc": "<f", "t*": "<hh", "*": "<h"}),
        (("=hh",), {"*": "=hh"}),
        (("adc==hh",), {"adc": "=hh"}),
    ],
)
def test_a_format_is_of_one_pipe_or_of_all(values, found):
    assert commands._by_pipe(values) == found
    assert list(commands._by_pipe(values))[-1] == list(found)[-1]
