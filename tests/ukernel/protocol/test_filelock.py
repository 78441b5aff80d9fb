import subprocess
import sys
import threading

import pytest

from ukernel.protocol.filelock import FileLock

HOLDER = """
import pathlib, sys
from ukernel.protocol.filelock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
assert lock.try_acquire()
print("held", flush=True)
input()
lock.release()
print("released", flush=True)
input()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def holder(path):
    """Another process, which holds the lock."""
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_that_another_process_holds_is_not_taken_until_it_is_released(path, holder):
    lock = FileLock(path)
    assert not lock.try_acquire()
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert lock.try_acquire()
    lock.release()


def test_a_lock_goes_with_its_process_even_by_sigkill(path, holder):
    holder.kill()
    holder.wait()
    lock = FileLock(path)
    assert lock.try_acquire()
    lock.release()


def test_who_waits_gets_the_lock_when_it_is_released(path):
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    waiting = threading.Thread(target=second.acquire, daemon=True)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    first.release()
    waiting.join(20)
    assert not waiting.is_alive()
    assert not first.try_acquire()
    second.release()


def test_two_objects_in_one_process_do_not_share_a_lock(path):
    first, second = FileLock(path), FileLock(path)
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    first.release()
    assert second.try_acquire()
    second.release()


def test_a_folder_that_is_not_there_is_an_error(path):
    with pytest.raises(FileNotFoundError):
        FileLock(path.parent / "none" / "lock").acquire()
