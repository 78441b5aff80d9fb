"""The listener: strangers learn nothing and do no harm, readers get every frame or the truth about it."""

import json
import random
import re
import socket
import struct

import pytest

from scripted import PATIENCE_S, running_hub, wait_until
from ukernel import advert, client, listener
from ukernel.errors import BoardGoneError, HubDeniedError, HubError, PipeNameError, UsageError

KITCHEN = "scripted://kitchen"


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))


@pytest.fixture
def hub():
    with running_hub() as thread:
        yield thread


@pytest.fixture
def attached(hub):
    with client.connect(start=False) as attached:
        attached.request("attach_request", {"board": KITCHEN, "client": "a notebook"})
        yield attached


@pytest.fixture
def board(hub, attached):
    return hub.boards["kitchen"]


class Subscription:
    """A reader as any language would write it: four bytes of length, then the body."""

    def __init__(self, pipe, board=None, options=()):
        self.socket = client.open_reader(pipe, board, options)
        self.socket.settimeout(PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.file.close()
        self.socket.close()

    def part(self):
        """The next (word, body), None at the end."""
        head = self.file.read(4)
        if len(head) < 4:
            return None
        word = int.from_bytes(head, "little")
        return word, self.file.read(word & 0xFFFFFF)

    def frame(self):
        word, body = self.part()
        assert word == len(body), "a notice where a frame was due"
        return body

    def notice(self):
        word, body = self.part()
        assert word >> 24 == 0x81, "a frame where a notice was due"
        return json.loads(body)

    def rest(self):
        """Everything to the end: frames as bytes (batches taken apart), notices as dictionaries."""
        out = []
        while (part := self.part()) is not None:
            word, body = part
            if word >> 24 == 0x81:
                out.append(json.loads(body))
            elif word >> 24 == 0x82:
                size, _number = struct.unpack_from("<HI", body)
                out += [body[at : at + size] for at in range(6, len(body), size)]
            else:
                out.append(body)
        return out


# --- the door ---------------------------------------------------------------------------------------


def knock():
    """A connection to the listener, and its greeting."""
    here = advert.read()
    sock = socket.create_connection(("127.0.0.1", here.port), timeout=PATIENCE_S)
    return sock, sock.recv(100)


def answer_to(line):
    sock, _ = knock()
    with sock:
        sock.sendall(line)
        return everything(sock)


def everything(sock):
    data = b""
    try:
        while part := sock.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def proven(role="reader", token=None, **more):
    """A connection that has just sent a first line, with a good proof unless another token is given."""
    sock, greeting = knock()
    nonce = "ab" * 16
    proof = advert.peer_proof(token or advert.read().token, greeting[8:40].decode(), nonce, role, more.get("pipe") or "")
    sock.sendall(json.dumps({"role": role, "nonce": nonce, "proof": proof, **more}).encode() + b"\n")
    return sock


def test_the_hub_greets_with_a_fresh_nonce(hub):
    first, second = knock(), knock()
    with first[0], second[0]:
        assert re.fullmatch(rb"ucore 1 [0-9a-f]{32}\n", first[1])
        assert first[1] != second[1]


def test_a_wrong_token_is_refused_and_told_nothing(hub):
    with proven(token="00" * 32, pipe="adc") as sock:
        answer = json.loads(everything(sock))
    assert answer["ok"] is False
    assert "proof" in answer["error"]
    assert "proof" not in answer


def test_a_missing_proof_is_refused(hub):
    line = json.dumps({"role": "client", "nonce": "ab" * 16}).encode() + b"\n"
    assert json.loads(answer_to(line))["ok"] is False


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
        b"null\n",
        b'"' + b"\xff" * 10 + b'"\n',
        b"[" * 4000 + b"\n",
        b'{"role":"client","nonce":1,"proof":"x"}\n',
        b'{"role":"client","nonce":"short","proof":"x"}\n',
        b'{"role":"client","nonce":"' + b"a" * 32 + b'","proof":"\\ud800"}\n',
        b'{"role":"\\ud800","nonce":"' + b"a" * 32 + b'","proof":"x"}\n',
    ],
)
def test_a_malformed_first_line_is_refused(hub, line):
    assert json.loads(answer_to(line))["ok"] is False


def test_a_line_too_long_is_cut_short(hub):
    with knock()[0] as sock:
        try:
            sock.sendall(b"x" * 1_000_000)
        except OSError:
            pass  # refused before it was all sent
        assert b'"ok": true' not in everything(sock)
    wait_until(lambda: not hub.hub.listener.strangers)


def test_a_proof_cannot_be_used_for_another_role_or_pipe(hub):
    sock, greeting = knock()
    with sock:
        nonce = "ab" * 16
        proof = advert.peer_proof(advert.read().token, greeting[8:40].decode(), nonce, "reader", "adc")
        sock.sendall(json.dumps({"role": "reader", "pipe": "imu", "nonce": nonce, "proof": proof}).encode() + b"\n")
        assert json.loads(everything(sock))["ok"] is False


def test_an_overheard_proof_is_worthless(hub):
    overheard = []
    with proven(pipe="adc") as sock:
        overheard.append(sock)
        sock_2, _greeting = knock()
        with sock_2:
            replayed = advert.peer_proof(advert.read().token, "00" * 16, "ab" * 16, "reader", "adc")
            sock_2.sendall(
                json.dumps({"role": "reader", "pipe": "adc", "nonce": "ab" * 16, "proof": replayed}).encode() + b"\n"
            )
            assert json.loads(everything(sock_2))["ok"] is False


def test_who_dawdles_is_shown_out(hub, monkeypatch):
    monkeypatch.setattr(listener, "HANDSHAKE_TIMEOUT_S", 0.05)
    sock, _ = knock()
    with sock:
        sock.sendall(b'{"role":')
        assert everything(sock) == b""


def test_a_thousand_strangers_keep_nobody_out(hub, attached, board):
    rooms = []
    try:
        for n in range(1000):
            sock = socket.create_connection(("127.0.0.1", advert.read().port))
            rooms.append(sock)
            if n % 3 == 0:
                sock.sendall(b"noise")
        wait_until(lambda: len(hub.hub.listener.strangers) == listener.MAX_STRANGERS)
        board.open("adc")
        with Subscription("adc") as reader:
            board.write(b"1234", 4, 0)
            assert reader.frame() == b"1234"
        assert attached.request("pipes_request")["status"] == "ok"
    finally:
        for sock in rooms:
            sock.close()
    wait_until(lambda: not hub.hub.listener.strangers)


def test_the_token_never_travels(hub, board):
    here = advert.read()
    heard = []

    class Ear(socket.socket):
        def sendall(self, data, *args):
            heard.append(bytes(data))
            return super().sendall(data, *args)

        def recv(self, *args):
            data = super().recv(*args)
            heard.append(data)
            return data

    original = socket.create_connection

    def listening(address, timeout=None):
        sock = original(address, timeout)
        ear = Ear(fileno=sock.detach())
        ear.settimeout(timeout)
        return ear

    try:
        client.socket.create_connection = listening
        client.open_reader("adc").close()
        client.connect(start=False).close()
    finally:
        client.socket.create_connection = original
    assert heard
    assert here.token.encode() not in b"".join(heard)


def test_a_squatter_on_the_hubs_port_is_found_out(hub):
    """It greets like a hub and accepts anything, but cannot prove that it knows the token."""
    import threading

    with socket.create_server(("127.0.0.1", 0)) as squatter:

        def pose():
            sock, _ = squatter.accept()
            with sock:
                sock.sendall(b"ucore 1 " + b"0" * 32 + b"\n")
                line = sock.recv(4096)
                learned.append(line)
                sock.sendall(json.dumps({"ok": True, "proof": "0" * 64}).encode() + b"\n")
                sock.recv(1)

        learned = []
        thread = threading.Thread(target=pose)
        thread.start()
        here = advert.read()
        with pytest.raises(HubDeniedError, match="poses"):
            client._handshake("127.0.0.1", squatter.getsockname()[1], here.token, {"role": "client"})
        thread.join(PATIENCE_S)
    assert here.token.encode() not in learned[0]


def test_roles_options_and_names_are_checked(hub):
    with proven("admin") as sock:
        assert "role" in json.loads(everything(sock))["error"]
    with pytest.raises(UsageError, match="telepathy"):
        client.open_reader("adc", None, ["telepathy"])
    for name in ("", "x" * 65, "a\nb"):
        with pytest.raises(PipeNameError):
            client.open_reader(name)


def test_a_port_in_use_is_an_error_that_names_it(hub, attached):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(HubError, match=str(port)):
            attached.request("listen_request", {"port": port})
    assert attached.request("listen_request", {"port": port}) == {"status": "ok"}
    assert attached.request("listen_request", {"port": port}) == {"status": "ok"}
    with pytest.raises(UsageError):
        attached.request("listen_request", {"port": 70000})


def test_a_second_listener_cannot_take_the_port(hub):
    with socket.socket() as thief, pytest.raises(OSError):
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", advert.read().port))
        thief.listen()


# --- readers ----------------------------------------------------------------------------------------


def test_a_plain_reader_gets_frames_and_a_close(board):
    board.open("adc")
    with Subscription("adc") as reader:
        board.write(b"aaaabbbb", 4, 0)
        board.write(b"", 0, 2)
        board.write(b"a" * 65535, 65535, 3)
        board.close_pipe(4)
        assert reader.rest() == [b"aaaa", b"bbbb", b"", b"a" * 65535]


def test_nothing_written_after_the_subscription_is_missed(board):
    board.open("adc")
    for round in range(20):
        with Subscription("adc") as reader:
            board.write(struct.pack("<I", round), 4, round)
            assert reader.frame() == struct.pack("<I", round)


def test_a_reader_may_come_before_the_pipe(hub, board):
    with Subscription("adc", options=["notices"]) as reader, Subscription("imu") as other:
        board.open("adc", generation=7)
        board.write(b"x", 1, 0)
        assert reader.notice() == {"open": {"name": "adc", "board": "kitchen", "generation": 7, "number": 0, "unread": 0}}
        assert reader.frame() == b"x"
        assert len(hub.hub._waiting) == 1
        assert other.socket


def test_a_subscription_ends_with_its_opening(board):
    board.open("adc", generation=1)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"1", 1, 0)
        board.close_pipe(1)
        board.open("adc", generation=2)
        board.write(b"2", 1, 0)
        heard = reader.rest()
    assert heard[1:] == [b"1", {"end": "closed", "frames": 1}]


def test_batches_stay_batches(board):
    board.open("adc")
    with Subscription("adc", options=["batches"]) as reader:
        board.write(b"aaaabbbbcccc", 4, 0)
        reader.notice()
        word, body = reader.part()
        assert word == 0x82000000 | 18
        assert body == struct.pack("<HI", 4, 0) + b"aaaabbbbcccc"
        board.write(b"", 0, 3)
        assert reader.part() == (0, b"")


@pytest.mark.parametrize(("size", "count"), [(1, 1), (1, 500), (4, 110), (300, 3), (300, 400), (65535, 2), (7, 8)])
def test_the_encodings_agree_with_the_plain_definition(size, count):
    data = random.Random(size * count).randbytes(size * count)
    naive = b"".join(size.to_bytes(4, "little") + data[at : at + size] for at in range(0, len(data), size))
    assert listener.encode_plain(size, data) == naive
    assert listener.encode_batch(9, size, data) == struct.pack("<IHI", 0x82000000 | len(data) + 6, size, 9) + data


def test_a_batch_is_encoded_once_for_all_readers_of_a_kind(board, monkeypatch):
    calls = []
    for name in ("encode_plain", "encode_batch"):
        original = getattr(listener, name)
        monkeypatch.setattr(
            listener, name, lambda *args, name=name, original=original: (calls.append(name), original(*args))[1]
        )
    board.open("adc")
    readers = [Subscription("adc", options=options) for options in ([], [], ["notices"], ["batches"], ["batches"])]
    board.write(b"aaaabbbb", 4, 0)
    board.close_pipe(2)
    for reader in readers:
        with reader:
            assert [part for part in reader.rest() if isinstance(part, bytes)] == [b"aaaa", b"bbbb"]
    assert sorted(calls) == ["encode_batch", "encode_plain"]


def test_batches_that_follow_each_other_are_joined(hub, board):
    import threading

    board.open("adc")
    with Subscription("adc", options=["batches"]) as reader:
        reader.notice()
        busy, done = threading.Event(), threading.Event()
        hub.hub._loop.call_soon_threadsafe(lambda: (busy.set(), done.wait(PATIENCE_S)))
        busy.wait(PATIENCE_S)
        board.write(b"aaaabbbb", 4, 0)
        board.write(b"cccc", 4, 2)
        board.write(b"eeee", 4, 4)
        done.set()
        assert reader.part()[1] == struct.pack("<HI", 4, 0) + b"aaaabbbbcccc"
        assert reader.notice() == {"lost": 1, "cause": "board"}
        assert reader.part()[1] == struct.pack("<HI", 4, 4) + b"eeee"


def test_frames_lost_on_the_board_are_counted_to_the_last(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader, Subscription("adc") as plain:
        board.write(b"ab", 1, 10)
        board.close_pipe(15)
        assert reader.rest()[1:] == [
            {"lost": 10, "cause": "board"},
            b"a",
            b"b",
            {"lost": 3, "cause": "board"},
            {"end": "closed", "frames": 15},
        ]
        assert plain.rest() == [b"a", b"b"]


def test_frame_numbers_may_wrap(board):
    last = 0xFFFFFFFF
    board.open("adc", number=last)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"abc", 1, last)
        board.write(b"d", 1, 2)
        board.close_pipe(3)
        assert reader.rest() == [
            {"open": {"name": "adc", "board": "kitchen", "generation": 1, "number": last, "unread": 0}},
            b"a",
            b"b",
            b"c",
            b"d",
            {"end": "closed", "frames": last + 4},
        ]


def test_frames_sent_again_after_a_broken_session_come_once(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"abc", 1, 0)
        board.ready()  # a new session with the same program on the board
        board.open("adc", number=1)
        board.write(b"bcd", 1, 1)
        board.write(b"b", 1, 1)
        board.write(b"", 0, 2)
        board.close_pipe(4)
        assert reader.rest()[1:] == [b"a", b"b", b"c", b"d", {"end": "closed", "frames": 4}]


def test_frames_written_while_there_was_no_session_are_told(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"a", 1, 0)
        board.ready()
        board.open("adc", number=100)
        board.write(b"b", 1, 100)
        board.close_pipe(101)
        assert reader.rest()[2:] == [{"lost": 99, "cause": "no_listener"}, b"b", {"end": "closed", "frames": 101}]


def test_a_pipe_that_a_new_session_does_not_announce_has_ended(board):
    board.open("adc", id=1)
    board.open("imu", id=2)
    with Subscription("adc", options=["notices"]) as ended, Subscription("imu", options=["notices"]) as going:
        board.ready()
        board.open("imu", id=2)
        board.write(b"x", 1, 0, id=2)
        assert ended.rest()[1:] == [{"end": "closed", "frames": 0}]
        going.notice()
        assert going.frame() == b"x"


def test_frames_that_nobody_reads_are_counted(attached, board):
    board.open("adc")
    board.write(b"abcd", 1, 0)
    assert attached.request("pipes_request")["pipes"][0]["unread"] == 4
    with Subscription("adc", options=["notices"]) as reader:
        opened = reader.notice()["open"]
        assert (opened["number"], opened["unread"]) == (4, 4)


def test_a_board_that_goes_or_restarts_ends_its_pipes_with_that_reason(board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader, Subscription("adc") as plain:
        board.write(b"a", 1, 0)
        board.gone(BoardGoneError("The board went away."))
        assert reader.rest()[1:] == [b"a", {"end": "board gone", "frames": 1}]
        assert plain.rest() == [b"a"]
    board.ready(resumed=True)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"b", 1, 1)
        board.ready(restarted=True)
        assert reader.rest()[1:] == [b"b", {"end": "board restarted", "frames": 2}]


def test_a_stopping_hub_says_so_to_its_readers(hub, board):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as reader, Subscription("imu", options=["notices"]) as waiting:
        hub.stop()
        assert reader.rest()[-1] == {"end": "hub stopped", "frames": 0}
        assert waiting.rest() == [{"end": "hub stopped", "frames": 0}]


def test_a_reader_names_a_board_or_takes_the_only_one(hub, attached, board):
    with client.connect(start=False) as other:
        other.request("attach_request", {"board": "scripted://cellar", "client": "another"})
        cellar = hub.boards["cellar"]
        with Subscription("adc", board="cellar", options=["notices"]) as named:
            board.open("adc")
            with Subscription("adc", options=["notices"]) as unnamed:
                assert unnamed.notice()["open"]["board"] == "kitchen"
            cellar.open("adc")
            assert named.notice()["open"]["board"] == "cellar"
            with pytest.raises(PipeNameError, match="cellar and kitchen"):
                client.open_reader("adc")
            with Subscription("adc", board=KITCHEN, options=["notices"]) as by_port:
                assert by_port.notice()["open"]["board"] == "kitchen"


def test_pipes_are_listed_while_they_are_open_and_a_while_after(attached, board):
    board.open("adc")
    with Subscription("adc"):
        board.write(b"aaaa", 1, 0)
        (pipe,) = attached.request("pipes_request")["pipes"]
        assert (pipe["name"], pipe["board"], pipe["frames"], pipe["readers"], pipe["open"]) == ("adc", "kitchen", 4, 1, True)
        board.close_pipe(4)
        (pipe,) = attached.request("pipes_request")["pipes"]
        assert (pipe["frames"], pipe["open"]) == (4, False)


# --- slow readers -----------------------------------------------------------------------------------


class SlowReader(Subscription):
    """Reads nothing until it is told to; its receive buffer is small, so that the hub sees it soon."""


FRAME = 1000
BATCH = 60


def flood(hub, board, until, limit=100_000):
    """Write batches of numbered frames until a condition holds in the hub; returns how many frames."""
    number = 0
    while not hub.call(until):
        board.write(b"".join(struct.pack("<I", number + n).ljust(FRAME, b".") for n in range(BATCH)), FRAME, number)
        number += BATCH
        assert number < limit, "the hub never found the reader slow"
    return number


def test_a_slow_reader_with_notices_learns_the_exact_number(hub, board):
    board.open("adc")
    with SlowReader("adc", options=["batches"]) as slow, SlowReader("adc", options=["notices"]) as slow_too:
        hidden = {reader.batches: reader for reader in hub.hub.readers}
        written = flood(hub, board, lambda: min(reader._missed for reader in hidden.values()) > 5 * BATCH)
        assert all(reader._queued <= listener.MAX_QUEUE_BYTES for reader in hidden.values())
        board.close_pipe(written)
        for reader in (slow, slow_too):
            heard = reader.rest()
            numbers = [struct.unpack_from("<I", part)[0] for part in heard if isinstance(part, bytes)]
            lost = sum(part["lost"] for part in heard if isinstance(part, dict) and "lost" in part)
            assert heard[-1] == {"end": "closed", "frames": written}
            assert lost > 0
            assert len(numbers) + lost == written
            assert numbers == sorted(set(numbers))


def test_after_the_gap_a_slow_reader_goes_on(hub, board):
    board.open("adc")
    with SlowReader("adc", options=["notices"]) as slow:
        (hidden,) = hub.hub.readers
        written = flood(hub, board, lambda: hidden._missed > 0)
        slow.notice()
        received, lost = 0, 0
        while not lost:
            word, body = slow.part()
            if word >> 31:
                lost = json.loads(body)["lost"]
            else:
                received += 1
        assert received + lost == written
        board.write(b"again", 5, written)
        assert slow.frame() == b"again"


def test_a_slow_plain_reader_is_cut_off_with_a_reset(hub, board):
    board.open("adc")
    with SlowReader("adc") as slow:
        flood(hub, board, lambda: not hub.hub.readers)
        with pytest.raises(ConnectionResetError):
            while slow.socket.recv(65536):
                pass


def test_the_others_notice_nothing_of_a_slow_reader(hub, board):
    board.open("adc")
    with SlowReader("adc", options=["batches"]), Subscription("adc") as quick:
        import threading

        heard = []

        def read():
            while (part := quick.part()) is not None:
                heard.append(struct.unpack_from("<I", part[1])[0])

        thread = threading.Thread(target=read)
        thread.start()
        hidden = next(reader for reader in hub.hub.readers if reader.batches)
        written = flood(hub, board, lambda: hidden._missed > 0)
        board.close_pipe(written)
        thread.join(PATIENCE_S)
        assert heard == list(range(written))


def test_a_reader_that_leaves_is_forgotten(hub, board):
    board.open("adc")
    with Subscription("adc"), Subscription("never opened"):
        assert len(hub.hub.readers) == 2
    wait_until(lambda: not hub.hub.readers)
    assert not hub.hub._waiting
    board.write(b"a", 1, 0)
    assert hub.call(lambda: hub.hub.pipes()[0]["readers"]) == 0
