"""A kernel's end says nothing on standard error, whatever runs when it comes, and however often it is tried."""

import os
import random
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from frontend import Notebook, wait_for_end
from jupyter_client import KernelManager
from patience import PATIENCE_S

RUNS = 4  # an end is a matter of chance: often enough in one run, and the suite runs often
BOARD = "%%ucore\n1 + 1"
ENDLESS_BOARD = "%%ucore\nimport time\nprint('started')\nwhile True:\n    time.sleep(0.01)"
ENDLESS_HOST = "import time\nprint('started')\nwhile True:\n    time.sleep(0.01)"
DEAF_HOST = (
    "import time\nprint('started')\nwhile True:\n    try:\n        time.sleep(0.01)\n    except BaseException:\n        pass"
)
PRODUCER = """%%ucore
import struct, time, _thread
def produce(pipe):
    while ucore.is_pipe_open("quiet"):
        pipe.write(struct.pack("<f", 1.0))
        time.sleep_ms(5)
_thread.start_new_thread(produce, (ucore.open_pipe("quiet"),))"""
CHART = "from ukernel.pipes import live_plot\nlive_plot('quiet', decoder='<f')"


class Quiet:
    """A notebook whose processes' standard error is kept. A context manager, also several times; its end shuts the kernel down."""

    def __init__(self, folder):
        self.log = folder / "stderr.txt"

    def __enter__(self) -> Notebook:
        self._file = open(self.log, "ab")
        self.notebook = Notebook("ucore-virtual", stderr=self._file)
        return self.notebook.__enter__()

    def __exit__(self, *exc_info) -> None:
        with self._file:
            processes = psutil.Process(self.notebook.manager.provisioner.pid).children(recursive=True)
            self.notebook.__exit__()
        wait_for_end([process for process in processes if _is_python_side(process)])

    @property
    def said(self) -> str:
        return self.log.read_text()


def _is_python_side(process: psutil.Process) -> bool:
    try:
        return "ukernel.kernel.subkernel_main" in process.cmdline()
    except psutil.Error:
        return False


@pytest.fixture
def quiet(private_environment, tmp_path):
    return Quiet(tmp_path)


def _start(notebook: Notebook, code: str) -> str:
    request = notebook.send(code)
    notebook.wait_for_text(request, "started")
    return request


@pytest.mark.slow
@pytest.mark.parametrize("code", ["1 + 1", BOARD, "1 / 0", "%%ucore\n1 / 0", "print('x' * 200_000)"])
def test_a_shutdown_right_after_a_cell(private_environment, tmp_path, code):
    chance = random.Random(code)
    said = []
    for _ in range(RUNS):
        quiet = Quiet(tmp_path)
        with quiet as notebook:
            notebook.send(code)
            notebook.client.get_shell_msg(timeout=PATIENCE_S)  # the reply is enough: the cell's last words may still come
            time.sleep(chance.choice((0, 0, 0.001, 0.003, 0.01)))  # what a front end may take before it goes
        said.append(quiet.said)
    assert said == [""] * RUNS


@pytest.mark.parametrize("code", [ENDLESS_HOST, ENDLESS_BOARD, DEAF_HOST])
def test_a_shutdown_while_a_cell_runs(quiet, code):
    with quiet as notebook:
        _start(notebook, code)
    assert quiet.said == ""


@pytest.mark.parametrize("code", [ENDLESS_HOST, ENDLESS_BOARD])
def test_a_shutdown_right_after_an_interrupt(quiet, code):
    with quiet as notebook:
        _start(notebook, code)
        notebook.interrupt()
    assert quiet.said == ""


def test_a_shutdown_with_cells_in_line(quiet):
    with quiet as notebook:
        _start(notebook, ENDLESS_BOARD)
        for code in ("1", BOARD, "2"):
            notebook.send(code)
    assert quiet.said == ""


def test_a_shutdown_before_the_python_side_is_there(private_environment, tmp_path):
    chance = random.Random(12)
    log = tmp_path / "stderr.txt"
    for _ in range(RUNS):
        manager = KernelManager(kernel_name="ucore-virtual")
        with open(log, "ab") as file:
            manager.start_kernel(stderr=file)
        time.sleep(chance.uniform(0, 1))
        manager.shutdown_kernel()
    assert log.read_text() == ""


def test_a_shutdown_while_a_chart_moves(quiet):
    pytest.importorskip("anywidget")
    for _ in range(RUNS // 2):
        with quiet as notebook:
            assert notebook.run(PRODUCER).error is None
            assert notebook.run(CHART).error is None
            notebook.run("import time; time.sleep(0.3)")
    assert quiet.said == ""


def test_a_shutdown_in_which_zeromq_is_the_first_to_go(quiet):
    pytest.importorskip("anywidget")
    slow_end = """
import time, zmq.utils.garbage
def stop(stop=zmq.utils.garbage.gc.stop, sleep=time.sleep):
    stop()
    sleep(1)  # what is sent now has no collector any more
zmq.utils.garbage.gc.stop = stop
from IPython.display import display
"""
    big = "display({'image/png': b'x' * 100_000}, raw=True)"
    with quiet as notebook:
        assert notebook.run(PRODUCER).error is None
        assert notebook.run(CHART).error is None
        assert notebook.run(slow_end + big).error is None
    assert quiet.said == ""


def test_restarts(quiet):
    with quiet as notebook:
        for number in range(2 * RUNS):
            notebook.run(BOARD if number % 2 else "1")
            notebook.manager.restart_kernel()
            notebook.client.wait_for_ready(timeout=PATIENCE_S)
    assert quiet.said == ""


@pytest.fixture
def paper(tmp_path):
    cells = [nbformat.v4.new_code_cell(code) for code in ("print('host')", "%%ucore\nprint('board')")]
    metadata = {"kernelspec": {"name": "ucore-virtual", "display_name": "µcore"}}
    path = tmp_path / "two.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["-c", "from nbclient.cli import main; main()"],
        ["-m", "nbconvert", "--execute", "--to", "notebook", "--output", "out.ipynb", "--log-level=ERROR"],
        ["-m", "papermill", "--no-progress-bar", "--log-level=ERROR"],
    ],
    ids=["jupyter execute", "nbconvert", "papermill"],
)
def test_programs_that_run_notebooks(private_environment, paper, command):
    output = [str(paper.with_name("out.ipynb"))] if "papermill" in command else []
    said = []
    for _ in range(RUNS // 2):
        done = subprocess.run(
            [sys.executable, *command, str(paper), *output],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        assert done.returncode == 0, done.stderr
        said.append("".join(line for line in done.stderr.splitlines(True) if not line.startswith("[NbClientApp]")))
    assert said == [""] * (RUNS // 2)


def test_a_kernel_whose_parent_dies(private_environment, tmp_path):
    log = tmp_path / "stderr.txt"
    server = (
        "import os, sys, time\nfrom jupyter_client import KernelManager\n"
        "manager = KernelManager(kernel_name='ucore-virtual')\n"
        "manager.start_kernel(stderr=open(sys.argv[1], 'ab'))\n"
        "client = manager.client(); client.start_channels(); client.wait_for_ready(timeout=60)\n"
        "client.execute('%%ucore\\n1', reply=True, timeout=60)\n"
        "print(manager.provisioner.pid, manager.connection_file, flush=True)\nos.read(0, 1)\nos._exit(1)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", server, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid, connection_file = parent.stdout.readline().split()
    kernel = psutil.Process(int(pid))
    processes = [kernel, *kernel.children(recursive=True)]
    parent.communicate("\n")
    wait_for_end(processes)
    os.unlink(connection_file)  # a server that is killed leaves it, whatever the kernel
    assert log.read_text() == ""
