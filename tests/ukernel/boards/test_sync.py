"""A board's folder made like one here, and archives of all of a board's files."""

import json
import os
import threading
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S, wait_until

from ukernel.boards import archive, connect, sync
from ukernel.boards.fileinfo import FileInfo, sum_up
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython


@pytest.fixture
def files(board):
    board.files.mkdir("/work")
    yield board.files
    board.files.remove("/work", recursive=True)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "code"
    for path, content in {"main.py": b"print(1)", "lib/a.py": b"", "lib/deep/ä b.txt": b"\0" * 3000}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "empty").mkdir()
    return folder


def listed(files, path="/work"):
    return [info.path + "/" * info.is_folder for info in files.tree(path)]


ALL = ["empty/", "lib/", "lib/a.py", "lib/deep/", "lib/deep/ä b.txt", "main.py"]


def test_a_sync_sends_what_differs_and_nothing_else(files, folder):
    first = files.sync(folder, "/work")
    assert (sorted(first.put), first.unchanged) == (["empty", "lib", "lib/a.py", "lib/deep", "lib/deep/ä b.txt", "main.py"], 0)
    assert listed(files) == ALL
    assert files.sync(folder, "/work") == ([], [], 3)
    (folder / "main.py").write_bytes(b"print(2)")
    assert files.sync(folder, "/work") == (["main.py"], [], 2)
    assert files.read("/work/main.py") == b"print(2)"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(files, folder):
    files.write("/work/old.py", b"1")
    result = files.sync(folder, "/work", delete=True, dry_run=True)
    assert (len(result.put), result.removed) == (6, ["old.py"])
    assert listed(files) == ["old.py"]
    assert files.sync(folder, "/work/not/there/yet", dry_run=True).put == result.put
    assert listed(files) == ["old.py"]


def test_delete_removes_what_is_not_here_and_keeps_what_is_ignored(files, folder):
    files.write("/work/old.py", b"1")
    files.mkdir("/work/gone/deep")
    files.write("/work/gone/deep/x", b"1")
    files.mkdir("/work/logs")
    files.write("/work/logs/1.log", b"kept")
    files.sync(folder, "/work")
    assert "old.py" in listed(files)
    result = files.sync(folder, "/work", delete=True, ignore=["logs/*.log"])
    assert result.removed == ["gone", "old.py"]
    assert listed(files) == sorted([*ALL, "logs/", "logs/1.log"], key=lambda path: path.rstrip("/"))


def test_what_is_in_the_way_of_another_kind_is_replaced(files, folder):
    files.mkdir("/work/main.py/inner")
    files.write("/work/lib", b"a file")
    result = files.sync(folder, "/work")
    assert sorted(result.removed) == ["lib", "main.py"]
    assert listed(files) == ALL


def test_what_no_board_needs_and_what_is_told_is_left_out(files, folder):
    for path in (".git/config", "__pycache__/a.pyc", "lib/__pycache__/b.pyc", ".DS_Store", "data/x.csv", "data/keep.csv"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"1")
    (folder / ".ucoreignore").write_text("# a comment\n*.csv\n!keep.csv\n")
    files.sync(folder, "/work", ignore=["main.py"])
    assert listed(files) == ["data/", "data/keep.csv", "empty/", "lib/", "lib/a.py", "lib/deep/", "lib/deep/ä b.txt"]


def test_a_folder_that_is_none_is_an_error(files, folder):
    with pytest.raises(NotADirectoryError):
        files.sync(folder / "main.py", "/work")
    with pytest.raises(FileNotFoundError):
        files.sync(folder / "none", "/work")


CARD = """
import vfs
class Card:
    def __init__(self, blocks):
        self.data = bytearray(blocks * 512)
    def readblocks(self, block, buffer):
        buffer[:] = self.data[block * 512 : block * 512 + len(buffer)]
    def writeblocks(self, block, buffer):
        self.data[block * 512 : block * 512 + len(buffer)] = buffer
    def ioctl(self, request, _):
        return {4: len(self.data) // 512, 5: 512}.get(request, 0)
card = Card(200)
vfs.VfsFat.mkfs(card)
vfs.mount(vfs.VfsFat(card), "/sd")
"""


@pytest.fixture
def card(board):
    """A card with FAT is the board's /sd."""
    board.run(CARD)
    yield board.files
    board.run("vfs.umount('/sd')\ndel card")


def test_to_fat_upper_and_lower_case_are_one_name_and_delete_does_not_remove_what_was_sent(card, tmp_path):
    for path, content in {"Main.py": b"1", "Lib/A.py": b"2"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    for path in ("main.py", "lib/a.py", "lib/old"):
        card.mkdir("/sd/lib")
        card.write(f"/sd/{path}", b"0")
    assert card.sync(tmp_path, "/sd", delete=True).removed == ["lib/old"]
    assert (card.read("/sd/main.py"), card.read("/sd/lib/a.py")) == (b"1", b"2")
    assert card.sync(tmp_path, "/sd", delete=True) == ([], [], 2)


def test_elsewhere_names_that_differ_in_case_are_two(files, tmp_path):
    (tmp_path / "Main.py").write_bytes(b"1")
    files.write("/work/main.py", b"0")
    assert files.sync(tmp_path, "/work", delete=True) == (["Main.py"], ["main.py"], 0)
    assert listed(files) == ["Main.py"]


def test_another_file_system_is_no_part_of_the_root(card, board, tmp_path):
    card.write("/sd/a", b"1")
    assert "sd" in [info.name for info in card.ls("/")]
    assert [info.path for info in card.tree("/") if info.path.startswith("sd")] == []
    (tmp_path / "boot.py").write_bytes(b"")
    assert "sd" not in card.sync(tmp_path, "/", delete=True, dry_run=True).removed
    with connect(board.port) as other:
        other.run("import os\nos.chdir('/sd')")
        assert [info.path for info in other.files.tree()] == ["a"]
        other.run("os.chdir('/')")


@pytest.mark.parametrize("spoil", [b"\xff\xfe", b"!\n"])
def test_patterns_that_mean_nothing_are_refused_with_a_sentence(files, folder, spoil):
    (folder / ".ucoreignore").write_bytes(spoil)
    with pytest.raises(ValueError, match=r"(no text in UTF-8|means nothing)"):
        files.sync(folder, "/work")
    assert listed(files) == []


def test_a_change_that_a_watched_folder_sees_during_a_sync_is_not_missed(files, folder):
    stop = threading.Event()
    done = []

    def watch():
        for result in files.watch(folder, "/work", stop=stop):
            if not done:
                (folder / "main.py").write_bytes(b"print(2)")
            done.append(result.put)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        wait_until(lambda: len(done) == 2)
    finally:
        stop.set()
        watching.join(PATIENCE_S)
    assert done[1] == ["main.py"]


def test_a_file_that_is_gone_before_it_is_read_does_not_end_the_watching(files, folder, monkeypatch):
    apply, fails = sync.apply, [True]

    def lose(files, remote, folders, contents, *rest):
        if fails:
            fails.clear()
            contents = {**contents, "gone.py": folder / "gone.py"}
        return apply(files, remote, folders, contents, *rest)

    stop = threading.Event()
    watching = files.watch(folder, "/work", stop=stop)
    next(watching)
    monkeypatch.setattr(sync, "apply", lose)
    done = []
    thread = threading.Thread(target=lambda: done.extend(watching))
    thread.start()

    def change_until_seen():
        (folder / "new.py").write_bytes(os.urandom(4))
        return bool(done)

    wait_until(change_until_seen)
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and not fails


def test_a_watched_folder_is_synced_after_each_change(files, folder):
    stop = threading.Event()
    done = []
    watching = threading.Thread(target=lambda: done.extend(files.watch(folder, "/work", stop=stop)))
    watching.start()
    wait_until(lambda: listed(files) == ALL, "the first sync")

    def change_until_seen():
        (folder / "new.py").write_bytes(os.urandom(4))  # the first may come before somebody watches
        return "new.py" in listed(files)

    wait_until(change_until_seen, "the sync after a change")
    stop.set()
    watching.join(PATIENCE_S)
    assert not watching.is_alive()


def test_a_backup_gives_another_board_the_same_files(board, files, folder, tmp_path):
    files.sync(folder, "/work")
    kept = tmp_path / "kept.zip"
    count = files.backup(kept)
    with zipfile.ZipFile(kept) as packed:
        assert packed.read("files/work/main.py") == b"print(1)"
        manifest = json.loads(packed.read(archive.MANIFEST))
        assert (len(manifest["files"]), manifest["board"]) == (count, board.name)
        assert manifest["facts"]["python"] == "micropython"
    with VirtualBoard("micropython") as virtual, connect(virtual.port) as other:
        other.files.write("/other.py", b"1")
        result = other.files.restore(kept, delete=True)
        assert result.removed == ["other.py"]
        assert listed(other.files, "/work") == ALL
        assert other.files.restore(kept, delete=True)[:2] == ([], [])
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("ucore")] == []


@pytest.mark.parametrize(
    "spoil", ["a text", "no manifest", "another content", "a file is missing", "a path that leads out", "cut off"]
)
def test_an_archive_that_is_none_or_damaged_is_refused_whole(files, folder, tmp_path, spoil):
    files.sync(folder, "/work")
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    files.backup(good)
    with zipfile.ZipFile(good) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    if spoil == "no manifest":
        del members[archive.MANIFEST]
    elif spoil == "another content":
        members["files/work/main.py"] = b"print(3)"
    elif spoil == "a file is missing":
        del members["files/work/main.py"]
    elif spoil == "a path that leads out":
        manifest = json.loads(members[archive.MANIFEST])
        manifest["folders"].append("../out")
        members[archive.MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(bad, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    if spoil == "a text":
        bad.write_text("no archive")
    elif spoil == "cut off":
        bad.write_bytes(good.read_bytes()[:-200])
    files.remove("/work/main.py")
    with pytest.raises(ValueError, match="no backup of a board, or it is damaged"):
        files.restore(bad)
    assert "main.py" not in listed(files)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """An archive, and where it is."""

    class Nothing:
        def walk(self, path, *, sums, progress):
            return [(FileInfo("a.py", False, 2000), b"")]

        def read(self, path, *, progress):
            return b"print(1)\n" * 200

    class Named:
        name, facts = "board", {}

    path = tmp_path_factory.mktemp("archive") / "kept.zip"
    archive.backup(Nothing(), Named(), path, None)
    return path, path.read_bytes()


@given(data=st.data())
def test_an_archive_with_a_wrong_byte_is_whole_or_refused(packed, data):
    path, content = packed
    at = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :])
    try:
        folders, files = archive._read(path)
    except ValueError as error:
        assert "Nothing was written" in str(error)
    else:
        assert (folders, files) == ([], {"a.py": b"print(1)\n" * 200})


def test_an_archive_larger_than_any_flash_is_refused_whatever_its_manifest_says(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    path = tmp_path / "bomb.zip"
    sizes = {"a": {"size": 2000, "sum": sum_up(bytes(2000)).hex()}, "b": {"size": -2000, "sum": ""}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("files/a", bytes(2000))
        packed.writestr("files/b", b"")
        packed.writestr(archive.MANIFEST, json.dumps({"format": archive.FORMAT, "folders": [], "files": sizes}))
    with pytest.raises(ValueError, match="larger than any board's flash"):
        archive._read(path)


def test_a_link_is_followed_and_one_that_leads_back_or_nowhere_is_left_out(files, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/library.py").write_text("x")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/main.py").write_text("y")
    (tmp_path / "code/lib").symlink_to(tmp_path / "shared")
    (tmp_path / "shared/back").symlink_to(tmp_path / "code")
    (tmp_path / "code/nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(tmp_path / "code/fifo")
    assert files.sync(tmp_path / "code", "/work").put == ["lib", "lib/library.py", "main.py"]


@pytest.mark.parametrize(
    "path", ["/lib/ucore", "lib/ucore", "./lib/ucore/agent.mpy", "//lib/ucore", "/x/../lib/ucore", "remote/a", "/remote"]
)
def test_what_keeps_the_board_reachable_is_never_removed(path):
    assert sync._is_ours(path)


def test_what_is_only_named_alike_is_not_kept():
    assert not sync._is_ours("/lib/ucores") and not sync._is_ours("/lib") and not sync._is_ours("/code/remote")
