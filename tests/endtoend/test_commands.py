"""The commands of `ucore`, run as a user runs them: as processes, one after the other, on a virtual board."""

import json
import os
import select
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from patience import PATIENCE_S, wait_until

from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

TICKS = "import time\nwhile True:\n    print('tick')\n    time.sleep(0.02)\n"
COUNTS = "import struct\ncount = 0\ndef read():\n    global count\n    count += 1\n    return float(count)\nucore.every(2, read, pipe='counts');\n"
READ_ONLY = """
import os
class ReadOnly:
    def mount(self, readonly, mkfs): pass
    def umount(self): pass
    def stat(self, path):
        if path.strip('/'): raise OSError(2)
        return (0x4000,) + (0,) * 9
    def ilistdir(self, path): return iter(())
    def open(self, path, mode): raise OSError(30)
    def mkdir(self, path): raise OSError(30)
    def remove(self, path): raise OSError(30)
    def rename(self, old, new): raise OSError(30)
    def chdir(self, path): pass
os.mount(ReadOnly(), '/ro')
"""


class Shell:
    """A folder, a hub of its own and a board; `ucore` in it."""

    def __init__(self, folder, board):
        self.folder = folder
        self.board = board
        self.environment = {
            **os.environ,
            "UCORE_STATE_PATH": str(folder / "hub.json"),
            "UCORE_DATA_DIR": str(folder / "data"),
            "UCORE_BOARD": board,
            "PYTHONWARNINGS": "error",
        }
        self.environment.pop("UCORE_HUB_LINGER_S", None)  # another test's hubs are in a hurry

    def start(self, *arguments, **options):
        command = [sys.executable, "-m", "ukernel.cli", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)

    def run(self, *arguments, text=None, code=0, **variables):
        """Run a command; return what it prints to stdout, having looked at the exit code."""
        done = self.end(*arguments, text=text, **variables)
        assert done.returncode == code, done.stderr
        return done.stdout

    def end(self, *arguments, text=None, **variables):
        command = [sys.executable, "-m", "ukernel.cli", *arguments]
        feed = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
        environment = {**self.environment, **variables}
        return subprocess.run(
            command, cwd=self.folder, env=environment, text=True, capture_output=True, timeout=PATIENCE_S, **feed
        )

    def fail(self, *arguments, code, **variables):
        """Run a command that fails with this exit code; return the sentence on stderr, having looked that it is one."""
        done = self.end(*arguments, **variables)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        *told, sentence = done.stderr.splitlines()
        assert sentence.startswith("ucore: "), done.stderr
        return sentence

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name


@pytest.fixture(scope="module")
def shell(tmp_path_factory, micropython):
    with VirtualBoard("micropython") as virtual:
        shell = Shell(tmp_path_factory.mktemp("shell"), virtual.port)
        yield shell
        shell.run("stop")
        wait_until(lambda: not (shell.folder / "hub.json").exists(), "the hub's end")


@pytest.fixture(autouse=True)
def _no_program_runs(shell):
    yield
    shell.run("interrupt")


# --- programs ---------------------------------------------------------------------------------------------------


def test_a_program_runs_with_its_arguments_and_its_output_is_that_of_the_command(shell):
    shell.write("greet.py", "import sys\nprint('hello', sys.argv[1:])\n")
    assert shell.run("run", "greet.py", "a", "--b") == "hello ['a', '--b']\n"


def test_a_program_comes_from_stdin_too(shell):
    assert shell.run("run", "-", text="print(6 * 7)") == "42\n"


def test_variables_stay_from_one_command_to_the_next(shell):
    shell.run("exec", "kept = 'kept'")
    assert shell.run("eval", "kept") == "'kept'\n"


def test_values_are_exact_and_as_json_they_are_for_programs(shell):
    assert shell.run("eval", "1 / 3") == "0.3333333333333333\n"
    assert shell.run("eval", "-1") == "-1\n"
    assert json.loads(shell.run("eval", "--json", "{'a': (1, b'\\x01', None, float('inf'))}")) == {"a": [1, "01", None, "inf"]}


def test_a_value_that_cannot_travel_is_shown_as_the_board_writes_it(shell):
    assert shell.run("eval", "object()") == "<object>\n"


def test_an_error_of_the_boards_program_is_shown_with_its_own_lines_and_ends_with_1(shell):
    shell.write("fails.py", "x = 1\nx / 0\n")
    done = shell.end("run", "fails.py")
    assert done.returncode == 1
    assert 'File "fails.py", line 2' in done.stderr and "x / 0" in done.stderr
    assert "ukernel" not in done.stderr


def test_an_error_in_a_function_is_shown_with_its_line_after_another_hub_has_come(shell):
    shell.write("deep.py", "def deep():\n    return 1 / 0\ndeep()\n")
    shell.run("eval", "1")
    shell.run("stop")
    wait_until(lambda: not (shell.folder / "hub.json").exists(), "the hub's end")
    for _ in range(2):
        err = shell.end("run", "deep.py").stderr
        assert 'File "deep.py", line 2, in deep' in err and "return 1 / 0" in err
        assert err.splitlines()[-1] == "ZeroDivisionError: divide by zero"  # at the end, as Python has it


def test_a_program_may_end_itself(shell):
    assert shell.run("exec", "import sys; print('done'); sys.exit()") == "done\n"
    shell.write("ends.py", "import sys\nsys.exit(0)\n")
    shell.run("run", "ends.py")
    assert "SystemExit: 3" in shell.end("exec", "raise SystemExit(3)").stderr
    shell.run("exec", "raise SystemExit(3)", code=1)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_ends_nothing(shell, closed):
    command = f'"{sys.executable}" -m ukernel.cli exec "print(42)" {closed}'
    done = subprocess.run(command, shell=True, cwd=shell.folder, env=shell.environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("" if closed == ">&-" else "42\n")
    command = f'"{sys.executable}" -m ukernel.cli cat /nothing {closed}'
    done = subprocess.run(command, shell=True, cwd=shell.folder, env=shell.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (6, "")


def test_a_program_that_takes_too_long_is_interrupted(shell):
    assert "0.3 s" in shell.fail("exec", "--timeout", "0.3", "while True: pass", code=124)
    assert shell.run("eval", "1") == "1\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_and_the_boards_program(shell, number, code):
    shell.write("ticks.py", TICKS)
    with shell.start("run", "ticks.py") as process:
        assert process.stdout.readline() == "tick\n"
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert json.loads(shell.run("status", "--json"))["boards"][0]["running"] == ""


def test_a_program_whose_output_nobody_reads_any_more_is_interrupted_and_that_is_no_error(shell):
    shell.write("ticks.py", TICKS)
    with shell.start("run", "ticks.py") as process:
        assert process.stdout.readline() == "tick\n"
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""
    assert json.loads(shell.run("status", "--json"))["boards"][0]["running"] == ""


def test_who_waits_for_another_ones_program_is_told_whose_it_is(shell):
    shell.write("ticks.py", TICKS)
    with shell.start("run", "ticks.py") as process:
        assert process.stdout.readline() == "tick\n"
        with shell.start("eval", "1") as waiting:
            assert f"(process {process.pid})" in waiting.stderr.readline()
            assert f"(process {process.pid})" in shell.run("interrupt")
            process.communicate(timeout=PATIENCE_S)
            assert waiting.communicate(timeout=PATIENCE_S)[0] == "1\n"


def test_input_of_the_board_comes_from_stdin_and_its_end_is_told(shell):
    assert shell.run("eval", "input()", text="yes\n") == "'yes'\n"
    assert "stdin has ended" in shell.fail("eval", "input()", code=1)


# --- files ------------------------------------------------------------------------------------------------------


def test_files_go_to_the_board_and_come_back_byte_for_byte(shell):
    data = bytes(range(256)) * 50
    shell.write("tables/ä b.bin", data)
    shell.write("tables/empty.txt", b"")
    shell.run("put", "tables", "/data/")
    shell.run("get", "/data/tables", "back")
    assert (shell.folder / "back" / "ä b.bin").read_bytes() == data
    assert (shell.folder / "back" / "empty.txt").read_bytes() == b""
    assert json.loads(shell.run("fs", "stat", "--json", ":/data/tables/ä b.bin"))["size"] == len(data)


def test_files_are_printed_renamed_copied_and_removed(shell):
    shell.write("note.txt", "a note\n")
    shell.run("put", "note.txt", "/notes/one.txt")
    shell.run("fs", "cp", "/notes/one.txt", "/notes/two.txt")
    shell.run("fs", "mv", "/notes/two.txt", "/notes/three.txt")
    assert shell.run("cat", "/notes/one.txt", "/notes/three.txt") == "a note\na note\n"
    shell.run("rm", "/notes/one.txt")
    assert [row["name"] for row in json.loads(shell.run("ls", "--json", "/notes"))] == ["three.txt"]
    assert "three.txt" in shell.run("fs", "tree", "/notes")
    assert [row["path"] for row in json.loads(shell.run("fs", "tree", "--json", "/notes"))] == ["/notes/three.txt"]
    assert "Invalid argument" in shell.fail("fs", "mv", "/notes", "/notes/inner", code=6)
    assert shell.run("cat", "/notes/three.txt") == "a note\n"
    shell.run("rm", "-r", "/notes")
    shell.fail("ls", "/notes", code=6)


def test_a_folder_is_synced_and_only_what_differs_is_sent(shell):
    shell.write("firmware/main.txt", "one")
    shell.write("firmware/lib/a.txt", "a")
    assert set(json.loads(shell.run("sync", "--json", "firmware", "/app"))["put"]) == {"lib", "main.txt", "lib/a.txt"}
    shell.write("firmware/main.txt", "two")
    planned = json.loads(shell.run("sync", "--dry-run", "--json", "firmware", "/app"))
    assert (planned["put"], planned["unchanged"]) == (["main.txt"], 1)
    assert shell.run("sync", "firmware", "/app") == "+ main.txt\n"
    assert shell.run("cat", "/app/main.txt") == "two"


def test_a_board_is_backed_up_and_restored(shell):
    shell.write("kept.txt", "kept")
    shell.run("put", "kept.txt", "/kept.txt")
    shell.run("fs", "backup", "all.zip")
    assert zipfile.ZipFile(shell.folder / "all.zip").read("files/kept.txt") == b"kept"
    shell.run("rm", "/kept.txt")
    assert "+ kept.txt" in shell.run("fs", "restore", "all.zip")
    assert shell.run("cat", "/kept.txt") == "kept"


def test_a_file_is_changed_in_the_editor(shell):
    shell.write("edited.txt", "old\n")
    shell.run("put", "edited.txt", "/edited.txt")
    editor = shell.write("editor.py", "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\npath.write_text('new')\n")
    shell.run("fs", "edit", "/edited.txt", EDITOR=f"{sys.executable} {shell.folder / editor}")
    assert shell.run("cat", "/edited.txt") == "new"
    assert "stays as it was" in shell.fail("fs", "edit", "/edited.txt", code=1, EDITOR="false")
    assert "nothing-like-it" in shell.fail("fs", "edit", "/edited.txt", code=1, EDITOR="nothing-like-it")
    assert shell.run("cat", "/edited.txt") == "new"


def test_a_folder_is_kept_in_step_until_the_command_ends(shell):
    pytest.importorskip("watchfiles")
    shell.write("watched/a.txt", "a")
    with shell.start("fs", "watch", "watched", "/watched") as process:
        assert process.stdout.readline() == "+ a.txt\n"
        wait_until(lambda: shell.write("watched/b.txt", "b") and _has_line(process.stdout), "the second sync")
        assert process.stdout.readline() == "+ b.txt\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert shell.run("cat", "/watched/b.txt") == "b"


def _has_line(stream):
    return bool(select.select([stream], [], [], 0.5)[0])


def test_a_folder_is_mounted_until_the_command_ends(shell):
    shell.write("shared/shared_module.py", "value = 41\n")
    with shell.start("mount", "shared") as process:
        assert "/remote" in process.stderr.readline()
        assert shell.run("eval", "__import__('shared_module').value") == "41\n"
        assert "Read-only" in shell.fail("put", "shared/shared_module.py", "/remote/other.py", code=6)
        assert "mounted" in shell.fail("mount", "shared", code=4)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    shell.fail("ls", "/remote", code=6)


def test_a_file_that_has_no_room_leaves_what_was_there(shell):
    shell.write("big.bin", b"old")
    shell.run("put", "big.bin", "/big.bin")
    (total,) = json.loads(shell.run("fs", "df", "--json"))
    shell.write("big.bin", os.urandom(total["size"]))
    assert "no room" in shell.fail("put", "big.bin", "/big.bin", code=6)
    assert shell.run("cat", "/big.bin") == "old"
    assert [row for row in json.loads(shell.run("ls", "--json", "/")) if "big" in row["name"]] == [
        {"path": "/big.bin", "name": "big.bin", "folder": False, "size": 3}
    ]


def test_a_file_system_for_reading_only_is_told(shell):
    shell.write("note.txt", "a note\n")
    shell.run("exec", READ_ONLY)
    try:
        assert "Read-only file system" in shell.fail("put", "note.txt", "/ro/note.txt", code=6)
    finally:
        shell.run("exec", "import os; os.umount('/ro')")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cat", "/nothing"], 6, "/nothing"),
        (["get", "/nothing"], 6, "/nothing"),
        (["get", "/boot.py", "nowhere/"], 6, "nowhere/"),
        (["cat", "/"], 6, "Is a directory on the board (/)"),
        (["rm", "-r", ""], 6, "an empty path"),
        (["fs", "mv", "/nothing", "/there"], 6, "No such file or directory on the board (/nothing)."),
        (["fs", "mkdir", "/boot.py"], 6, "File exists"),
        (["fs", "cp", "note.txt", "/x"], 2, "`ucore put note.txt /x`"),
        (["eval", " "], 2, "empty"),
        (["pipes", "-b", "nowhere"], 3, "nowhere"),
        (["mip", "install", "./nothing", "./note"], 1, "nothing"),
        (["get", "/boot.py", "/dev/null"], 6, "stays what it is"),
        (["put", "nothing.txt"], 6, "nothing.txt"),
        (["rm", "/nothing"], 6, "/nothing"),
        (["cat", "../../etc/passwd"], 2, "leads out"),
        (["put", "note.txt", "/a/../../b"], 2, "leads out"),
        (["sync", "nothing"], 6, "nothing"),
        (["mount", "nothing"], 6, "nothing"),
        (["mount", "note.txt"], 6, "note.txt"),
        (["fs", "watch", "nothing"], 6, "nothing"),
        (["fs", "restore", "nothing.zip"], 6, "nothing.zip"),
        (["fs", "restore", "note.txt"], 1, "note.txt"),
        (["run", "nothing.py"], 6, "nothing.py"),
        (["run", "binary.py"], 2, "binary.py"),
        (["fs"], 2, "Missing command"),
        (["fs", "put"], 2, "Missing argument"),
        (["fly"], 2, "fly"),
        (["boads"], 2, "Did you mean 'boards'?"),
        (["ls", "--heaps"], 2, "--heaps"),
        (["wait", "--timeout", "soon"], 2, "soon"),
        (["pipe", "read", "adc", "--format", "zz"], 2, "zz"),
        (["pipe", "read", "x" * 100], 2, "64 bytes"),
        (["pipe", "read", "adc", "-o", "nowhere/x.csv"], 6, "nowhere"),
        (["pipe", "read", "adc", "--raw", "--format", "<f"], 2, "choose one"),
        (["mip", "install"], 2, "mip install"),
        (["mip", "install", "-r", "nothing.txt"], 6, "nothing.txt"),
        (["mip", "remove", "nothing"], 1, "nothing"),
        (["name", "a b"], 2, "a b"),
        (["ls", "-b", "nowhere"], 3, "nowhere"),
        (["-b", "socket://127.0.0.1:1", "eval", "1"], 3, "socket://127.0.0.1:1"),
        (["detach", "nowhere"], 3, "nowhere"),
        (["wait", "-b", "nowhere", "--timeout", "0.1"], 124, "nowhere"),
        (["logs", "-n", "-1"], 2, "-1"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(shell, arguments, code, said):
    shell.write("note.txt", "a note\n")
    shell.write("binary.py", bytes(range(256)))
    shell.run("eval", "1")  # the hub has the board
    assert said in shell.fail(*arguments, code=code)


# --- pipes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def counting(shell):
    shell.write("counts.py", COUNTS)
    shell.run("run", "counts.py")
    yield
    shell.run("exec", "ucore.close_pipe('counts')")


def test_a_pipe_is_printed_as_numbers_and_its_rate_is_told(shell, counting):
    done = shell.end("pipe", "read", "counts", "-n", "5")
    numbers = [float(line) for line in done.stdout.splitlines()]
    assert numbers == [numbers[0] + step for step in range(5)]
    assert "counts: 5 frames" in done.stderr and "none lost" in done.stderr


def test_a_pipe_comes_as_csv_json_lines_and_bytes(shell, counting):
    header, first = shell.run("pipe", "read", "counts", "-n", "1", "--csv", "--header", "--times").splitlines()
    assert header == "time,error,value" and len(first.split(",")) == 3
    rows = [json.loads(line) for line in shell.run("cat-pipe", "counts", "-n", "2", "--jsonl", "-t").splitlines()]
    assert [set(row) for row in rows] == [{"time", "error", "value"}] * 2
    shell.run("pipe", "read", "counts", "-n", "3", "--raw", "-o", "raw.bin")
    assert (shell.folder / "raw.bin").stat().st_size == 12


def test_a_reader_that_leaves_ends_the_command_without_a_word_of_error(shell, counting):
    with shell.start("pipe", "read", "counts", "--quiet") as process:
        float(process.stdout.readline())
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""


def test_frames_that_do_not_fit_the_format_are_counted(shell, counting):
    done = shell.end("pipe", "read", "counts", "-n", "2", "--format", "<hh")
    assert done.stdout and done.returncode == 0
    done = shell.end("pipe", "read", "counts", "-n", "2", "--format", "<d")
    assert done.stdout == "" and "2 of them were left out" in done.stderr


def test_the_list_of_pipes_is_a_table_and_json(shell, counting):
    assert "counts" in shell.run("pipes")
    (row,) = [row for row in json.loads(shell.run("pipes", "--json", "-b", shell.board)) if row["open"]]
    assert row["name"] == "counts" and row["lost"] == 0


def test_the_end_of_a_pipe_ends_the_command(shell, counting):
    with shell.start("pipe", "read", "counts") as process:
        process.stdout.readline()
        shell.run("exec", "ucore.close_pipe('counts')")
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


# --- boards and the hub -----------------------------------------------------------------------------------------


def test_what_a_board_is_and_what_the_hub_has(shell):
    about = json.loads(shell.run("info", "--json"))
    assert about["python"] == "micropython" and about["memory_free"] > 0
    status = json.loads(shell.run("status", "--json"))
    assert status["running"] and [board["name"] for board in status["boards"]] == [about["name"]]
    assert about["name"] in shell.run("boards") and about["port"] in shell.run("-b", about["name"], "info")


def test_a_reset_forgets_variables_and_a_hard_one_boots_the_chip(shell):
    boot = "__import__('machine').reset_cause()"
    shell.run("exec", "kept = 1")
    shell.run("reset")
    assert shell.end("eval", "kept").returncode == 1
    shell.run("reset", "--hard")
    assert shell.run("eval", boot) == "2\n"  # as after machine.reset()


def test_wait_says_when_a_board_is_there(shell):
    assert shell.run("wait", "--timeout", "30").strip() == json.loads(shell.run("info", "--json"))["name"]


def test_a_port_is_given_back_and_taken_again_when_it_is_asked_for(shell):
    shell.run("eval", "1")
    assert shell.board in shell.run("detach")
    assert json.loads(shell.run("status", "--json"))["boards"] == []
    port = os.open(shell.board, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(port, b"\x03")  # another program may write there
    finally:
        os.close(port)
    assert shell.run("eval", "2") == "2\n"


def test_a_board_that_runs_a_program_is_given_back_by_force_only(shell):
    shell.write("ticks.py", TICKS)
    with shell.start("run", "ticks.py") as process:
        assert process.stdout.readline() == "tick\n"
        assert "runs a cell" in shell.fail("detach", code=4)
        shell.run("detach", "--force")
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5 and "detached" in err


def test_a_port_that_another_program_has_is_busy(shell):
    import fcntl
    import termios

    shell.run("eval", "1")
    shell.run("detach")
    port = os.open(shell.board, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(port, termios.TIOCEXCL)
        assert "used by" in shell.fail("eval", "1", code=4)
        waiting = shell.start("wait")
        assert "used by" in waiting.stderr.readline()
    finally:
        fcntl.ioctl(port, termios.TIOCNXCL)
        os.close(port)
    assert waiting.communicate(timeout=PATIENCE_S)[0].strip() == json.loads(shell.run("info", "--json"))["name"]
    assert shell.run("eval", "1") == "1\n"


def test_a_board_that_hangs_is_told_and_is_back_for_the_next_command(shell):
    shell.write("hangs.py", "@micropython.native\ndef hang():\n    while True: pass\nhang()\n")
    assert "does not answer" in shell.fail("run", "--timeout", "1", "hangs.py", code=5)
    assert shell.run("eval", "1") == "1\n"


def test_packages_are_installed_listed_frozen_and_removed(shell):
    shell.write("driver/__init__.py", "version = 3\n")
    shell.run("mip", "install", "./driver")
    assert shell.run("eval", "__import__('driver').version") == "3\n"
    (row,) = json.loads(shell.run("mip", "list", "--json"))
    assert (row["name"], row["state"]) == ("driver", "ok")
    frozen = shell.run("mip", "freeze")
    shell.run("mip", "remove", "driver")
    assert json.loads(shell.run("mip", "list", "--json")) == []
    shell.write("pins.txt", frozen)
    shell.run("mip", "install", "-r", "pins.txt")
    assert [one["name"] for one in json.loads(shell.run("mip", "list", "--json"))] == ["driver"]


def test_the_log_is_there_without_a_file_for_it(shell):
    shell.run("eval", "1")
    log = shell.run("logs", "-n", "1000")
    assert "listens" in log and "ready: virtual board" in log and "Ready(" not in log
    assert {"number", "time", "level", "text"} == set(json.loads(shell.run("logs", "--json"))[0])


def test_the_script_among_the_examples_measures_without_a_notebook(shell):
    script = Path(__file__).parents[2] / "examples" / "script.py"
    command = [sys.executable, str(script), "--seconds", "2", "--output", "measured.csv"]
    done = subprocess.run(command, cwd=shell.folder, env=shell.environment, text=True, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    rows = (shell.folder / "measured.csv").read_text().splitlines()
    assert rows[0] == "seconds,volts" and len(rows) > 1
    assert 0.0 < float(rows[1].split(",")[1]) < 3.3
    assert "samples" in done.stdout
