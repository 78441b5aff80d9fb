"""The kernel's process: how it starts, and every way in which it may end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

SOURCE = Path(__file__).parents[3] / "src"
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these send POSIX signals")


@pytest.fixture
def environment(tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return os.environ | {
        "PYTHONPATH": str(SOURCE),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "UCORE_STATE_PATH": str(tmp_path / "hub.json"),
        "UCORE_BOARD": str(tmp_path / "no-board"),
        "UCORE_HUB_LINGER_S": "0.2",
        "TMPDIR": str(temporary),
        "PYTHONWARNINGS": "",
    }


@pytest.fixture
def connection_file(tmp_path):
    return write_connection_file(str(tmp_path / "connection.json"), key=b"a key for tests")[0]


@pytest.fixture
def start(environment, connection_file):
    """Start a kernel process; whatever becomes of it, it is gone after the test."""
    started = []

    def start(*arguments, **changes):
        command = [sys.executable, "-m", "ukernel.kernel", "-f", connection_file, *arguments]
        started.append(subprocess.Popen(command, env=environment | changes, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for kernel in started:
        kernel.kill()
        kernel.communicate()


@pytest.fixture
def client(connection_file):
    client = BlockingKernelClient(connection_file=connection_file)
    client.load_connection_file()
    client.start_channels(hb=False)  # which calls a kernel dead that has not started within a second
    yield client
    client.stop_channels()


def family(kernel):
    process = psutil.Process(kernel.pid)
    return [process, *process.children(recursive=True)]


def wait_for_end(processes):
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []


def test_options_meant_for_ipykernel_do_not_stop_it(start, client):
    start("--HistoryManager.enabled=False", "--debug")
    client.wait_for_ready(timeout=PATIENCE_S)


def test_a_connection_over_unix_sockets_works(start, tmp_path, connection_file):
    info = json.loads(Path(connection_file).read_text())
    Path(connection_file).write_text(json.dumps(info | {"transport": "ipc", "ip": str(tmp_path / "socket")}))
    kernel = start()
    client = BlockingKernelClient(connection_file=connection_file)
    client.load_connection_file()
    client.start_channels(hb=False)
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
    finally:
        client.stop_channels()
    kernel.terminate()
    kernel.wait(PATIENCE_S)
    assert list(tmp_path.glob("socket-*")) == []


def test_a_termination_signal_ends_it_cleanly(start, client, tmp_path):
    kernel = start()
    client.wait_for_ready(timeout=PATIENCE_S)
    processes = family(kernel)
    kernel.send_signal(signal.SIGTERM)
    assert kernel.wait(PATIENCE_S) == 0
    wait_for_end(processes[1:])
    assert list((tmp_path / "tmp").glob("ucore-*")) == []


def test_a_shutdown_while_python_is_still_starting_is_answered(start, client, tmp_path):
    kernel = start()
    client.shutdown()
    assert client.get_control_msg(timeout=PATIENCE_S)["content"]["status"] == "ok"
    assert kernel.wait(PATIENCE_S) == 0
    assert list((tmp_path / "tmp").glob("ucore-*")) == []


def test_a_shutdown_ends_a_python_that_does_not_want_to(start, client):
    kernel = start()
    client.wait_for_ready(timeout=PATIENCE_S)
    stubborn = "import signal\nwhile True:\n    try:\n        print('up', flush=True)\n        signal.pause()\n"
    client.execute(stubborn + "    except BaseException:\n        pass")
    while client.get_iopub_msg(timeout=PATIENCE_S)["msg_type"] != "stream":
        pass
    processes = family(kernel)
    client.shutdown()
    assert client.get_control_msg(timeout=PATIENCE_S)["content"]["status"] == "ok"
    assert kernel.wait(PATIENCE_S) == 0
    wait_for_end(processes[1:])


def test_a_python_that_cannot_start_ends_the_kernel_and_says_why(start, tmp_path):
    (tmp_path / "ipykernel").mkdir()
    (tmp_path / "ipykernel" / "__init__.py").write_text("raise SystemExit(5)")
    kernel = start(PYTHONPATH=os.pathsep.join([str(tmp_path), str(SOURCE)]))
    _, errors = kernel.communicate(timeout=PATIENCE_S)
    assert kernel.returncode == 1
    assert "with exit code 5 before it was ready" in errors


def test_it_ends_with_the_server_that_started_it(environment, connection_file, client):
    script = (
        "import os, subprocess, sys\n"
        f"kernel = subprocess.Popen([sys.executable, '-m', 'ukernel.kernel', '-f', {connection_file!r}],"
        " env=os.environ | {'JPY_PARENT_PID': str(os.getpid())}, start_new_session=True)\n"
        "print(kernel.pid, flush=True)\n"
        "kernel.wait()\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    kernel = psutil.Process(int(server.stdout.readline()))
    client.wait_for_ready(timeout=PATIENCE_S)
    processes = [kernel, *kernel.children(recursive=True)]
    server.kill()
    server.communicate()
    wait_for_end(processes)


def test_a_missing_connection_file_is_named(environment, tmp_path):
    missing = str(tmp_path / "missing.json")
    kernel = subprocess.run(
        [sys.executable, "-m", "ukernel.kernel", "-f", missing],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert kernel.returncode == 2
    assert missing in kernel.stderr
    assert "Traceback" not in kernel.stderr
