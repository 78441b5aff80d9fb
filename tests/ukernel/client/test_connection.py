"""Clients of the hub: they find it, or start exactly one, and survive its comings and goings. The hubs are real processes."""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from scripted import PATIENCE_S, wait_until

from ukernel.client import connection, detachedprocess, discovery
from ukernel.errors import HubDeniedError, HubError, HubUnreachableError, NoAnswerError, PipeNameError, SettingError
from ukernel.protocol import handshake, statefile


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """A state file of this test's own; whatever hub it names in the end is stopped."""
    path = tmp_path / "run" / "hub.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    monkeypatch.setenv("UCORE_HUB_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "10")
    for name in ("UCORE_PIPE_PORT", "UCORE_PIPE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield path
    stop_hubs()


def stop_hubs():
    """Stop every hub that this process started: also one that lost a race, and took over when the winner left."""
    deadline = time.monotonic() + PATIENCE_S
    while statefile.read() is not None or any(hub.poll() is None for hub in detachedprocess._started):
        assert time.monotonic() < deadline, "a hub does not leave"
        try:
            with connection.connect(start=False, timeout_s=0) as stopper:
                stopper.request("stop_request")
        except (HubError, OSError):
            time.sleep(0.01)


def log(path):
    return (path.parent.parent / "log").read_text()


def test_a_client_starts_the_hub_when_there_is_none(path):
    with connection.connect() as first:
        assert first.request("pipes_request") == {"status": "ok", "pipes": []}
        here = statefile.read()
        assert here.pid == detachedprocess._started[-1].pid
    with connection.connect() as second:
        assert second.request("boards_request")["status"] == "ok"
    assert statefile.read() == here


def test_a_client_that_must_not_start_one_says_that_there_is_none(path):
    with pytest.raises(HubUnreachableError, match=str(path)):
        connection.connect(start=False)
    assert not path.exists()


def test_clients_that_start_hubs_at_the_same_time_end_with_one(path):
    code = (
        "import sys; sys.stdin.readline(); from ukernel.client import connection; from ukernel.protocol import handshake, statefile; c = connection.connect(); "
        "c.request('pipes_request'); print(statefile.read().pid, flush=True); sys.stdin.readline()"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        hubs = {racer.stdout.readline().strip() for racer in racers}
        assert len(hubs) == 1
        assert log(path).count("listens") == 1
    finally:
        for racer in racers:
            racer.communicate("stop\n")


def test_threads_that_start_hubs_at_the_same_time_end_with_one(path):
    clients = []
    threads = [threading.Thread(target=lambda: clients.append(connection.connect())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(clients) == 4
    for one in clients:
        assert one.request("pipes_request")["status"] == "ok"
        one.close()
    assert log(path).count("listens") == 1


def test_a_killed_hub_is_replaced(path):
    with connection.connect() as first:
        killed = statefile.read()
        os.kill(killed.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        with pytest.raises(HubUnreachableError, match="lost"):
            first.request("pipes_request")
            first.receive(PATIENCE_S)
    wait_until(lambda: statefile.read() is None, "the lock's release")
    assert path.exists()  # stale: nobody tidied up
    with connection.connect() as second:
        assert second.request("pipes_request")["status"] == "ok"
        assert statefile.read().pid != killed.pid


def test_a_client_that_ends_tidies_up_behind_a_killed_hub_and_leaves_a_live_one_alone(path):
    with connection.connect():
        discovery.remove_stale_file()
        killed = statefile.read()
        os.kill(killed.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    wait_until(lambda: statefile.read() is None, "the lock's release")
    discovery.remove_stale_file()
    assert not path.exists()
    discovery.remove_stale_file()


def test_a_stale_file_whose_port_somebody_else_has_is_not_connected_to(path):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.2)
        state_file = statefile.StateFile()
        assert state_file.acquire()
        state_file.write(statefile.HubInfo(1, "127.0.0.1", stranger.getsockname()[1], "0f" * 32, connection.BUILD))
        state_file.release()
        with connection.connect() as found:
            assert found.request("pipes_request")["status"] == "ok"
        with pytest.raises(TimeoutError):
            stranger.accept()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_the_hub_leave_tidily(path, number):
    with connection.connect() as attached:
        os.kill(statefile.read().pid, number)
        with pytest.raises(HubUnreachableError):
            attached.receive(PATIENCE_S)
    assert detachedprocess._started[-1].wait(PATIENCE_S) == 0
    assert not path.exists()


def test_an_unused_hub_leaves(path, monkeypatch):
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.05")
    connection.connect().close()
    assert detachedprocess._started[-1].wait(PATIENCE_S) == 0
    assert not path.exists()


def test_clients_come_through_while_hubs_come_and_go(path, monkeypatch):
    """With a linger of nothing every client meets a hub that leaves, has left, or is just starting."""
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.001")
    for _ in range(5):
        with connection.connect() as passing:
            assert passing.request("pipes_request")["status"] == "ok"


def test_a_hub_that_cannot_start_is_an_error_that_says_how_to_look(monkeypatch):
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "never")
    with pytest.raises(HubUnreachableError, match=r"ukernel\.hub"):
        connection.connect()


def test_the_hub_keeps_nothing_of_its_starter_open(path):
    """Whoever waits for the end of a pipe that the starter had must not wait for the hub."""
    code = "from ukernel.client import connection; connection.connect().close(); print('started')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    assert done.stdout.strip() == b"started"
    assert statefile.read() is not None


class OlderHub:
    """A hub of another build, to the extent that a client sees it."""

    def __init__(self, answer):
        self.state_file = statefile.StateFile()
        assert self.state_file.acquire()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.token = "0f" * 32
        self.answer = answer
        self.state_file.write(statefile.HubInfo(1, "127.0.0.1", self.server.getsockname()[1], self.token, "0.0.1"))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        sock, _ = self.server.accept()
        with sock, sock.makefile("rwb") as lines:
            nonce = "0" * 32
            lines.write(f"ucore 1 {nonce}\n".encode())
            lines.flush()
            request = json.loads(lines.readline())
            proof = handshake.hub_proof(self.token, nonce, request["nonce"])
            lines.write(json.dumps({"ok": True, "proof": proof}).encode() + b"\n")
            lines.flush()
            asked = json.loads(lines.readline())
            assert (asked["type"], asked["content"]) == ("stop_request", {"only_if_idle": True})
            if self.answer["status"] == "ok":
                self.server.close()
                self.state_file.remove()
                self.state_file.release()
            lines.write(json.dumps({"type": "stop_reply", "parent": asked["id"], "content": self.answer}).encode() + b"\n")
            lines.flush()


def test_an_idle_hub_of_another_build_retires(path):
    OlderHub({"status": "ok"})
    with connection.connect() as found:
        assert found.request("pipes_request")["status"] == "ok"
        assert statefile.read().build == connection.BUILD


def test_a_hub_of_another_build_that_is_used_is_named_with_its_users(path):
    old = OlderHub({"status": "error", "ename": "HubError", "evalue": "The board hub (build 0.0.1) is used by lab.ipynb."})
    try:
        with pytest.raises(HubError, match=r"lab\.ipynb.*ucore stop"):
            connection.connect()
    finally:
        old.server.close()
        old.state_file.release()


# --- messages ---------------------------------------------------------------------------------------


@pytest.fixture
def attached():
    with connection.connect() as attached:
        yield attached


def test_other_messages_wait_while_a_request_is_answered(attached):
    first = attached.send("pipes_request", {})
    assert attached.request("boards_request")["status"] == "ok"
    message = attached.receive(PATIENCE_S)
    assert (message["type"], message["parent"]) == ("pipes_reply", first)


def test_drain_gives_what_is_there_and_never_waits(attached):
    assert attached.drain() == []
    attached.send("pipes_request", {})
    attached.send("pipes_request", {})
    messages = []
    while len(messages) < 2:
        select.select([attached.fileno()], [], [], PATIENCE_S)
        messages += attached.drain()
    assert [message["parent"] for message in messages] == [1, 2]
    assert attached.drain() == []


def test_receive_gives_up_in_time(attached):
    assert attached.receive(0) is None
    assert attached.receive(0.01) is None


def test_a_request_nobody_answers_is_an_error_in_time(attached):
    with pytest.raises(NoAnswerError, match="leave_request"):
        attached.request("leave_request", {}, timeout_s=0.05)


def test_threads_may_send_at_once(attached):
    def send():
        for _ in range(200):
            attached.send("pipes_request", {"padding": "x" * 5000})

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    parents = [attached.receive(PATIENCE_S)["parent"] for _ in range(800)]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(parents) == list(range(1, 801))


def test_errors_arrive_as_what_they_are(attached):
    with pytest.raises(HubError, match="in use"), socket.create_server(("127.0.0.1", 0)) as taken:
        attached.request("listen_request", {"port": taken.getsockname()[1]})


def test_a_closed_client_says_so(attached):
    attached.close()
    attached.close()
    with pytest.raises(HubUnreachableError):
        attached.send("pipes_request", {})
    with pytest.raises(HubUnreachableError):
        attached.receive(1)


# --- readers ----------------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_reader_starts_a_hub_too(path):
    with connection.open_reader("adc"), connection.connect(start=False) as watcher:
        assert watcher.request("pipes_request")["pipes"] == []


def test_a_fixed_port_is_where_readers_connect(attached, monkeypatch):
    port = free_port()
    attached.request("listen_request", {"port": port})
    monkeypatch.setenv("UCORE_PIPE_PORT", str(port))
    with connection.open_reader("adc") as reader:
        assert reader.getpeername() == ("127.0.0.1", port)


def test_a_token_from_the_environment_needs_no_state_file(attached, monkeypatch, tmp_path):
    port, token = free_port(), statefile.read().token
    attached.request("listen_request", {"port": port})
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("UCORE_PIPE_PORT", str(port))
        elsewhere.setenv("UCORE_STATE_PATH", str(tmp_path / "elsewhere.json"))
        with pytest.raises(HubDeniedError, match="UCORE_PIPE_TOKEN"):
            connection.open_reader("adc")
        elsewhere.setenv("UCORE_PIPE_TOKEN", "00" * 32)
        with pytest.raises(HubDeniedError, match="UCORE_PIPE_TOKEN"):
            connection.open_reader("adc")
        elsewhere.setenv("UCORE_PIPE_TOKEN", token)
        connection.open_reader("adc").close()
        assert not (tmp_path / "elsewhere.json").exists()


def test_a_fixed_port_never_starts_a_hub(path, monkeypatch):
    monkeypatch.setenv("UCORE_PIPE_PORT", str(free_port()))
    monkeypatch.setenv("UCORE_PIPE_TOKEN", "00" * 32)
    with pytest.raises(HubUnreachableError, match="UCORE_PIPE_PORT"):
        connection.open_reader("adc")
    assert not path.exists()


def test_a_bad_port_or_name_is_refused_at_once(attached, monkeypatch):
    with pytest.raises(PipeNameError):
        connection.open_reader("")
    monkeypatch.setenv("UCORE_PIPE_PORT", "many")
    with pytest.raises(SettingError):
        connection.open_reader("adc")


def test_what_is_no_hub_is_told_apart(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("UCORE_PIPE_PORT", str(other.getsockname()[1]))
        monkeypatch.setenv("UCORE_PIPE_TOKEN", "00" * 32)

        def speak():
            sock, _ = other.accept()
            with sock:
                sock.sendall(b"220 mail.example ESMTP\r\n")
                sock.recv(1)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(HubDeniedError, match="no board hub"):
            connection.open_reader("adc")
        thread.join(PATIENCE_S)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become somebody else")
def test_another_user_gets_nothing(monkeypatch):
    """With another uid, the state file cannot be read, and without its token the listener says nothing."""
    code = (
        "import os, sys, socket, json, encodings.idna; os.setgid(65534); os.setuid(65534)\n"
        "for path in sys.argv[2:]:\n"
        "    try: open(path); print('can read', path)\n"
        "    except PermissionError: print('cannot read')\n"
        "sock = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sock.recv(100)\n"
        "line = json.dumps({'role': 'reader', 'pipe': 'adc', 'nonce': '0' * 32, 'proof': '0' * 64})\n"
        "sock.sendall(line.encode() + b'\\n')\n"
        "print('admitted' if json.loads(sock.makefile().readline())['ok'] else 'refused')"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # only what the hub makes is to be in the way
        path = pathlib.Path(folder) / "run" / "hub.json"
        monkeypatch.setenv("UCORE_STATE_PATH", str(path))
        with connection.connect():
            path.parent.chmod(0o755)
            argv = [sys.executable, "-c", code, str(statefile.read().port), str(path), str(path) + ".lock"]
            said = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S)
            assert said.stdout.split("\n")[:3] == ["cannot read", "cannot read", "refused"], said.stderr
        stop_hubs()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("UCORE_HUB_LINGER_S", "soon", "started: UCORE_HUB_LINGER_S is 'soon': it must be a number of seconds"),
        ("UCORE_HUB_LOG", "/nowhere/at/all/log", "No such file or directory"),
    ],
)
def test_a_hub_that_cannot_start_says_why(monkeypatch, name, value, reason):
    monkeypatch.setenv(name, value)
    with pytest.raises(HubUnreachableError, match=reason):
        connection.connect()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_hub_that_is_up_has_let_go_of_the_file_for_its_first_words(path):
    with connection.connect():
        assert os.readlink(f"/proc/{statefile.read().pid}/fd/2") == os.devnull


@pytest.mark.parametrize("lose", [[""], [".lock"], ["", ".lock"]], ids=["the state file", "the lock", "both"])
def test_a_hub_in_use_is_found_by_all_whatever_is_removed_under_it(path, lose):
    with connection.connect() as first:
        here = statefile.read()
        for ending in lose:
            path.with_name(path.name + ending).unlink()
        if len(lose) == 2:  # nothing is left that could keep another hub away before the first one has looked
            wait_until(lambda: statefile.read() is not None, "the hub to publish itself again")
        with connection.connect() as second, connection.connect(start=False):
            assert second.request("pipes_request")["status"] == "ok"
        wait_until(lambda: statefile.read() == here and statefile.is_held(), "the hub to put its files back")
        assert first.request("pipes_request")["status"] == "ok"


def test_a_hub_that_holds_the_lock_and_says_nothing_is_not_called_none(path):
    state_file = statefile.StateFile()
    assert state_file.acquire()
    try:
        with pytest.raises(HubUnreachableError, match="one holds the lock"):
            connection.connect(timeout_s=0.5)
        with pytest.raises(HubUnreachableError, match="one holds the lock"):
            connection.connect(start=False, timeout_s=0.5)
    finally:
        state_file.release()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("ending", ["", ".lock"])
def test_a_fifo_in_the_place_of_a_file_is_refused_at_once(path, ending):
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fifo = path.with_name(path.name + ending)
    os.mkfifo(fifo)
    with pytest.raises(HubDeniedError, match="is a FIFO"):
        connection.connect()
    fifo.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="uses /proc, in which nothing can be made")
def test_a_hub_that_cannot_write_says_so_in_a_sentence(monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", "/proc/hub.json")
    with pytest.raises(
        HubUnreachableError, match=r"as soon as it was started: it cannot keep its files: No such .* \(/proc/hub"
    ):
        connection.connect()
