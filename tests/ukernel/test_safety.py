"""Another user of the same machine gets nothing: a real hub, and a process with another uid. Needs root, to become that user."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from scripted import running_hub

from ukernel.client import connection
from ukernel.protocol import statefile

NOBODY = 65534

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user: run the tests as root for these"
)

# What a stranger can do with the standard library alone: look, read, replace, listen, knock.
STRANGER = """
import json, os, socket, sys, tempfile
BECOME
path, port = sys.argv[1], int(sys.argv[2])
found = {}
def attempt(name, action):
    try:
        found[name] = str(action())
    except Exception as error:
        found[name] = type(error).__name__
attempt("list", lambda: os.listdir(os.path.dirname(path)))
attempt("read", lambda: open(path).read())
attempt("write", lambda: open(path, "w"))
def replace():
    descriptor, own = tempfile.mkstemp()
    os.close(descriptor)
    try:
        os.rename(own, path)
    except OSError:
        os.remove(own)
        raise
attempt("replace", replace)
attempt("remove", lambda: os.remove(path))
attempt("lock", lambda: open(path + ".lock"))
attempt("squat", lambda: socket.socket().bind(("127.0.0.1", port)))
def knock(line):
    with socket.socket() as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        greeting = sock.makefile("rb").readline()
        assert greeting.startswith(b"ucore 1 ")
        sock.sendall(line)
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer.decode()
claim = {"role": "reader", "pipe": "adc", "nonce": "ab" * 16}
attempt("no proof", lambda: knock(json.dumps(claim).encode() + b"\\n"))
attempt("wrong proof", lambda: knock(json.dumps({**claim, "proof": "0" * 64}).encode() + b"\\n"))
attempt("client", lambda: knock(json.dumps({**claim, "role": "client", "proof": "0" * 64}).encode() + b"\\n"))
print(json.dumps(found))
"""


# In the process itself, once it has loaded what it needs: another user may not even be able to run this Python.
BECOME = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); assert os.geteuid() == {NOBODY}"


def as_nobody(code, *arguments):
    command = [sys.executable, "-c", code.replace("BECOME", BECOME), *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True)


@pytest.fixture
def open_folder():
    """A folder that everybody can look into, and that is below none which keeps them out."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own are closed to others
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("existing", [False, True], ids=["a folder of our own", "a folder that was there"])
def test_another_user_can_neither_read_nor_replace_nor_join(open_folder, monkeypatch, existing):
    path = open_folder / "hub.json" if existing else open_folder / "run" / "hub.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    with running_hub() as hub, connection.connect(start=False) as attached:
        attached.request("attach_request", {"board": "scripted://kitchen", "client": "a notebook"})
        hub.boards["kitchen"].open("adc")
        hub.boards["kitchen"].write(b"secret", 6, 0)
        here = statefile.read()
        done = as_nobody(STRANGER, str(path), str(here.port))
        assert done.returncode == 0, done.stderr
        assert here.token not in done.stdout and "secret" not in done.stdout
        found = json.loads(done.stdout)
        for name in ("read", "write", "replace", "remove", "lock"):
            assert found[name] == "PermissionError", found
        assert (found["list"] == "PermissionError") is not existing
        assert found["squat"] == "OSError"
        for name in ("no proof", "wrong proof", "client"):
            assert found[name].startswith("{") and json.loads(found[name])["ok"] is False, found
        assert statefile.read() == here  # and the hub lives on
        assert attached.request("pipes_request")["pipes"][0]["readers"] == 0
    if not existing:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_our_own_client_says_whose_hub_it_is(open_folder, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(open_folder / "hub.json"))
    with running_hub():
        done = as_nobody(
            "import os, ukernel.client.connection\nfrom ukernel.pipes import collect\nBECOME\n"
            "try:\n    collect('adc', seconds=1)\nexcept Exception as error:\n    print(type(error).__name__, error)"
        )
    assert done.stdout.startswith("HubDeniedError"), done.stdout + done.stderr
    assert "another user's" in done.stdout and "UCORE_STATE_PATH" in done.stdout


def test_a_state_file_that_another_user_has_left_is_not_believed(open_folder, monkeypatch):
    path = open_folder / "hub.json"
    monkeypatch.setenv("UCORE_STATE_PATH", str(path))
    with running_hub():
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(connection.HubDeniedError, match="another user"):
            connection.open_reader("adc")
