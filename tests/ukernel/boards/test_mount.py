"""A folder of this computer on a board: what the board's programs see of it, and how it ends."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import zipfile

import pytest
from patience import PATIENCE_S, wait_until
from rig import PRODUCER

from ukernel.boards import BoardCodeError, connect
from ukernel.errors import BoardBusyError, BoardError, BoardRestartedError, UcoreError
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "editor"
    (place / "package").mkdir(parents=True)
    (place / "package/__init__.py").write_text("from .part import VALUE\n")
    (place / "package/part.py").write_text("# filler\n" * 400 + "VALUE = 42\n")
    (place / "ä b.txt").write_text("hällo\nwörld\n", "utf-8")
    (place / "data.bin").write_bytes(bytes(range(256)) * 20)
    (place / "empty").write_bytes(b"")
    return place


@pytest.fixture
def other(hub, virtual):
    """Another program on the same board."""
    with connect(virtual.port) as board:
        yield board


def test_a_program_imports_from_the_folder(board, folder):
    (folder / "module_of_mount.py").write_text("def answer():\n    return 41 + 1\n")
    with board.files.mount(folder):
        assert board.run("import module_of_mount\nmodule_of_mount.answer()") == 42
        assert board.run("import package\npackage.VALUE") == 42
    assert "remote" not in board.eval("__import__('os').listdir('/')")
    assert "/remote" not in board.eval("__import__('sys').path")


def test_files_are_read_as_they_are_here(board, folder):
    with board.files.mount(folder):
        assert board.eval("open('/remote/ä b.txt').read()") == "hällo\nwörld\n"
        assert board.eval("[line for line in open('/remote/ä b.txt')]") == ["hällo\n", "wörld\n"]
        assert board.eval("open('/remote/data.bin', 'rb').read()") == bytes(range(256)) * 20
        assert board.eval("open('/remote/empty', 'rb').read()") == b""
        assert board.run("f = open('/remote/ä b.txt')\n(f.read(3), f.tell(), f.seek(1), f.readline(3), f.readlines())") == (
            "häl", 4, 1, "ä"[:1] + "l", ["lo\n", "wörld\n"],
        )  # fmt: skip


def test_a_program_of_anybody_on_the_board_sees_the_folder(board, other, folder):
    with board.files.mount(folder):
        assert sorted(other.eval("__import__('os').listdir('/remote')")) == ["data.bin", "empty", "package", "ä b.txt"]
        assert [info.path for info in other.files.tree("/remote")] == [
            "data.bin", "empty", "package", "package/__init__.py", "package/part.py", "ä b.txt",
        ]  # fmt: skip
        assert other.files.read("/remote/ä b.txt") == (folder / "ä b.txt").read_bytes()


def test_a_change_here_is_seen_there_at_once(board, folder):
    with board.files.mount(folder):
        for text in ("one", "another"):
            (folder / "note").write_text(text)
            assert board.eval("open('/remote/note').read()") == text


def test_a_large_folder_is_listed_whole(board, folder):
    (folder / "many").mkdir()
    for number in range(300):
        (folder / "many" / f"file number {number}").write_bytes(b"x" * number)
    with board.files.mount(folder):
        found = board.eval("sorted((entry[0], entry[3]) for entry in __import__('os').ilistdir('/remote/many'))")
        assert found == sorted((f"file number {number}", number) for number in range(300))


@pytest.mark.parametrize(
    "code, number",
    [
        ("open('/remote/none')", 2),
        ("open('/remote/package')", 21),
        ("open('/remote/../../secret')", 13),
        ("open('/remote/link')", 13),
        ("os.listdir('/remote/none')", 2),
        ("os.listdir('/remote/empty')", 20),
        ("open('/remote/new', 'w')", 30),
        ("open('/remote/empty', 'a')", 30),
        ("os.remove('/remote/empty')", 30),
        ("os.mkdir('/remote/new')", 30),
        ("os.rename('/remote/empty', '/remote/new')", 30),
        ("open('/remote/empty').write('1')", 9),
    ],
)
def test_what_is_not_possible_is_an_oserror_there_and_changes_nothing(board, folder, code, number):
    (folder.parent / "secret").write_text("a secret")
    (folder / "link").symlink_to(folder.parent / "secret")
    before = sorted(path.name for path in folder.rglob("*"))
    with board.files.mount(folder):
        assert (
            board.run(f"import os\ntry:\n    {code}\n    found = 0\nexcept OSError as error:\n    found = error.errno\nfound")
            == number
        )
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert (folder / "empty").read_bytes() == b""


def test_a_folder_that_may_be_written_is(board, folder):
    with board.files.mount(folder, write=True):
        board.run(
            "import os\n"
            "with open('/remote/log', 'w') as f:\n    for n in range(1000):\n        f.write('%d ä\\n' % n)\n"
            "with open('/remote/log', 'a') as f:\n    f.write('end')\n"
            "with open('/remote/data.bin', 'r+b') as f:\n    f.seek(5)\n    f.write(b'xyz')\n    assert f.read(2) == b'\\x08\\x09'\n"
            "os.mkdir('/remote/dir')\nos.rename('/remote/log', '/remote/dir/log')\nos.remove('/remote/empty')\n"
            "os.chdir('/remote/dir')\nassert os.listdir() == ['log'] and os.getcwd() == '/remote/dir'\nos.chdir('/')"
        )
        board.files.write("/remote/dir/whole", bytes(9999))
    assert (folder / "dir/log").read_text("utf-8") == "".join(f"{n} ä\n" for n in range(1000)) + "end"
    assert (folder / "data.bin").read_bytes()[:10] == b"\0\1\2\3\4xyz\x08\x09"
    assert (folder / "dir/whole").read_bytes() == bytes(9999)
    assert sorted(path.name for path in folder.iterdir()) == ["data.bin", "dir", "package", "ä b.txt"]


def test_a_folder_in_a_folder_that_is_only_read_is_refused_for_that(board, folder):
    with board.files.mount(folder), pytest.raises(OSError) as caught:
        board.files.mkdir("/remote/new")
    assert caught.value.errno == errno.EROFS


def test_a_put_into_a_folder_that_is_only_read_says_so_and_leaves_nothing(board, folder):
    with board.files.mount(folder):
        for size in (10, 50_000):
            with pytest.raises(OSError, match="Read-only") as caught:
                board.files.write("/remote/data.bin", bytes(size))
            assert (caught.value.errno, caught.value.filename) == (errno.EROFS, "/remote/data.bin")
    assert (folder / "data.bin").read_bytes() == bytes(range(256)) * 20
    assert len(list(folder.iterdir())) == 4


def test_threads_of_the_board_read_it_too(board, folder):
    with board.files.mount(folder):
        board.run(
            "import _thread\nfound = []\n"
            "def read():\n    found.append(len(open('/remote/data.bin', 'rb').read()))\n"
            "for _ in range(3):\n    _thread.start_new_thread(read, ())"
        )
        wait_until(lambda: len(board.eval("found")) == 3)
        assert board.eval("found") == [5120] * 3


def test_a_pipe_goes_on_beside_it(board, folder):
    with board.files.mount(folder), board.subscribe("beside") as pipe:
        board.run(PRODUCER.format(name="beside", count=5000, first=0))
        for _ in range(5):
            assert board.eval("len(open('/remote/data.bin', 'rb').read())") == 5120
        assert b"".join(pipe) == b"".join(number.to_bytes(4, "little") for number in range(5000))


def test_a_program_that_runs_when_it_ends_gets_an_oserror(board, other, folder):
    mount = board.files.mount(folder)
    started = threading.Event()
    raised = []

    def run():
        try:
            other.run(
                "print('reads')\nwhile True:\n    open('/remote/data.bin', 'rb').read()", output=lambda text: started.set()
            )
        except BoardCodeError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(PATIENCE_S)
    mount.close()
    thread.join(PATIENCE_S)
    assert raised[0].ename == "OSError"
    assert not mount.is_open
    wait_until(lambda: "remote" not in other.eval("__import__('os').listdir('/')"))


def run_until_stopped(board):
    with contextlib.suppress(BoardCodeError):
        board.run("while True:\n    pass")


def test_a_board_that_is_busy_when_it_ends_finds_out_at_its_next_look(board, other, folder):
    with board.files.mount(folder):
        thread = threading.Thread(target=run_until_stopped, args=(other,))
        thread.start()
        wait_until(lambda: board.info().running)
    other.interrupt()
    thread.join(PATIENCE_S)
    with pytest.raises(BoardCodeError, match="OSError"):
        other.eval("open('/remote/data.bin')")
    wait_until(lambda: "remote" not in other.eval("__import__('os').listdir('/')"))


def test_there_is_one_mount_at_a_time_and_the_next_one_after_it(board, other, folder, tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second/only").write_text("1")
    with board.files.mount(folder), pytest.raises(BoardBusyError, match="mounted"):
        other.files.mount(tmp_path / "second")
    with other.files.mount(tmp_path / "second"):
        assert board.eval("__import__('os').listdir('/remote')") == ["only"]


def test_a_reset_ends_it_and_the_handle_says_so(board, folder):
    with board.files.mount(folder) as mount:
        board.reset(force=True)
        with pytest.raises(BoardRestartedError):
            mount.wait(PATIENCE_S)
        assert not mount.is_open
        with board.files.mount(folder):
            assert board.eval("open('/remote/ä b.txt').read()") == "hällo\nwörld\n"


def test_a_folder_that_is_none_is_refused(board, folder):
    with pytest.raises(FileNotFoundError):
        board.files.mount(folder / "none")
    with pytest.raises(NotADirectoryError):
        board.files.mount(folder / "empty")


HOLDER = """
import sys
from ukernel.boards import connect
board = connect(sys.argv[1])
mount = board.files.mount(sys.argv[2])
print("mounted", flush=True)
mount.wait()
"""


@pytest.mark.parametrize("blow", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_holder_that_is_killed_or_hangs_is_an_oserror_on_the_board(board, virtual, folder, blow, monkeypatch):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, virtual.port, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "mounted\n"
        assert board.eval("open('/remote/ä b.txt').read()") == "hällo\nwörld\n"
        os.kill(holder.pid, blow)
        with pytest.raises(BoardCodeError, match="OSError"):
            board.eval("open('/remote/ä b.txt').read()")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    wait_until(lambda: not _has_remote(board))


def _has_remote(board):
    """Whether it is there still; the look at it ends one whose holder is gone."""
    return board.run(
        "import os\ntry:\n    os.stat('/remote/x')\nexcept OSError:\n    pass\n'remote' in os.listdir('/')",
    )


@pytest.mark.parametrize("python", ["cpython"])
def test_a_board_that_cannot_mount_says_so(hub, python, folder):
    with VirtualBoard(python) as virtual, connect(virtual.port) as board:
        with pytest.raises(BoardError, match="cannot mount"):
            board.files.mount(folder)
        with pytest.raises(UcoreError):
            board.files.mount(folder)


def test_what_is_done_with_all_files_of_the_board_leaves_the_folder_alone(hub, folder, tmp_path, micropython):
    (tmp_path / "nothing").mkdir()
    with VirtualBoard("micropython") as virtual, connect(virtual.port) as board:
        board.files.write("/old.py", b"1")
        with board.files.mount(folder, write=True):
            assert [info.path for info in board.files.tree("/") if "remote" in info.path] == []
            board.files.backup(tmp_path / "backup.zip")
            with zipfile.ZipFile(tmp_path / "backup.zip") as archive:
                assert not [name for name in archive.namelist() if "remote" in name]
            assert "old.py" in board.files.sync(tmp_path / "nothing", "/", delete=True).removed
            assert "old.py" not in board.files.sync(tmp_path / "nothing", ".", delete=True).removed
            board.files.remove("/", recursive=True)
        assert (folder / "data.bin").exists() and (folder / "package/part.py").exists()
        assert board.files.tree("/") == []
