"""A folder of the host's, as files of the board: on a host made by hand, on whatever Python runs this."""

from _thread import get_ident

from ucore import remote, wire
from ucore.quirks import json


def test_a_python_that_mounts_nothing_says_so():
    class Plain:
        """As `os` is where it cannot."""

    was, remote.os = remote.os, Plain
    was_cpython, remote.CPYTHON = remote.CPYTHON, True  # which looks for no module `vfs`
    try:
        remote.mount(1, False)
        said = ""
    except NotImplementedError as error:
        said = str(error)
    finally:
        remote.os, remote.CPYTHON = was, was_cpython
    assert said == "this board's Python mounts nothing"


class NoLock:
    def __enter__(self):
        pass

    def __exit__(self, *error):
        pass


class Host:
    """Stands where the link stands, and answers for a host that has `files`."""

    def __init__(self, **files):
        self.files = files
        self.session = 1
        self.leave = self.gone = False
        self.payload = 112
        self.main = get_ident()
        self.output = self
        self.big = self.tx = NoLock()
        self.fetched = None
        self.asked = []
        self.parts = b""
        self.ready = []  # messages for `take`
        self.answers = True
        self.is_callback = False
        self.breaks = None  # raised once, by the next pump

    # of the link

    def inside(self):
        return self.is_callback

    def do(self, call, *args):
        return call(*args)

    def drain(self):
        pass

    def idle(self, ms):
        pass

    def pump(self, wait_ms=0):
        if self.breaks:
            error, self.breaks = self.breaks, None
            raise error
        if not self.answers:
            self.gone = True  # instead of 10 s

    def room(self, size):
        return True

    def commit(self, body, meta):
        self.parts += bytes(body[2:])
        if body[0] != wire.PART:
            message, self.parts = self.parts, b""
            assert message[:3] == bytes((wire.REMOTE_REQUEST, 7, 1)), message
            self.answer(message[3:])

    def take(self, type):
        assert type == wire.REMOTE_REPLY
        return self.ready.pop(0) if self.ready else None

    # of the host

    def answer(self, question):
        at = question.find(b"\n")
        count, what, *args = json.loads(question[:at])
        self.asked.append(what)
        if not self.answers:
            return
        error, value, data = 0, None, b""
        name = args[0].strip("/")
        if what == "open":
            if args[1][0] == "w":
                self.files[name] = b""
            if name in self.files:
                value, data = len(self.files[name]), self.files[name][: args[2]] if args[1][0] == "r" else b""
            else:
                error = 2
        elif what == "read":
            data = self.files[name][args[1] : args[1] + args[2]]
        elif what == "write":
            old = self.files[name]
            self.files[name] = old[: args[1]] + question[at + 1 :] + old[args[1] + len(question) - at - 1 :]
        elif what == "ls":
            names = sorted(self.files)[args[1] : args[1] + 2]
            value = [[name, 0x8000, len(self.files[name])] for name in names], args[1] + 2 < len(self.files)
        else:
            error = 19
        self.ready.append((wire.REMOTE_REPLY, 263, json.dumps([count, error, value]).encode() + b"\n" + data))


def folder(host):
    found = remote.Folder(host, 263)
    remote._leave = remote.hurry = lambda *args: None  # nothing is mounted here
    return found


def number_of(call, *args):
    try:
        call(*args)
    except OSError as error:
        return error.args[0]
    return 0


CONTENT = bytes(range(256)) * 10


def test_a_file_is_read_in_pieces_and_small_ones_by_the_question_that_opens_them():
    host = Host(big=CONTENT, small=b"12")
    assert folder(host).open("/small", "rb").read() == b"12"
    assert host.asked == ["open", "read"]  # at its end
    assert folder(host).open("/big", "rb").read() == CONTENT
    assert host.asked.count("read") == 1 + 2 + 1


def test_reads_of_a_few_bytes_ask_once_for_many():
    host = Host(big=CONTENT)
    file = folder(host).open("/big", "rb")
    for at in range(0, 500, 5):
        assert file.read(5) == CONTENT[at : at + 5]
    assert host.asked == ["open"]
    buffer = bytearray(1000)
    assert file.readinto(buffer) == 1000
    assert bytes(buffer) == CONTENT[500:1500]
    file.seek(-5, 2)
    assert (file.tell(), file.readinto(buffer), file.readinto(buffer)) == (len(CONTENT) - 5, 5, 0)


def test_text_is_read_by_characters_and_lines_across_pieces():
    text = "".join([f"zeile {number} äöü€\n" for number in range(200)])
    host = Host(text=text.encode())
    assert folder(host).open("/text", "r").read() == text
    assert list(folder(host).open("/text", "r")) == [line + "\n" for line in text.split("\n")[:-1]]
    file = folder(host).open("/text", "rt")
    assert (file.read(9), file.read(3), file.readline()) == (text[:9], text[9:12], "\n")
    assert file.readlines()[-1] == "zeile 199 äöü€\n"


def test_what_is_written_is_sent_in_pieces_and_the_rest_when_it_is_closed():
    host = Host()
    with folder(host).open("/new", "w") as file:
        for number in range(300):
            assert file.write(f"{number} ä\n") == len((f"{number} ä\n").encode())
        assert host.asked.count("write") < 5
        assert file.write(CONTENT) == len(CONTENT)
    assert host.files["new"] == "".join([f"{number} ä\n" for number in range(300)]).encode() + CONTENT
    assert number_of(file.write, b"1") == 9
    assert number_of(file.read) == 9


def test_a_file_that_is_read_and_written_has_one_place():
    host = Host(both=b"0123456789")
    file = folder(host).open("/both", "r+b")
    assert file.read(2) == b"01"
    file.write(b"ab")
    assert file.read(2) == b"45"
    file.seek(0)
    assert file.read() == b"01ab456789"
    file.close()


def test_a_folder_is_listed_to_its_end():
    host = Host(a=b"1", b=b"", c=b"123", d=b"", e=b"12345")
    assert [(entry[0], entry[3]) for entry in folder(host).ilistdir("/")] == [("a", 1), ("b", 0), ("c", 3), ("d", 0), ("e", 5)]


def test_an_error_of_the_hosts_is_an_oserror_here():
    host = Host()
    assert number_of(folder(host).open, "/none", "r") == 2


def test_a_host_that_does_not_answer_is_an_oserror_and_its_late_answer_nobodys():
    host = Host(a=b"1", b=b"22")
    found = folder(host)
    host.answers = False
    assert number_of(found.open, "/a", "r") == 110
    assert number_of(found.open, "/a", "r") == 110  # gone: it is not even asked
    assert host.asked == ["open"]
    host.answers, host.gone = True, False
    host.ready.append((wire.REMOTE_REPLY, 263, b"[1,0,1]\n1"))
    assert found.open("/b", "rb").read() == b"22"


def test_an_answer_that_the_main_thread_has_taken_for_a_thread_counts():
    host = Host(a=b"1")
    take = host.take

    def elsewhere(type):
        message = take(type)
        if message:
            host.fetched = message[2]

    host.take = elsewhere
    assert folder(host).open("/a", "rb").read() == b"1"


def test_a_session_that_is_over_a_host_that_leaves_and_an_end_are_oserrors():
    host = Host(a=b"1")
    found = folder(host)
    host.leave = True
    assert number_of(found.open, "/a", "r") == 19
    host.leave = False
    assert found.open("/a", "rb").read() == b"1"
    host.session = 2
    assert number_of(found.open, "/a", "r") == 19
    host.session = 1
    assert number_of(found.stat, "/a") == 19  # the host knows the mount no more
    assert number_of(found.open, "/a", "r") == 19
    assert host.asked[-1] == "stat"


def test_a_callback_does_not_wait():
    host = Host(a=b"1")
    host.is_callback = True
    assert number_of(folder(host).open, "/a", "r") == 16
    assert host.asked == []


def test_an_interrupt_amid_a_question_does_not_leave_half_of_it():
    host = Host(a=b"")
    file = folder(host).open("/a", "wb")
    rooms = [True, False]
    host.room = lambda size: rooms.pop(0) if rooms else True  # the second part has to wait
    host.breaks = KeyboardInterrupt()
    try:
        file.write(bytes(remote.CHUNK))
        raise AssertionError("no interrupt")
    except KeyboardInterrupt:
        pass
    assert host.parts == b""
    assert host.asked == ["open", "write"]
