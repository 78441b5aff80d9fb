"""A board's files, through a real hub: on MicroPython's own file system, and on the stand-in's folder."""

import errno
import os
import zlib

import pytest

from ukernel.boards import BoardCodeError, connect
from ukernel.boards import files as boardfiles
from ukernel.boards.fileinfo import FileInfo, inside, sum_up
from ukernel.errors import BoardError
from ukernel.virtual.launcher import VirtualBoard


@pytest.fixture(scope="module", params=[pytest.param("micropython", marks=pytest.mark.micropython), "cpython"])
def board(request, hub):
    if request.param == "micropython":
        request.getfixturevalue("micropython")
    with VirtualBoard(request.param) as virtual, connect(virtual.port) as board:
        yield board


@pytest.fixture
def files(board):
    board.files.mkdir("work")
    yield board.files
    board.files.remove("work", recursive=True)


CONTENTS = [b"", b"x", b"\0\1\2\n\r\x03", bytes(range(256)) * 40, os.urandom(9999)]


@pytest.mark.parametrize("content", CONTENTS, ids=len)
@pytest.mark.parametrize("name", ["a.py", "mit Leerzeichen.txt", "µ Ünï.bin"])
def test_what_is_written_is_read_again(files, name, content):
    files.write(f"work/{name}", content)
    assert files.read(f"work/{name}") == content
    assert files.stat(f"work/{name}") == FileInfo(f"work/{name}", False, len(content))
    assert [info.name for info in files.ls("work")] == [name]


def test_a_file_that_is_there_is_replaced_and_nothing_lies_beside_it(files):
    files.write("work/a", b"old and long")
    files.write("work/a", b"new")
    assert files.read("work/a") == b"new"
    assert [info.path for info in files.tree("work")] == ["a"]


def test_folders_are_made_with_their_parents_and_shown_as_a_tree(files):
    files.mkdir("work/a/b/c")
    files.mkdir("work/a/b/c")
    files.write("work/a/b/f", b"12")
    files.write("work/z", b"1")
    assert files.tree("work") == [
        FileInfo("a", True, 0), FileInfo("a/b", True, 0), FileInfo("a/b/c", True, 0), FileInfo("a/b/f", False, 2),
        FileInfo("z", False, 1),
    ]  # fmt: skip
    assert [info.path for info in files.ls("work")] == ["work/a", "work/z"]
    assert {info.path: summed for info, summed in files.walk("work", sums=True)}["a/b/f"] == sum_up(b"12")


def test_files_are_copied_moved_and_removed_on_the_board(files):
    files.mkdir("work/folder")
    files.write("work/a", b"1" * 2000)
    files.copy("work/a", "work/folder")
    files.copy("work/a", "work/b")
    files.move("work/b", "work/c")
    files.move("work/c", "work/folder/")
    assert [info.path for info in files.tree("work")] == ["a", "folder", "folder/a", "folder/c"]
    assert files.read("work/folder/c") == b"1" * 2000
    files.remove("work/a")
    files.remove("work/folder", recursive=True)
    assert files.tree("work") == []


@pytest.mark.parametrize(
    "do, error",
    [
        (lambda files: files.read("work/none"), FileNotFoundError),
        (lambda files: files.ls("work/none"), FileNotFoundError),
        (lambda files: files.tree("work/none"), FileNotFoundError),
        (lambda files: files.write("work/none/a", b"1"), FileNotFoundError),
        (lambda files: files.remove("work/none"), FileNotFoundError),
        (lambda files: files.copy("work/none", "work/b"), FileNotFoundError),
        (lambda files: files.mkdir("work/file/b"), NotADirectoryError),
        (lambda files: files.mkdir("work/file"), FileExistsError),
        (lambda files: files.read("/"), IsADirectoryError),
        (lambda files: files.remove(""), FileNotFoundError),
        (lambda files: files.remove("", recursive=True), FileNotFoundError),
        (lambda files: files.move("work/folder", "work/folder/full"), OSError),
        (lambda files: files.move("./work//folder/", "work/folder/full/x"), OSError),
        (lambda files: files.move("work/folder", "work/none/../folder/x"), OSError),
        (lambda files: files.read("work/folder"), IsADirectoryError),
        (lambda files: files.remove("work/folder"), OSError),
        (lambda files: files.put("/no/such/file", "work"), FileNotFoundError),
    ],
)
def test_what_is_not_possible_is_the_error_that_python_knows_for_it(files, do, error):
    files.write("work/file", b"1")
    files.mkdir("work/folder/full")
    with pytest.raises(error):
        do(files)
    assert [info.path for info in files.tree("work")] == ["file", "folder", "folder/full"]


def test_an_error_names_the_boards_path_and_what_is_the_matter(files):
    with pytest.raises(FileNotFoundError, match=r"on the board.*work/none") as caught:
        files.read("work/none")
    assert caught.value.filename == "work/none"


@pytest.mark.micropython
def test_the_package_that_serves_this_stays_whatever_is_removed(hub, micropython):
    with VirtualBoard("micropython") as virtual, connect(virtual.port) as board:
        files = board.files
        board.run("import ucore\nucore.__file__ = '/lib/ucore/__init__.mpy'")  # as on a chip without it in the firmware
        for path in ("lib/ucore/agent.mpy", "lib/other/a.py", "x/y/z.py"):
            files.mkdir(os.path.dirname(path))
            files.write(path, b"1")
        for do in (
            lambda: files.remove("lib/ucore", recursive=True),
            lambda: files.remove("/x/../lib/ucore/agent.mpy"),
            lambda: files.move("lib", "/x"),
            lambda: files.move("/lib/ucore/agent.mpy", "/x"),
        ):
            with pytest.raises(OSError, match="runs from there") as caught:
                do()
            assert caught.value.errno == errno.EBUSY
        files.remove("/lib", recursive=True)
        assert [info.path for info in files.tree("/lib")] == ["ucore", "ucore/agent.mpy"]
        files.remove("/", recursive=True)
        assert [info.path for info in files.tree("/")] == ["lib", "lib/ucore", "lib/ucore/agent.mpy"]
        files.write("/lib/ucore/agent.mpy", b"2")  # a backup that is restored has it, too


@pytest.fixture
def own(hub, micropython):
    """A board of MicroPython that a test may spoil."""
    with VirtualBoard("micropython") as virtual, connect(virtual.port) as board:
        yield board


@pytest.mark.micropython
@pytest.mark.parametrize("is_known", [True, False])
def test_a_full_flash_leaves_the_old_file_and_nothing_of_the_new_one(own, monkeypatch, is_known):
    own.files.write("/a", b"old")
    if not is_known:  # the flash says that there is room, and then there is none
        monkeypatch.setattr(boardfiles, "check_room", lambda *args: None)
    with pytest.raises(OSError, match="no room on the board"):
        own.files.write("/a", os.urandom(2_200_000))
    assert own.files.read("/a") == b"old"
    assert "/a~ucore" not in [info.path for info in own.files.ls("/")]


@pytest.mark.micropython
def test_a_file_that_is_too_big_is_refused_before_anything_of_it_is_sent(own):
    free = own.files.df()[0].free
    done = []
    with pytest.raises(OSError, match=rf"{free + 1:,} bytes are needed, {free:,} are free") as caught:
        own.files.write("/a", bytes(free + 1), progress=lambda path, at, size: done.append(at))
    assert (caught.value.errno, set(done)) == (errno.ENOSPC, {0})
    own.run(f"with open('/a~ucore', 'wb') as file:\n for _ in range({free // 2 // 4096}): file.write(bytes(4096))")
    own.files.write("/a", bytes(free * 3 // 4))  # what is there of it already needs no room
    assert own.files.stat("/a").size == free * 3 // 4


@pytest.mark.micropython
def test_a_file_much_larger_than_the_boards_memory_goes_there_and_back(hub, micropython):
    content = os.urandom(200_000)
    with VirtualBoard("micropython", heap="64k") as virtual, connect(virtual.port) as board:
        assert board.files._call("free_memory") < 32_000
        board.files.write("/a", content)
        assert board.files.read("/a") == content


class FullBoard:
    """A board with one file, and with memory for ``room`` bytes of it, but for every second time that it is asked."""

    name, facts = "full", {}

    def __init__(self, room):
        self.room = room
        self.content = b""
        self.fails = False

    def call_value(self, name, args=(), kwargs=None, *, timeout=None):
        function = name.rpartition(".")[2]
        self.fails = not self.fails
        size = (
            args[2] if function == "read" else len(args[2]) if function == "write" else len(args[1]) if function == "put" else 0
        )
        if size > self.room or (self.fails and function != "put"):
            raise BoardCodeError("MemoryError", "MemoryError", "")
        return getattr(self, function)(*args)

    def free_memory(self):
        return 100_000

    def begun(self, path):
        return 0, b"", -1

    def write(self, path, at, data):
        assert at == len(self.content)
        self.content += data

    def finish(self, path, sums):
        assert zlib.crc32(self.content).to_bytes(4, "little") in sums

    def discard(self, path):
        self.content = b""

    def stat(self, path):
        return False, len(self.content), 0

    def read(self, path, at, size):
        return self.content[at : at + size]


@pytest.mark.parametrize("room, piece", [(100_000, boardfiles.MOST_PIECE), (300, 256), (130, 128)])
def test_a_board_whose_memory_is_full_now_and_then_is_asked_again_and_for_less_where_that_is_no_help(room, piece):
    board = FullBoard(room)
    files = boardfiles.BoardFiles(board)
    content = os.urandom(20_000)
    files.write("/a", content)
    assert (board.content, files._piece) == (content, piece)
    assert files.read("/a") == content


def test_a_board_that_has_no_memory_at_all_is_an_error(monkeypatch):
    with pytest.raises(BoardCodeError, match="MemoryError"):
        boardfiles.BoardFiles(FullBoard(100)).write("/a", bytes(5000))


@pytest.mark.micropython
def test_a_name_that_is_no_text_is_an_error_that_says_so(own):
    own.run(r"open(b'/\xff', 'w').close()")
    with pytest.raises(OSError, match="a name there is no text, or the file system is damaged"):
        own.files.ls("/")


def test_a_progress_function_that_fails_leaves_nothing_of_the_file(files):
    def fail(path, done, size):
        if done:
            raise ZeroDivisionError

    files.write("work/a", b"old")
    with pytest.raises(ZeroDivisionError):
        files.write("work/a", os.urandom(3 * boardfiles.MOST_PIECE), progress=fail)
    assert [(info.path, info.size) for info in files.tree("work")] == [("a", 3)]


def test_a_file_of_the_users_that_looks_like_an_editors_backup_stays(files):
    files.write("work/a~", b"mine")
    files.write("work/a", b"x")
    assert files.read("work/a~") == b"mine"


@pytest.mark.parametrize("new", ["work/folder", "work/folder/inner/deeper", "./work//folder/x", "work/../work/folder/x"])
def test_a_folder_does_not_go_into_itself(files, new):
    files.mkdir("work/folder/inner")
    files.write("work/folder/file", b"1")
    with pytest.raises(OSError) as caught:
        files.move("work/folder", new)
    assert caught.value.errno == errno.EINVAL
    assert [info.path for info in files.tree("work")] == ["folder", "folder/file", "folder/inner"]


def test_what_would_lie_below_a_file_does_not_exist(files):
    files.write("work/file", b"")
    assert not files.exists("work/file/below")


def test_what_is_no_folder_is_put_as_a_file(files):
    assert files.put(os.devnull, "work/") == ["work/" + os.path.basename(os.devnull)]
    assert [info.is_folder for info in files.ls("work")] == [False]


def test_a_folder_is_put_with_what_its_links_lead_to(files, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/library.py").write_text("x")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/lib").symlink_to(tmp_path / "shared")
    (tmp_path / "shared/back").symlink_to(tmp_path / "code")
    assert files.put(tmp_path / "code", "work/") == ["work/code/lib/library.py"]
    assert [info.path for info in files.tree("work")] == ["code", "code/lib", "code/lib/library.py"]


def test_a_write_that_was_broken_off_goes_on_where_it_was(files, board, monkeypatch):
    content = os.urandom(3 * boardfiles.MOST_PIECE)
    call = board.call_value

    def break_off(name, args=(), *rest, **named):
        if name.endswith((".write", ".discard")) and (name.endswith(".discard") or args[1]):
            raise ConnectionError("the cable")
        return call(name, args, *rest, **named)

    monkeypatch.setattr(board, "call_value", break_off)
    with pytest.raises(ConnectionError):
        files.write("work/a", content)
    seen = []
    monkeypatch.setattr(board, "call_value", call)
    files.write("work/a", content, progress=lambda path, done, size: seen.append(done))
    assert files.read("work/a") == content
    assert seen[:2] == [0, boardfiles.MOST_PIECE]


def test_what_is_left_of_another_content_is_not_taken_for_the_beginning(files, board):
    board.call_value("ucore.filesystem.write", ("work/a", 0, b"something else"))
    files.write("work/a", b"the right content")
    assert files.read("work/a") == b"the right content"


@pytest.mark.parametrize("content", [b"abc", os.urandom(20_000)], ids=len)
def test_a_file_that_arrives_changed_is_sent_again(files, board, monkeypatch, content):
    call = board.call_value
    spoiled = []

    def spoil(name, args=(), *rest, **named):
        if name.endswith((".write", ".put")) and not spoiled:
            spoiled.append(True)
            args = tuple(b"x" * len(arg) if isinstance(arg, bytes) else arg for arg in args)
        return call(name, args, *rest, **named)

    monkeypatch.setattr(board, "call_value", spoil)
    files.write("work/a", content)
    assert (files.read("work/a"), spoiled) == (content, [True])


@pytest.mark.parametrize("size", [1500, 2500, 20_000])
def test_a_board_with_little_memory_gets_and_gives_smaller_pieces(files, board, monkeypatch, size):
    call = board.call_value
    sizes = []

    def refuse(name, args=(), *rest, **named):
        if name.endswith((".write", ".put", ".read")):
            sizes.append(args[2] if name.endswith(".read") else max(len(arg) for arg in args if isinstance(arg, bytes)))
            if sizes[-1] > 1024:
                raise BoardCodeError("MemoryError", "MemoryError")
        return call(name, args, *rest, **named)

    monkeypatch.setattr(board, "call_value", refuse)
    content = os.urandom(size)
    poor = boardfiles.BoardFiles(board)
    poor.write("work/a", content)
    assert max(sizes[1 + 3 * boardfiles.TRIES :], default=0) <= 1024  # a small file whole, then 8, 4 and 2 kB
    assert boardfiles.BoardFiles(board).read("work/a") == content


def test_the_size_of_pieces_is_the_boards_memorys(files, board, monkeypatch):
    call = board.call_value
    sizes = []

    def watch(name, args=(), *rest, **named):
        if name.endswith(".free_memory"):
            return 30_000
        if name.endswith(".write"):
            sizes.append(len(args[2]))
        return call(name, args, *rest, **named)

    monkeypatch.setattr(board, "call_value", watch)
    poor = boardfiles.BoardFiles(board)
    poor.write("work/a", bytes(10_000))
    assert sizes == [2048] * 4 + [10_000 - 4 * 2048]


def test_a_board_without_sha_is_asked_for_a_crc(files, board, monkeypatch, tmp_path):
    call = board.call_value

    def without(name, args=(), *rest, **named):
        if name.endswith(".sum_up"):
            return zlib.crc32(call("ucore.filesystem.read", (args[0], 0, 9999))).to_bytes(4, "little")
        return call(name, args, *rest, **named)

    files.write("work/a", b"a content")
    monkeypatch.setattr(board, "call_value", without)
    assert files.get("work/a", tmp_path / "a") == [tmp_path / "a"]


def test_a_file_that_changes_while_it_is_fetched_is_not_taken(files, board, monkeypatch, tmp_path):
    call = board.call_value

    def change(name, args=(), *rest, **named):
        if name.endswith(".sum_up"):
            return bytes(16)
        return call(name, args, *rest, **named)

    files.write("work/a", b"new")
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(board, "call_value", change)
    with pytest.raises(BoardError, match="changes while it is read"):
        files.get("work/a", tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_large_folder_is_removed_as_a_whole(files, board):
    board.run("import os\nos.mkdir('work/many')\nfor n in range(100):\n    open('work/many/%d' % n, 'w').close()")
    files.mkdir("work/many/deep/er")
    files.remove("work/many", recursive=True)
    assert files.tree("work") == []


def test_progress_tells_what_is_done(files):
    seen = []
    content = bytes(10_000)
    files.write("work/a", content, progress=lambda *step: seen.append(step))
    assert seen[0] == ("work/a", 0, 10_000)
    assert seen[-1] == ("work/a", 10_000, 10_000)
    del seen[:]
    files.read("work/a", progress=lambda *step: seen.append(step))
    assert seen[-1] == ("work/a", 10_000, 10_000)


def test_a_folder_goes_to_the_board_and_comes_back(files, tmp_path):
    source = tmp_path / "böard code"
    (source / "lib/leer").mkdir(parents=True)
    (source / "main.py").write_text("print('µ')", "utf-8")
    (source / "lib/ä b.py").write_bytes(b"")
    put = files.put(source, "work/")
    assert sorted(put) == ["work/böard code/lib/ä b.py", "work/böard code/main.py"]
    got = files.get("work/böard code", tmp_path / "back")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in got) == ["back/lib/ä b.py", "back/main.py"]
    assert (tmp_path / "back/main.py").read_text("utf-8") == "print('µ')"
    assert (tmp_path / "back/lib/leer").is_dir()


def test_a_file_goes_into_a_folder_or_under_a_new_name(files, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1")
    assert files.put(tmp_path / "a.txt", "work") == ["work/a.txt"]
    assert files.put(tmp_path / "a.txt", "work/new/place.txt") == ["work/new/place.txt"]
    assert files.get("work/a.txt", tmp_path / "b.txt") == [tmp_path / "b.txt"]
    assert files.get("work/new/place.txt", tmp_path) == [tmp_path / "place.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "place.txt"]


def test_file_systems_say_how_much_room_there_is(files):
    (system, *_) = files.df()
    assert system.path == "/"
    assert 0 < system.free <= system.size


@pytest.mark.parametrize("path", ["../x", "a/../../x", ".."])
def test_a_path_that_leads_out_of_a_folder_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match="leads out"):
        inside(tmp_path, path)
    assert inside(tmp_path, "/a/./b") == tmp_path / "a/b"
