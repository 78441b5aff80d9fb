"""What the host calls for the board's files, on the file system of whatever Python runs this."""

from ucore import filesystem
from ucore.quirks import os

FOLDER = "ucore-test-filesystem"


class Work:
    """A folder, while a block runs."""

    def __enter__(self):
        os.mkdir(FOLDER)

    def __exit__(self, *error):
        for _ in filesystem.remove_all(FOLDER):
            pass


def fails(call, *args):
    try:
        call(*args)
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "nothing"


def written(name, data):
    path = FOLDER + "/" + name
    filesystem.write(path, 0, data)
    filesystem.finish(path, (filesystem.sum_up(path + filesystem.BESIDE),))
    return path


def test_a_file_in_pieces_takes_its_place_when_it_is_whole():
    with Work():
        path = written("a b ä", b"old")
        filesystem.write(path, 0, b"0123")
        filesystem.write(path, 4, b"45")
        assert fails(filesystem.write, path, 5, b"xy") == "ValueError"
        filesystem.write(path, 4, b"45")  # again: no memory was left to say that it is written
        size, summed, free = filesystem.begun(path)
        assert size == 6
        assert free == -1 or free > 0
        assert filesystem.read(path, 0, 99) == b"old"
        assert fails(filesystem.finish, path, (b"another",)) == "ValueError"
        filesystem.finish(path, (b"another", summed))
        assert filesystem.read(path, 2, 3) == b"234"
        assert filesystem.begun(path)[:2] == (0, b"")


def test_a_small_file_that_is_not_what_was_sent_leaves_the_old_one():
    with Work():
        path = written("a", b"old")
        assert fails(filesystem.put, path, b"new", (b"another",)) == "ValueError"
        assert filesystem.read(path, 0, 99) == b"old"
        assert [name for name, _, _ in filesystem.ls(FOLDER)] == ["a"]
        filesystem.put(path, b"old", (filesystem.sum_up(path),))


def test_a_walk_tells_of_all_that_is_below():
    with Work():
        filesystem.make_folder(FOLDER + "/x/y")
        written("x/y/f", b"12")
        written("z", b"")
        found = sorted(filesystem.walk(FOLDER, False))
        assert found == [("x", True, 0, b""), ("x/y", True, 0, b""), ("x/y/f", False, 2, b""), ("z", False, 0, b"")] or [
            (name, is_folder) for name, is_folder, _, _ in found
        ] == [("x", True), ("x/y", True), ("x/y/f", False), ("z", False)]
        sums = {name: summed for name, _, _, summed in filesystem.walk(FOLDER, True)}
        assert len(sums["z"]) in (4, 16)
        assert sums["x/y/f"] != sums["z"]


def test_a_folder_with_many_files_is_removed_a_few_at_a_time():
    with Work():
        filesystem.make_folder(FOLDER + "/many/deep/er")
        for number in range(2 * filesystem.MANY + 1):
            written(f"many/{number}", b"")
        counts = list(filesystem.remove_all(FOLDER + "/many"))
        assert counts[-1] == 2 * filesystem.MANY + 4
        assert list(filesystem.ls(FOLDER)) == []


class Broken:
    """Stands where `os` stands, with something of it replaced."""

    def __init__(self, **replaced):
        self._replaced = replaced

    def __getattr__(self, name):
        return self._replaced.get(name) or getattr(os, name)

    def __enter__(self):
        filesystem.os = self

    def __exit__(self, *error):
        filesystem.os = os


def test_a_folder_that_cannot_be_made_says_why():
    def mkdir(path):
        raise OSError(28)

    with Broken(mkdir=mkdir):
        try:
            filesystem.make_folder(FOLDER + "/none")
            raised = None
        except OSError as error:
            raised = error.args[0]
    assert raised == 28


def test_a_file_system_that_counts_a_block_twice_is_full():
    with Broken(statvfs=lambda place: (4096, 4096, 10, (1 << 32) - 1, 0, 0, 0, 0, 0, 255)):
        assert filesystem.space()[0][1:] == (40960, 0)


def test_a_copy_that_is_interrupted_leaves_the_old_file_and_nothing_beside_it():
    def interrupted(*args):
        raise KeyboardInterrupt

    with Work():
        source, target = written("a", b"new"), written("b", b"old")
        replace, filesystem._replace = filesystem._replace, interrupted
        try:
            filesystem.copy(source, target)
        except KeyboardInterrupt:
            pass
        finally:
            filesystem._replace = replace
        assert filesystem.read(target, 0, 99) == b"old"
        assert sorted(name for name, _, _ in filesystem.ls(FOLDER)) == ["a", "b"]


def test_memory_and_space_are_numbers():
    assert filesystem.free_memory() > 0
    for place, size, free in filesystem.space():
        assert place and 0 <= free <= size
