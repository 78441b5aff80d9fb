"""The sub-kernel process: started, reached, interrupted, ended, whatever happens to either side."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import zmq

from ukernel.kernel.messages import Message, MessageSigner
from ukernel.kernel.subkernel import Subkernel, describe_exit

CONNECTION = {"key": "a key for tests", "signature_scheme": "hmac-sha256", "kernel_name": "ucore"}
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these look at POSIX processes and folders")


@pytest.fixture(autouse=True)
def private_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    source = str(Path(__file__).parents[3] / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]))


class Client:
    """The switchboard's part: sends requests, reads answers."""

    def __init__(self, subkernel):
        self.subkernel = subkernel
        self.signer = MessageSigner(CONNECTION["key"])

    def ask(self, msg_type, content, channel="shell"):
        self.subkernel.send(channel, self.signer.make(msg_type, content, idents=[b"front"]))
        return self.receive(channel)

    def receive(self, channel):
        sock = self.subkernel.sockets[channel]
        assert sock.poll(PATIENCE_S * 1000), f"nothing came on {channel}"
        return Message(sock.recv_multipart())

    def wait_until_started(self):
        while True:
            message = self.receive("iopub")
            if message.type == "status" and message.content["execution_state"] == "starting":
                return


@pytest.fixture
def client():
    with zmq.Context() as context:
        subkernel = Subkernel(CONNECTION, "/notebook/connection.json")
        try:
            subkernel.connect(context)
            client = Client(subkernel)
            client.wait_until_started()
            yield client
        finally:
            subkernel.close()


def test_it_answers_what_was_signed_with_the_notebooks_key(client):
    reply = client.ask("kernel_info_request", {})
    assert reply.idents == [b"front"]
    assert reply.content["implementation"] == "ipython"
    assert MessageSigner(CONNECTION["key"]).accepts(reply)


def test_it_listens_where_only_this_user_can_enter():
    subkernel = Subkernel(CONNECTION, "")
    try:
        assert stat.S_IMODE(os.stat(subkernel._folder).st_mode) == 0o700
        assert subkernel._endpoint("shell").startswith(f"ipc://{subkernel._folder}/")
        assert len(subkernel._endpoint("iopub").encode()) < 100
    finally:
        subkernel.close()


def test_a_long_path_for_temporary_files_is_avoided(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    subkernel = Subkernel(CONNECTION, "")
    try:
        assert len(subkernel._endpoint("iopub").encode()) < 100
    finally:
        subkernel.close()
    assert not os.path.exists(subkernel._folder)


def test_once_connected_nothing_of_it_is_on_disk(client):
    deadline = time.monotonic() + PATIENCE_S
    while not client.subkernel.unlink_sockets():
        assert time.monotonic() < deadline
    assert not os.path.exists(client.subkernel._folder)
    assert client.ask("kernel_info_request", {}).content["status"] == "ok"
    assert client.ask("kernel_info_request", {}, "control").content["status"] == "ok"


def test_an_interrupt_stops_its_cell(client):
    request = client.signer.make("execute_request", {"code": "print(1, flush=True)\nwhile True: pass", "silent": False})
    client.subkernel.send("shell", [b"front", *request])
    while client.receive("iopub").type != "stream":
        pass
    client.subkernel.interrupt()
    assert client.receive("shell").content["ename"] == "KeyboardInterrupt"


def test_an_interrupt_while_it_is_starting_does_not_hurt_it():
    with zmq.Context() as context:
        subkernel = Subkernel(CONNECTION, "")
        try:
            subkernel.connect(context)
            client = Client(subkernel)
            client.receive("iopub")  # it listens, and is far from ready: ipykernel 7 says so with its welcome
            subkernel.interrupt()
            assert client.ask("kernel_info_request", {}).content["status"] == "ok"
        finally:
            subkernel.close()


def test_its_end_is_noticed(client):
    ended = []
    client.subkernel.on_exit(ended.append)
    os.kill(client.subkernel._process.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while not ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert client.subkernel.exit_status == -signal.SIGKILL


def test_closing_leaves_no_process_and_no_folder(client):
    process = psutil.Process(client.subkernel._process.pid)
    client.subkernel.close()
    assert not process.is_running()
    assert not os.path.exists(client.subkernel._folder)


def test_it_does_not_outlive_a_killed_parent():
    script = (
        "import sys, time\n"
        "from ukernel.kernel.subkernel import Subkernel\n"
        f"subkernel = Subkernel({CONNECTION!r}, '')\n"
        "print(subkernel._process.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    child.wait(PATIENCE_S)


@pytest.mark.parametrize(("status", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-250, "250")])
def test_the_end_of_a_process_is_put_into_words(status, words):
    assert words in describe_exit(status)
