"""The cells' sys.stdin: what the user types, on whatever Python runs this."""

from _thread import get_ident

import ucore
from ucore import typed, wire


class _Typing:
    """A link: the user types these lines, each after being asked and ``looks`` further looks."""

    def __init__(self, *lines, looks=0):
        self.output = self
        self.main = get_ident()
        self.cell = 1
        self.session = 0
        self.leave = False
        self.asked = 0
        self._lines = list(lines)
        self._looks = looks
        self._left = None

    def do(self, call, *args):
        return call(*args)

    def inside(self):
        return False

    def pump(self):
        pass

    def send(self, type, parent, content, meta, session):
        assert (type, parent) == (wire.INPUT_REQUEST, self.cell)
        self.asked += 1
        self._left = self._looks

    def take(self, type):
        if self._left is None:
            return None
        if self._left:
            self._left -= 1
            return None
        self._left = None
        if not self._lines:
            self.session += 1  # the host is gone
            return None
        return type, self.cell, self._lines.pop(0).encode()

    def idle(self, ms):
        pass


def _open(typing):
    typed.start(typing)
    return typed.stdin


def _raised(call, *args):
    try:
        call(*args)
    except OSError as error:
        return str(error)
    return ""


def test_lines_are_read_one_for_each_question():
    typing = _Typing("one", "", "µ three")
    file = _open(typing)
    assert (file.readline(), file.readline(), file.readline()) == ("one\n", "\n", "µ three\n")
    assert typing.asked == 3
    assert ucore.stdin is typed.stdin is file


def test_a_loop_over_it_ends_with_the_host():
    assert list(_open(_Typing("a", "b"))) == ["a\n", "b\n"]


def test_characters_are_read_as_characters_and_bytes_as_bytes():
    file = _open(_Typing("añ€𝄞b", "cd"))
    assert (file.read(2), file.read(2), file.read(3)) == ("añ", "€𝄞", "b\nc")
    assert file.buffer.read(1) == b"d"
    room = bytearray(1)
    assert (file.buffer.readinto(room), room) == (1, b"\n")


def test_a_line_may_be_read_in_parts():
    file = _open(_Typing("µbc"))
    assert (file.readline(2), file.readline(9)) == ("µb", "c\n")


def test_to_look_asks_the_user_and_does_not_wait():
    typing = _Typing("key", looks=3)
    file = _open(typing)
    assert [file.ioctl(3, 1) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert (file.read(1), file.ioctl(3, 1), file.readline()) == ("k", 1, "ey\n")
    assert typing.asked == 1


def test_what_a_cell_has_left_of_its_line_is_not_for_the_next_one():
    typing = _Typing("yes please", "no")
    file = _open(typing)
    assert file.read(3) == "yes"
    typing.cell = 2
    assert file.readline() == "no\n"


def test_it_says_where_it_cannot_read():
    typing = _Typing("a")
    file = _open(typing)
    assert "readline()" in _raised(file.read)
    typing.cell = 0
    assert "for the cell" in _raised(file.readline)
    typing.cell = 1
    typing.main = None
    assert "for the cell" in _raised(file.readline)
    assert typing.asked == 0
