"""A virtual board's port behaves like a chip's: its files are its own, boot.py and main.py run, mpremote and a person get the REPL."""

import re
import subprocess
import sys
import time

import pytest
import serial

from ukernel.errors import BoardBusyError, SettingError
from ukernel.virtual.launcher import VirtualBoard
from ukernel.virtual.storage import Storage

pytestmark = pytest.mark.micropython
PATIENCE_S = 30


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_DATA_DIR", str(tmp_path))
    with VirtualBoard("micropython") as board:
        yield board


def mpremote(board, *arguments):
    """What mpremote prints; fails where it does."""
    command = [sys.executable, "-m", "mpremote", "connect", board.port, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_until(line, wanted):
    text, end = b"", time.monotonic() + PATIENCE_S
    while wanted not in text:
        assert time.monotonic() < end, text
        text += line.read(1)
    return text


def test_its_files_are_its_own(board):
    assert mpremote(board, "exec", "import os; print(os.listdir('/'))") == "['boot.py', 'lib']\n"
    tricks = "for path in ('/etc/passwd', '/../etc/passwd', '../../etc/passwd'):\n try: open(path); print('seen')\n except OSError: print('no')"
    assert mpremote(board, "exec", tricks) == "no\n" * 3


SEES = "x = 1\ndef f():\n    global y\n    y = x + 1\n    return x\nprint(f(), y)\n"


def test_functions_of_a_program_see_its_names_wherever_it_runs(board, tmp_path):
    (tmp_path / "sees.py").write_text(SEES)
    assert mpremote(board, "run", str(tmp_path / "sees.py")) == "1 2\n"
    assert mpremote(board, "exec", SEES) == "1 2\n"
    mpremote(board, "fs", "cp", str(tmp_path / "sees.py"), ":main.py")
    with serial.Serial(board.port, timeout=0.1) as line:
        line.write(b"\r")
        read_until(line, b">>> ")
        line.write(b"x = 7\rdef g(): return x\r\r\rg()\r")
        read_until(line, b"7\r\n>>> ")
        line.write(b"\x04")
        read_until(line, b"1 2\n")


def test_mpremote_mounts_a_folder_of_the_computer(board, tmp_path):
    (tmp_path / "module.py").write_text("value = 17\n")
    assert "17" in mpremote(board, "mount", str(tmp_path), "exec", "import module; print(module.value)")


def test_it_says_what_it_is(board):
    assert "1.25" in mpremote(board, "exec", "import os; print(os.uname().release)")


@pytest.mark.parametrize("name", ["system", "getenv", "putenv", "unsetenv", "popen", "errno", "VfsPosix"])
def test_no_name_leads_from_it_to_the_host(board, name):
    assert mpremote(board, "exec", f"import os, vfs; print(hasattr(os, {name!r}), hasattr(vfs, {name!r}))") == "False False\n"


@pytest.mark.parametrize("name", ["termios", "ffi", "jni"])
def test_no_module_leads_from_it_to_the_host(board, name):
    assert mpremote(board, "exec", f"try: import {name}; print('seen')\nexcept ImportError: print('no')") == "no\n"


def test_no_other_way_leads_from_it_to_the_host(board):
    assert mpremote(board, "exec", "import sys; print(hasattr(sys, 'executable'))") == "False\n"
    mounted = "import vfs; print([type(mounted).__name__ for mounted, place in vfs.mount()])"
    assert mpremote(board, "exec", mounted) == "['VfsLfs2']\n"
    local = "import socket\ntry: socket.socket(1); print('seen')\nexcept OSError as error: print(error.errno)"
    assert mpremote(board, "exec", local) == "97\n"  # EAFNOSUPPORT
    chip = (
        "import _virtualchip as chip; print(chip.setting('HOME'), chip.memory('HOME'), len(chip.setting('UCORE_VIRTUAL_ID')))"
    )
    assert mpremote(board, "exec", chip) == "None None 12\n"


def test_its_flash_is_as_small_as_a_chips(board):
    fill = "n = 0\ntry:\n with open('/big', 'w') as f:\n  while True: n += f.write('x' * 4096)\nexcept OSError as e: print(e.errno, n)"
    errno, size = mpremote(board, "exec", fill).split()
    assert errno == "28" and 1_900_000 < int(size) < 2_100_000


def test_mpremote_copies_files_there_and_back(board, tmp_path):
    (tmp_path / "driver.py").write_text("value = 41 + 1\n")
    mpremote(board, "fs", "cp", str(tmp_path / "driver.py"), ":lib/driver.py")
    assert mpremote(board, "exec", "import driver; print(driver.value)") == "42\n"
    assert mpremote(board, "fs", "cat", ":lib/driver.py") == "value = 41 + 1\n"


def test_boot_and_main_run_in_order_at_every_start(board):
    mpremote(board, "exec", "with open('boot.py', 'w') as f: f.write('print(\"first\")')")
    mpremote(board, "exec", "with open('main.py', 'w') as f: f.write('print(\"second\")')")
    with serial.Serial(board.port, timeout=0.1) as line:
        line.write(b"\r\x02\x04")  # the friendly REPL, and a soft reset
        text = read_until(line, b"second")
    assert re.search(rb"MPY: soft reboot\r\n.*first\r?\nsecond", text, re.S)


def test_a_main_that_never_ends_is_interrupted(board):
    mpremote(
        board, "exec", "with open('main.py', 'w') as f: f.write('import time\\nprint(\"busy\")\\nwhile True: time.sleep(1)')"
    )
    with serial.Serial(board.port, timeout=0.1) as line:
        line.write(b"\r\x02\x04")
        read_until(line, b"busy")
    assert mpremote(board, "exec", "print('free')") == "free\n"


def test_a_main_that_fails_says_so_and_the_agent_serves_all_the_same(board):
    mpremote(board, "exec", "with open('main.py', 'w') as f: f.write('1 / 0')")
    with serial.Serial(board.port, timeout=0.1) as line:
        line.write(b"\r\x02\x04")
        text = read_until(line, b"ZeroDivisionError")
        read_until(line, b"\xf7")  # the agent's hello
    assert b'File "main.py", line 1' in text


def test_a_person_gets_a_prompt_with_a_carriage_return(board):
    with serial.Serial(board.port, timeout=0.1) as line:
        read_until(line, b"\xf7")
        line.write(b"\r")
        read_until(line, b">>> ")
        line.write(b"6 * 7\r")
        read_until(line, b"\n42")
        read_until(line, b">>> ")


def test_it_needs_no_installation(board):
    began = time.monotonic()
    command = [sys.executable, "-m", "ukernel.cli", "install", board.port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert "µcore is part of the board's firmware: nothing is copied" in done.stdout
    assert "copying" not in done.stdout
    assert time.monotonic() - began < 5  # within 2 s on a computer that does nothing else
    assert mpremote(board, "exec", "import os; print(os.listdir('/lib'))") == "[]\n"


def test_a_file_that_was_left_open_is_written_by_a_soft_reset(board):
    mpremote(board, "exec", "open('kept', 'w').write('all of it')")
    assert mpremote(board, "fs", "cat", "kept") == "all of it"


def test_a_board_with_a_name_finds_its_files_again_and_can_be_emptied(tmp_path):
    folders = [str(tmp_path / str(number)) for number in range(3)]
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UCORE_DATA_DIR", str(tmp_path / "data"))
        first = Storage(folders[0], "kitchen")
        with open(first.environment["UCORE_VIRTUAL_FLASH"], "r+b") as file:
            file.write(b"remembered")
        with pytest.raises(BoardBusyError, match="kitchen runs already"):
            Storage(folders[1], "kitchen")
        first.close()
        second = Storage(folders[1], "kitchen")
        with open(second.environment["UCORE_VIRTUAL_FLASH"], "rb") as file:
            assert file.read(10) == b"remembered"
        second.close()
        third = Storage(folders[2], "kitchen", erase=True)
        with open(third.environment["UCORE_VIRTUAL_FLASH"], "rb") as file:
            assert file.read(10) == bytes(10)
        third.close()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 33, ".hidden"])
def test_what_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(SettingError, match="no name for a virtual board"):
        Storage(str(tmp_path), name)
