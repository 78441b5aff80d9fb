"""The state file: written by the living hub alone, believed only while that hub lives."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from ukernel.errors import HubDeniedError
from ukernel.protocol import statefile

TOKEN = "0f" * 32
HERE = statefile.HubInfo(os.getpid(), "127.0.0.1", 4242, TOKEN, "0.1.0")

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "run" / "hub.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    return path


@pytest.fixture
def state_file(path):
    state_file = statefile.StateFile()
    assert state_file.acquire()
    yield state_file
    state_file.release()


def test_what_is_published_can_be_read(state_file):
    assert statefile.read() is None
    state_file.write(HERE)
    assert statefile.read() == HERE


@posix
def test_only_its_user_can_read_it(state_file, path):
    state_file.write(HERE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@posix
def test_not_even_for_a_moment_under_a_generous_umask(state_file, path):
    before = os.umask(0)
    try:
        state_file.write(HERE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_whose_hub_has_gone_is_stale(state_file, path):
    state_file.write(HERE)
    state_file.release()
    assert path.exists()
    assert statefile.read() is None


def test_a_killed_hub_leaves_a_stale_file(path):
    code = (
        "from ukernel.protocol import statefile; state_file = statefile.StateFile(); state_file.acquire(); "
        f"state_file.write(statefile.HubInfo(1, '127.0.0.1', 4242, {TOKEN!r}, '0.1.0')); print('up', flush=True); input()"
    )
    hub = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with hub:
        assert hub.stdout.readline().strip() == b"up"
        assert statefile.read().port == 4242
        os.kill(hub.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    assert path.exists()
    assert statefile.read() is None
    state_file = statefile.StateFile()
    assert state_file.acquire()  # nothing is in the next hub's way,
    assert statefile.read() is None  # and its lock does not vouch for what the killed one has left
    state_file.release()


@posix
def test_a_hub_that_leaves_leaves_nothing(state_file, path):
    state_file.write(HERE)
    state_file.remove()
    state_file.release()
    assert list(path.parent.iterdir()) == []


@posix
def test_a_lock_on_a_file_that_was_removed_meanwhile_is_worth_nothing(state_file, path, monkeypatch):
    real_lock, tries = statefile.try_lock, []

    def leave_just_before(fd, shared=False):
        tries.append(fd)
        if len(tries) == 1:
            state_file.release()  # the file that `fd` stands for is gone, and its lock free
        return real_lock(fd, shared)

    monkeypatch.setattr(statefile, "try_lock", leave_just_before)
    second = statefile.StateFile()
    assert second.acquire()
    assert len(tries) > 1
    second.write(HERE)
    assert not statefile.StateFile().acquire()
    second.release()


def test_sweeping_removes_what_a_killed_hub_has_left_and_nothing_else(state_file, path):
    state_file.write(HERE)
    statefile.remove_stale()
    assert statefile.read() == HERE
    state_file.release()
    statefile.remove_stale()
    assert not path.exists()
    statefile.remove_stale()


def test_two_hubs_cannot_hold_it(state_file):
    state_file.write(HERE)
    assert not statefile.StateFile().acquire()


def test_a_hub_waits_for_one_that_is_about_to_leave(state_file, monkeypatch):
    naps = []

    def leave_meanwhile(_seconds):
        naps.append(1)
        state_file.release()

    monkeypatch.setattr(statefile.time, "sleep", leave_meanwhile)
    second = statefile.StateFile()
    assert second.acquire()
    assert naps
    second.release()


def test_a_hub_removes_its_own_file_only(state_file, path):
    state_file.write(HERE)
    path.write_text("another hub's")
    state_file.remove()
    assert path.read_text() == "another hub's"
    state_file.write(HERE)
    state_file.remove()
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format":2}',
        '{"format":1,"pid":1}',
        '{"format":1,"pid":1,"host":"127.0.0.1","port":"x","token":"' + TOKEN + '","build":"1"}',
        '{"format":1,"pid":1,"host":"127.0.0.1","port":70000,"token":"' + TOKEN + '","build":"1"}',
        '{"format":1,"pid":1,"host":"127.0.0.1","port":7000,"token":"short","build":"1"}',
        '{"format":1,"pid":1,"host":"127.0.0.1","port":7000,"token":"' + TOKEN + '","build":"1","more":1}',
        "\udcff",
    ],
)
def test_a_garbled_file_is_no_hub(state_file, path, text):
    state_file.write(HERE)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert statefile.read() is None


@posix
def test_a_file_that_others_can_write_is_not_believed(state_file, path):
    state_file.write(HERE)
    path.chmod(0o622)
    with pytest.raises(HubDeniedError, match="another user"):
        statefile.read()


@posix
@pytest.mark.parametrize("mode", [0o777, 0o707, 0o703])
def test_a_folder_that_others_can_write_in_is_refused_with_what_to_do(path, mode):
    path.parent.mkdir()
    path.parent.chmod(mode)
    with pytest.raises(HubDeniedError, match="UCORE_STATE_PATH"):
        statefile.StateFile().acquire()
    assert not list(path.parent.iterdir())


@posix
@pytest.mark.parametrize("mode", [0o755, 0o775, 0o1777])
def test_in_a_folder_that_was_there_the_file_alone_is_closed(path, mode):
    path.parent.mkdir()
    path.parent.chmod(mode)
    state_file = statefile.StateFile()
    assert state_file.acquire()
    state_file.write(HERE)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.with_name("hub.json.lock").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == mode & 0o777 | mode & 0o1000
    state_file.release()


@posix
def test_a_lock_is_not_made_through_somebody_elses_link(path, tmp_path):
    path.parent.mkdir()
    path.with_name("hub.json.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        statefile.StateFile().acquire()
    assert not (tmp_path / "victim").exists()


def _make(path, kind):
    """Put something else in the place of a file of the hub's."""
    path.parent.mkdir(exist_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "link":
        (path.parent / "elsewhere").touch()
        path.symlink_to(path.parent / "elsewhere")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/nowhere/at/all")


@posix
@pytest.mark.parametrize("kind", ["FIFO", "link", "folder", "link to nothing"])
def test_what_is_no_file_is_refused_at_once_by_all_who_look(path, kind):
    _make(path, kind)
    for look in (statefile.read, statefile.find, statefile.StateFile().acquire):
        with pytest.raises(HubDeniedError, match=f"is a .*{kind.split()[0]}, where the board hub keeps a file"):
            look()


@posix
@pytest.mark.parametrize("kind", ["FIFO", "link", "folder"])
def test_a_hub_does_not_use_what_is_no_file_as_its_lock(path, kind):
    _make(path.with_name("hub.json.lock"), kind)
    assert not statefile.is_held()
    with pytest.raises((OSError, HubDeniedError)):
        statefile.StateFile().acquire()


def test_a_state_file_that_is_removed_or_overwritten_is_written_again(state_file, path):
    state_file.write(HERE)
    for damage in (path.unlink, lambda: path.write_text("nonsense")):
        damage()
        assert statefile.read() is None
        assert statefile.is_held()
        assert state_file.renew()
        assert statefile.read() == HERE
        assert not path.stat().st_mode & 0o077


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_second_hub_comes_while_the_first_ones_lock_is_removed(state_file, path):
    state_file.write(HERE)
    path.with_name("hub.json.lock").unlink()
    assert statefile.read() == HERE
    assert not statefile.StateFile().acquire()
    assert state_file.renew()
    assert not statefile.StateFile().acquire()
    assert statefile.read() == HERE


@posix
def test_a_hub_knows_that_another_one_took_its_place_and_leaves_its_files_alone(state_file, path):
    state_file.write(HERE)
    path.unlink()
    path.with_name("hub.json.lock").unlink()
    second = statefile.StateFile()
    assert second.acquire()
    second.write(HERE._replace(pid=1))
    assert not state_file.renew()
    state_file.remove()
    state_file.release()
    assert statefile.read() == HERE._replace(pid=1)
    second.release()
