"""The listener: who has not proved that it knows the token learns nothing and does no harm."""

import json
import re
import socket
import threading

import pytest
from patience import PATIENCE_S, wait_until
from subscription import Subscription

from ukernel.client import connection as client
from ukernel.errors import (
    HubDeniedError,
    HubError,
    PipeNameError,
    UsageError,
)
from ukernel.hub import listener
from ukernel.protocol import handshake, statefile


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
        client.socket.create_connection = listening
        client.open_reader("adc").close()
        client.connect(start=False).close()
    finally:
        client.socket.create_connection = original
    assert heard
    assert here.token.encode() not in b"".join(heard)


def test_a_squatter_on_the_hubs_port_is_found_out(hub):
    """It greets like a hub and accepts anything, but cannot prove that it knows the token."""

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
        thief.bind(("127.0.0.1", statefile.read().port))
        thief.listen()
