"""The listener: strangers learn nothing and do no harm, readers get every frame or the truth about it."""

import json
import random
import re
import socket
import struct

import pytest
from scripted import PATIENCE_S, running_hub, wait_until

from ukernel.client import connection
from ukernel.errors import BoardGoneError, HubDeniedError, HubError, PipeNameError, UsageError
from ukernel.hub import listener, replay, subscriber
from ukernel.hub.replay import Batch
from ukernel.link.clock import Times
from ukernel.protocol import handshake, statefile

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
    with connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": KITCHEN, "client": "a notebook"})
        yield attached


@pytest.fixture
def board(hub, attached):
    return hub.boards["kitchen"]


class Subscription:
    """A reader as any language would write it: four bytes of length, then the body."""

    def __init__(self, pipe, board=None, options=()):
        self.socket = connection.open_reader(pipe, board, options)
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
            elif word >> 24 in (0x82, 0x83):
                size, _number = struct.unpack_from("<HI", body)
                first = 6 if word >> 24 == 0x82 else 30
                out += [body[at : at + size] for at in range(first, len(body), size)] if size else [b""]
            else:
                out.append(body)
        return out


# --- the door ---------------------------------------------------------------------------------------


def knock():
    """A connection to the listener, and its greeting."""
    here = statefile.read()
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
    proof = handshake.peer_proof(token or statefile.read().token, greeting[8:40].decode(), nonce, role, more.get("pipe") or "")
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
    wait_until(lambda: not hub.hub.listener.unauthenticated)


def test_a_proof_cannot_be_used_for_another_role_or_pipe(hub):
    sock, greeting = knock()
    with sock:
        nonce = "ab" * 16
        proof = handshake.peer_proof(statefile.read().token, greeting[8:40].decode(), nonce, "reader", "adc")
        sock.sendall(json.dumps({"role": "reader", "pipe": "imu", "nonce": nonce, "proof": proof}).encode() + b"\n")
        assert json.loads(everything(sock))["ok"] is False


def test_an_overheard_proof_is_worthless(hub):
    overheard = []
    with proven(pipe="adc") as sock:
        overheard.append(sock)
        sock_2, _greeting = knock()
        with sock_2:
            replayed = handshake.peer_proof(statefile.read().token, "00" * 16, "ab" * 16, "reader", "adc")
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
            sock = socket.create_connection(("127.0.0.1", statefile.read().port))
            rooms.append(sock)
            if n % 3 == 0:
                sock.sendall(b"noise")
            elif n % 3 == 1:
                sock.sendall(b'{"role": "client"}\n')
        wait_until(
            lambda: listener.MAX_UNAUTHENTICATED // 2 < len(hub.hub.listener.unauthenticated) <= listener.MAX_UNAUTHENTICATED
        )
        board.open("adc")
        with Subscription("adc") as reader:
            board.write(b"1234", 4, 0)
            assert reader.frame() == b"1234"
        assert attached.request("pipes_request")["status"] == "ok"
    finally:
        for sock in rooms:
            sock.close()
    wait_until(lambda: not hub.hub.listener.unauthenticated)


def test_the_token_never_travels(hub, board):
    here = statefile.read()
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
        connection.socket.create_connection = listening
        connection.open_reader("adc").close()
        connection.connect(start=False).close()
    finally:
        connection.socket.create_connection = original
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
        here = statefile.read()
        with pytest.raises(HubDeniedError, match="poses"):
            connection._handshake("127.0.0.1", squatter.getsockname()[1], here.token, {"role": "client"})
        thread.join(PATIENCE_S)
    assert here.token.encode() not in learned[0]


def test_roles_options_and_names_are_checked(hub):
    with proven("admin") as sock:
        assert "role" in json.loads(everything(sock))["error"]
    with pytest.raises(UsageError, match="telepathy"):
        connection.open_reader("adc", None, ["telepathy"])
    for name in ("", "x" * 65, "a\nb"):
        with pytest.raises(PipeNameError):
            connection.open_reader(name)


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
        thief.bind(("127.0.0.1", statefile.read().port))
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
        assert len(hub.hub.boards.subscriptions.waiting) == 1
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
    batch = Batch(9 + (1 << 32), count, size, data, Times(1.5, 2.5, 0.25))
    assert subscriber.encode_plain(batch) == naive
    assert subscriber.encode_batch(batch) == struct.pack("<IHI", 0x82000000 | len(data) + 6, size, 9) + data
    timed = struct.pack("<IHIddd", 0x83000000 | len(data) + 30, size, 9, 1.5, 2.5, 0.25) + data
    assert subscriber.encode_timed(batch) == timed


def test_empty_frames_have_encodings_too():
    batch = Batch(9, 3, 0, b"", Times(1.0, 3.0, 0.5))
    assert subscriber.encode_plain(batch) == subscriber.encode_batch(batch) == bytes(12)
    assert subscriber.encode_timed(batch) == b"".join(
        struct.pack("<IHIddd", 0x83000000 | 30, 0, 9 + index, 1.0 + index, 1.0 + index, 0.5) for index in range(3)
    )


def test_a_batch_is_encoded_once_for_all_readers_of_a_kind(board, monkeypatch):
    calls = []
    for name in ("encode_plain", "encode_batch", "encode_timed"):
        original = getattr(subscriber, name)
        monkeypatch.setattr(
            subscriber, name, lambda *args, name=name, original=original: (calls.append(name), original(*args))[1]
        )
    board.open("adc")
    kinds = ([], [], ["notices"], ["batches"], ["batches"], ["timestamps"], ["timestamps"])
    readers = [Subscription("adc", options=options) for options in kinds]
    board.write(b"aaaabbbb", 4, 0)
    board.close_pipe(2)
    for reader in readers:
        with reader:
            assert [part for part in reader.rest() if isinstance(part, bytes)] == [b"aaaa", b"bbbb"]
    assert sorted(calls) == ["encode_batch", "encode_plain", "encode_timed"]


def test_batches_that_follow_each_other_are_joined(hub, board):
    import threading

    board.open("adc", drops=True)
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


@pytest.mark.parametrize(("drops", "cause"), [(True, "board"), (False, "no_listener")])
def test_frames_lost_on_the_board_are_counted_to_the_last(board, drops, cause):
    """A producer that waits loses frames only while it has no host to wait for."""
    board.open("adc", drops=drops)
    with Subscription("adc", options=["notices"]) as reader, Subscription("adc") as plain:
        board.write(b"ab", 1, 10)
        board.close_pipe(15)
        assert reader.rest()[1:] == [
            {"lost": 10, "cause": cause},
            b"a",
            b"b",
            {"lost": 3, "cause": cause},
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
    with connection.connect(start=False) as other:
        other.request("attach_request", {"board": "scripted://cellar", "client": "another"})
        cellar = hub.boards["cellar"]
        with Subscription("adc", board="cellar", options=["notices"]) as named:
            board.open("adc")
            with Subscription("adc", options=["notices"]) as unnamed:
                assert unnamed.notice()["open"]["board"] == "kitchen"
            cellar.open("adc")
            assert named.notice()["open"]["board"] == "cellar"
            with pytest.raises(PipeNameError, match="cellar and kitchen"):
                connection.open_reader("adc")
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


@pytest.fixture
def small_backlog(monkeypatch):
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 1 << 20)


FRAME = 1000
BATCH = 60


def missed(reader):
    """How many frames a reader in the hub is to get, and the hub has no more."""
    return reader.opening.buffer.start - reader._at


def flood(hub, board, until, limit=100_000):
    """Write batches of numbered frames until a condition holds in the hub; returns how many frames."""
    number = 0
    while not hub.call(until):
        board.write(b"".join(struct.pack("<I", number + n).ljust(FRAME, b".") for n in range(BATCH)), FRAME, number)
        number += BATCH
        assert number < limit, "the hub never found the reader slow"
    return number


@pytest.mark.parametrize("options", [["batches"], ["notices"], ["timestamps"]], ids=lambda options: options[0])
def test_a_slow_reader_learns_the_exact_number(hub, board, small_backlog, options):
    board.open("adc")
    with Subscription("adc", options=options) as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        written = flood(hub, board, lambda: missed(hidden) > 5 * BATCH)
        assert hub.call(lambda: hidden.opening.buffer.size_bytes) <= replay.MAX_PIPE_BYTES
        board.close_pipe(written)
        heard = slow.rest()
        numbers = [struct.unpack_from("<I", part)[0] for part in heard if isinstance(part, bytes)]
        (gap,) = [part for part in heard if isinstance(part, dict) and "lost" in part]
        assert gap["cause"] == "reader"
        assert heard[-1] == {"end": "closed", "frames": written}
        assert len(numbers) + gap["lost"] == written
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == written - 1


def test_a_slow_reader_is_told_apart_what_it_missed_and_what_never_came(hub, board, small_backlog):
    board.open("adc", drops=True)
    with Subscription("adc", options=["batches"]) as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        written, frame = 0, bytes(FRAME)
        while not hub.call(lambda: missed(hidden) > 5 * BATCH):
            board.write(frame * BATCH, FRAME, written + 7)  # seven are dropped each time
            written += 7 + BATCH
        board.close_pipe(written)
        heard = slow.rest()
        lost = {"reader": 0, "board": 0}
        for part in heard:
            if isinstance(part, dict) and "lost" in part:
                lost[part["cause"]] += part["lost"]
        assert lost["board"] == written // (7 + BATCH) * 7
        assert lost["reader"] > 0
        assert sum(part == frame for part in heard) + sum(lost.values()) == written


def test_after_the_gap_a_slow_reader_goes_on(hub, board, small_backlog):
    board.open("adc")
    with Subscription("adc", options=["notices"]) as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        written = flood(hub, board, lambda: missed(hidden) > 0)
        slow.notice()
        received, lost = 0, 0
        while received + lost < written:
            word, body = slow.part()
            if word >> 31:
                lost += json.loads(body)["lost"]
            else:
                received += 1
        assert lost > 0
        board.write(b"again", 5, written)
        assert slow.frame() == b"again"


def test_a_slow_plain_reader_is_cut_off_with_a_reset(hub, board, small_backlog):
    board.open("adc")
    with Subscription("adc") as slow:
        (hidden,) = hub.hub.boards.subscriptions.readers
        flood(hub, board, lambda: missed(hidden) > 0)
        with pytest.raises(ConnectionResetError):
            while slow.socket.recv(65536):
                pass


def test_the_others_notice_nothing_of_a_slow_reader(hub, board, small_backlog):
    board.open("adc")
    with Subscription("adc", options=["batches"]), Subscription("adc") as quick:
        import threading

        heard = []

        def read():
            while (part := quick.part()) is not None:
                heard.append(struct.unpack_from("<I", part[1])[0])

        thread = threading.Thread(target=read)
        thread.start()
        hidden = next(reader for reader in hub.hub.boards.subscriptions.readers if reader.notices)
        written = flood(hub, board, lambda: missed(hidden) > 0)
        board.close_pipe(written)
        thread.join(PATIENCE_S)
        assert heard == list(range(written))


def test_a_reader_that_leaves_is_forgotten(hub, board):
    board.open("adc")
    with Subscription("adc"), Subscription("never opened"):
        assert len(hub.hub.boards.subscriptions.readers) == 2
    wait_until(lambda: not hub.hub.boards.subscriptions.readers)
    assert not hub.hub.boards.subscriptions.waiting
    board.write(b"a", 1, 0)
    assert hub.call(lambda: hub.hub.boards.list_pipes()[0]["readers"]) == 0


# --- replay -----------------------------------------------------------------------------------------


def test_a_replay_begins_where_the_pipe_did(board):
    board.open("adc", generation=3)
    board.write(b"aaaabbbb", 4, 0)
    board.write(b"", 0, 2)
    with Subscription("adc", options=["replay"]) as reader:
        assert reader.notice() == {"open": {"name": "adc", "board": "kitchen", "generation": 3, "number": 0, "unread": 0}}
        board.write(b"cc", 1, 3)
        board.close_pipe(5)
        assert reader.rest() == [b"aaaa", b"bbbb", b"", b"c", b"c", {"end": "closed", "frames": 5}]


@pytest.mark.parametrize("reason", ["closed", "board restarted"])
def test_a_pipe_that_has_ended_is_replayed_with_its_end(board, reason):
    board.open("adc")
    board.write(b"aaaabbbb", 4, 0)
    if reason == "closed":
        board.close_pipe(2)
    else:
        board.ready(restarted=True)
    for _ in range(2):
        with Subscription("adc", options=["batches", "replay"]) as reader:
            assert reader.rest()[1:] == [b"aaaa", b"bbbb", {"end": reason, "frames": 2}]


def test_a_replay_takes_the_open_pipe_then_the_one_that_ended_last_then_the_next(hub, board):
    with Subscription("adc", options=["replay"]) as early:
        board.open("adc", generation=1)
        board.write(b"1", 1, 0)
        board.close_pipe(1)
        assert early.rest()[1:] == [b"1", {"end": "closed", "frames": 1}]
    board.open("adc", generation=2)
    board.write(b"2", 1, 0)
    board.close_pipe(1)
    with Subscription("adc", options=["replay"]) as late:
        assert late.rest()[1:] == [b"2", {"end": "closed", "frames": 1}]
    board.open("adc", generation=3)
    with Subscription("adc", options=["replay"]) as now:
        board.write(b"3", 1, 0)
        now.notice()
        assert now.frame() == b"3"


def test_without_replay_a_pipe_that_has_ended_is_not_taken(hub, board):
    board.open("adc")
    board.close_pipe(0)
    with Subscription("adc", options=["notices"]) as reader:
        assert len(hub.hub.boards.subscriptions.waiting) == 1
        board.open("adc", generation=2)
        assert reader.notice()["open"]["generation"] == 2


def test_gaps_are_replayed_as_they_were(board):
    board.open("adc", drops=True)
    board.write(b"ab", 1, 10)
    board.ready()
    board.open("adc", number=20, drops=True)
    board.write(b"c", 1, 20)
    board.close_pipe(25)
    with Subscription("adc", options=["replay"]) as reader:
        assert reader.rest()[1:] == [
            {"lost": 10, "cause": "board"},
            b"a",
            b"b",
            {"lost": 8, "cause": "no_listener"},
            b"c",
            {"lost": 4, "cause": "board"},
            {"end": "closed", "frames": 25},
        ]


def test_what_the_hub_no_longer_holds_is_told_exactly(hub, board, small_backlog):
    board.open("adc", drops=True)
    board.write(b"x", 1, 5)  # five are missing before it, and all six fall out
    written = 6
    while hub.call(lambda: hub.hub.boards.list_pipes()[0]["held"]) > written - 500:
        board.write(bytes(FRAME) * BATCH, FRAME, written)
        written += BATCH
    board.close_pipe(written)
    with Subscription("adc", options=["replay", "batches"]) as reader:
        opened, never_came, fell_out, *frames, end = reader.rest()
    assert opened["open"]["number"] == 0
    assert never_came == {"lost": 5, "cause": "board"}
    assert fell_out["cause"] == "replay"
    assert 5 + fell_out["lost"] + len(frames) == written == end["frames"]
    assert set(frames) == {bytes(FRAME)}


def test_frames_of_an_earlier_hub_are_told_as_not_held(board):
    board.open("adc", number=1000)
    board.write(b"a", 1, 1000)
    board.close_pipe(1001)
    with Subscription("adc", options=["replay"]) as reader:
        assert reader.rest()[1:] == [{"lost": 1000, "cause": "replay"}, b"a", {"end": "closed", "frames": 1001}]


def test_a_board_that_was_gone_is_replayed_past_that(board):
    board.open("adc")
    board.write(b"a", 1, 0)
    with Subscription("adc", options=["notices"]) as reader:
        board.write(b"b", 1, 1)
        board.gone(BoardGoneError("The board went away."))
        board.ready(resumed=True)
        board.write(b"c", 1, 2)
        assert reader.rest()[1:] == [b"b", {"end": "board gone", "frames": 2}]
    with Subscription("adc", options=["replay"]) as again:
        board.close_pipe(3)
        assert again.rest()[1:] == [b"a", b"b", b"c", {"end": "closed", "frames": 3}]


def test_the_replays_of_all_pipes_together_are_bounded(hub, board, monkeypatch):
    monkeypatch.setattr(replay, "MAX_ALL_BYTES", 4 << 20)
    monkeypatch.setattr(replay, "MAX_PIPE_BYTES", 1 << 20)
    for number in range(40):
        board.open(f"p{number}", id=number, generation=number)
        board.write(bytes(200_000), 1000, 0, id=number)
        if number % 2:
            board.close_pipe(200, id=number)
    openings = hub.call(
        lambda: [o for d in hub.hub.boards.by_port.values() for o in d.pipes] + list(hub.hub.boards.replay_buffers.ended)
    )
    assert len(openings) == 40
    assert sum(opening.buffer.size_bytes for opening in openings) <= 4 << 20
    ended = [opening.buffer.size_bytes for opening in hub.hub.boards.replay_buffers.ended]
    assert ended == sorted(ended)  # the oldest have gone first
    with Subscription("p39", options=["replay", "batches"]) as newest, Subscription("p1", options=["replay"]) as oldest:
        assert len(newest.rest()) == 202
        assert oldest.rest()[1:] == [{"lost": 200, "cause": "replay"}, {"end": "closed", "frames": 200}]


def test_only_so_many_pipes_that_have_ended_are_kept(hub, board):
    for number in range(replay.MAX_ENDED + 5):
        board.open(f"p{number}", generation=number)
        board.write(b"x", 1, 0)
        board.close_pipe(1)
    assert [pipe["name"] for pipe in hub.call(hub.hub.boards.list_pipes)] == [f"p{n}" for n in range(5, replay.MAX_ENDED + 5)]


def test_a_slow_pipe_costs_its_replay_little_more_than_its_bytes(hub, board):
    board.open("adc")
    for number in range(1000):
        board.write(b"abcd", 4, number)
    assert hub.call(lambda: next(iter(hub.hub.boards.by_port[KITCHEN].pipes)).buffer.size_bytes) < 50_000
    with Subscription("adc", options=["replay", "batches"]) as reader:
        board.close_pipe(1000)
        assert reader.rest()[1:-1] == [b"abcd"] * 1000


def test_a_large_replay_does_not_hold_up_the_others(hub, board, monkeypatch):
    """It comes in turns."""
    monkeypatch.setattr(subscriber, "_TURN_BYTES", 10_000)
    board.open("adc")
    for number in range(50):
        board.write(bytes(60_000), 6000, number * 10)
    turns = []
    original = subscriber.Subscriber._go_on
    monkeypatch.setattr(subscriber.Subscriber, "_go_on", lambda reader: (turns.append(1), original(reader))[1])
    with Subscription("adc", options=["replay", "batches"]) as reader:
        board.write(bytes(6000), 6000, 500)
        board.close_pipe(501)
        assert sum(isinstance(part, bytes) for part in reader.rest()) == 501
    assert len(turns) > 5


# --- times and rates --------------------------------------------------------------------------------


def test_a_board_is_asked_for_times_while_somebody_wants_them(hub, board):
    with Subscription("adc", options=["timestamps"]) as early:
        assert board.timestamps
        board.open("adc")
        with Subscription("adc", options=["timestamps"]):
            pass
        assert board.timestamps
        board.close_pipe(0)
        early.rest()
        wait_until(lambda: not board.timestamps)
    board.open("adc", generation=2)
    with Subscription("adc", options=["timestamps"]):
        assert board.timestamps
        with Subscription("imu"):
            pass
        assert board.timestamps
    wait_until(lambda: not board.timestamps)


def test_times_come_with_the_frames(board):
    board.open("adc")
    with Subscription("adc", options=["timestamps"]) as reader:
        board.write(b"aaaabbbb", 4, 0, times=Times(100.0, 101.0, 0.25))
        reader.notice()
        word, body = reader.part()
        assert word == 0x83000000 | len(body)
        assert body == struct.pack("<HIddd", 4, 0, 100.0, 101.0, 0.25) + b"aaaabbbb"
        board.write(b"", 0, 2)
        word, body = reader.part()
        size, number, first, last, error = struct.unpack("<HIddd", body)
        assert (size, number, first, error) == (0, 2, last, float("inf"))  # nobody had asked the board


def test_times_are_replayed_too(board):
    board.open("adc")
    for number in range(3):
        board.write(b"aaaabbbb", 4, 2 * number, times=Times(100.0 + number, 100.5 + number, 0.25))
    with Subscription("adc", options=["timestamps", "replay"]) as reader:
        reader.notice()
        for number in range(3):
            assert struct.unpack_from("<HIddd", reader.part()[1])[2:] == (100.0 + number, 100.5 + number, 0.25)


def test_the_rate_of_a_pipe_is_known(attached, board):
    board.open("adc")
    assert attached.request("pipes_request")["pipes"][0]["frames_per_s"] == 0
    for number in range(10):
        board.write(b"aaaa", 4, number)
    (pipe,) = attached.request("pipes_request")["pipes"]
    assert pipe["frames_per_s"] > 0
    assert pipe["bytes_per_s"] == 4 * pipe["frames_per_s"]
