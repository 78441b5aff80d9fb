"""Folders for temporary files go with their owners, or with the next one's start."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from ukernel import tempfolder
from ukernel.tempfolder import TempFolder

OWNER = "import sys\nfrom ukernel.tempfolder import TempFolder\nfolder = TempFolder('virtual-board', sys.argv[1])\nprint(folder.path, flush=True)\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks on folders there")


@pytest.fixture
def parent(tmp_path):
    yield str(tmp_path)
    shutil.rmtree(tmp_path)  # what was put there to stay would be named at the end of the run


def _orphan(parent: str) -> str:
    """Return the folder that a killed process has left, with a file and a folder in it."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER + "input()", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        path = owner.stdout.readline().strip()
        owner.send_signal(signal.SIGKILL)
    os.mkdir(os.path.join(path, "lib"))
    open(os.path.join(path, "lib", "main.py"), "w").close()
    return path


def test_it_is_there_for_its_owner_alone_and_empty(parent):
    with TempFolder("virtual-board", parent) as path:
        assert os.path.dirname(path) == parent
        assert os.stat(path).st_mode & 0o777 == 0o700
        assert os.listdir(path) == []
    assert os.listdir(parent) == []


def test_it_goes_with_all_that_is_in_it_and_once(parent):
    folder = TempFolder("files", parent)
    os.mkdir(os.path.join(folder.path, "lib"))
    folder.remove()
    os.mkdir(folder.path)  # somebody else's by now
    folder.remove()
    assert os.path.exists(folder.path)


def test_it_goes_when_its_process_ends(parent):
    done = subprocess.run([sys.executable, "-c", OWNER, parent], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith(parent)
    assert os.listdir(parent) == []


def test_a_forked_copy_of_its_owner_leaves_it_alone(parent):
    fork = "import os\nchild = os.fork()\nif child:\n    print(os.waitpid(child, 0)[1], len(os.listdir(sys.argv[1])))\n"
    done = subprocess.run([sys.executable, "-c", OWNER + fork, parent], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 1"


def test_the_next_one_removes_what_a_killed_owner_has_left(parent):
    orphan = _orphan(parent)
    assert os.path.exists(orphan)
    with TempFolder("python", parent) as path:
        assert not os.path.exists(orphan)
        assert os.listdir(parent) == [os.path.basename(path)]


def test_a_living_owners_folder_stays(parent):
    with (
        subprocess.Popen(
            [sys.executable, "-c", OWNER + "input()", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as owner,
        TempFolder("virtual-board", parent) as ours,
    ):
        theirs = owner.stdout.readline().strip()
        with TempFolder("virtual-board", parent):
            assert os.path.exists(ours) and os.path.exists(theirs)
        owner.communicate("\n")
    assert os.listdir(parent) == []


@pytest.mark.parametrize(
    "name", ["ucore-virtual-board-short", "ucore-notebooks-abcdefgh", "ucore-virtual-abcdefgh", "board-abcdefgh"]
)
def test_what_is_not_named_like_ours_stays(parent, name):
    os.mkdir(os.path.join(parent, name))
    TempFolder("virtual-board", parent).remove()
    assert os.listdir(parent) == [name]


def test_neither_files_nor_links_are_touched(parent, tmp_path_factory):
    precious = tmp_path_factory.mktemp("precious")
    (precious / "notes.txt").write_text("mine")
    os.symlink(precious, os.path.join(parent, "ucore-virtual-board-abcdefgh"))
    open(os.path.join(parent, "ucore-files-abcdefgh"), "w").close()
    os.mkfifo(os.path.join(parent, "ucore-python-abcdefgh"))
    TempFolder("virtual-board", parent).remove()
    assert len(os.listdir(parent)) == 3
    assert (precious / "notes.txt").read_text() == "mine"


def test_another_users_folder_stays(parent, monkeypatch):
    os.mkdir(os.path.join(parent, "ucore-virtual-board-abcdefgh"))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    TempFolder("virtual-board", parent).remove()
    assert os.listdir(parent) == ["ucore-virtual-board-abcdefgh"]


def test_one_start_removes_no_more_than_so_many(parent, monkeypatch):
    monkeypatch.setattr(tempfolder, "MAX_SWEPT", 3)
    for number in range(5):
        os.mkdir(os.path.join(parent, f"ucore-virtual-board-{number:08}"))
    TempFolder("virtual-board", parent).remove()
    assert len(os.listdir(parent)) == 2


def test_many_that_start_at_once_leave_each_others_alone(parent):
    script = OWNER + (
        "import os\nfor _ in range(300):\n    with TempFolder('virtual-board', sys.argv[1]) as path:\n"
        "        open(os.path.join(path, 'flag'), 'w').close()\n        assert os.listdir(path) == ['flag']\n"
    )
    crowd = [subprocess.Popen([sys.executable, "-c", script, parent], stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait() for process in crowd] == [0] * 4
    assert os.listdir(parent) == []


def test_the_living_are_told_from_orphans_also_while_others_ask(parent, monkeypatch):
    import fcntl

    monkeypatch.setattr("tempfile.tempdir", parent)
    orphan = _orphan(parent)
    asker = os.open(orphan, os.O_RDONLY)
    try:
        fcntl.flock(asker, fcntl.LOCK_SH)  # as one that asks at the same time
        assert tempfolder.living("virtual-board") == []
    finally:
        os.close(asker)
    with TempFolder("virtual-board", parent) as path:
        assert tempfolder.living("virtual-board") == [path]
