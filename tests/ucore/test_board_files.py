"""A file that the host writes on the board: whole, or not at all. On a folder made by hand, on whatever Python runs this."""

from ucore import files


class Folder:
    """Stands where `io` and `os` stand. ``room``: bytes that it has left."""

    def __init__(self, room=100000):
        self.room = room
        self.files = {}
        self.said = []
        self.globals = {}
        self.cell = 7
        self.link = self.output = self

    def do(self, call, *args):
        call(*args)

    # io

    def open(self, path, mode):
        if "/" in path:
            raise OSError(2)
        if path == "folder":
            raise OSError(21)
        assert mode == "wb"
        self.files[path] = b""
        return File(self, path)

    # os

    def stat(self, path):
        if path in ("folder", "device"):
            return (0x4000 if path == "folder" else 0x2000,)
        if path not in self.files:
            raise OSError(2)
        return (0x8000,)

    def replace(self, old, new):
        self.files[new] = self.files.pop(old)

    rename = replace

    def remove(self, path):
        if path not in self.files:
            raise OSError(2)
        del self.files[path]

    # the runner's output

    def write(self, parent, text):
        assert parent == 7
        self.said.append(text)


class File:
    def __init__(self, folder, path):
        self.folder = folder
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def write(self, data):
        data = bytes(data)
        if len(data) > self.folder.room:
            self.folder.files[self.path] = data[: self.folder.room]
            raise OSError(28)
        self.folder.files[self.path] = data
        return len(data)


def order(path, content):
    path = path.encode()
    return bytearray(b"\0\1" + len(path).to_bytes(2, "little") + path + content)


def save(folder, path, content):
    files.io = files.os = folder
    try:
        files.update(folder, order(path, content))
    except OSError as error:
        return str(error)
    return ""


def test_a_file_holds_what_was_sent_byte_for_byte():
    folder = Folder()
    content = bytes(range(256)) * 250 + "µ\r\n".encode()
    assert save(folder, "größe.py", content) == ""
    assert folder.files == {"größe.py": content}
    assert folder.said == ["Saved to größe.py on the board.\n"]


def test_an_empty_file_is_a_file():
    folder = Folder()
    assert save(folder, "empty.txt", b"") == ""
    assert folder.files == {"empty.txt": b""}


def test_a_full_disk_leaves_the_old_file_whole_and_says_so():
    folder = Folder(room=10)
    folder.files["main.py"] = b"as it was"
    said = save(folder, "main.py", b"x" * 20)
    assert "main.py" in said and "as it is" not in said and "as it was" in said
    assert folder.files == {"main.py": b"as it was"}
    assert folder.said == []


def test_what_is_no_file_is_written_to_where_it_is():
    folder = Folder()
    assert save(folder, "device", b"x") == ""
    assert folder.files == {"device": b"x"}
    assert save(Folder(room=0), "device", b"x") != ""


def test_a_path_that_is_none_is_an_error_that_names_it():
    folder = Folder()
    assert "no/main.py" in save(folder, "no/main.py", b"x")
    assert "folder" in save(folder, "folder", b"x")
    assert folder.files == {}
