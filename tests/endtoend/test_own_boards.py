"""Several notebooks, each with a board of its own, run the same cells: each reads its own pipes."""

import ast

import psutil
import pytest
from frontend import Notebook, wait_for_end

PRODUCER = """%%ucore
import struct, time, _thread

def produce(first):
    pipe = ucore.open_pipe("same")
    while ucore.is_pipe_open("same"):
        pipe.write(struct.pack("<f", first))
        time.sleep_ms(5)

_thread.start_new_thread(produce, ({},))
"""


@pytest.fixture
def pair(private_environment, tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    with Notebook("ucore-virtual") as first, Notebook("ucore-virtual") as second:
        for notebook in (first, second):
            assert notebook.run("%%ucore\nimport struct").reply["status"] == "ok"  # its board is attached
            notebook.run("from ukernel.pipes import *")
        yield first, second


def run(notebook, code):
    outcome = notebook.run(code)
    assert outcome.reply["status"] == "ok", outcome.traceback
    return outcome


def test_each_notebook_reads_the_pipe_of_its_own_board(pair):
    for number, notebook in enumerate(pair):
        run(notebook, PRODUCER.format(number + 1))
    for number, notebook in enumerate(pair):
        assert run(notebook, f"set(collect('same', n=5)) == {{{number + 1}}}").result == "True"


def test_who_waits_is_not_given_the_pipe_of_another_notebooks_board(pair):
    first, second = pair
    run(first, "waiting = subscribe('same', timeout=20)")
    run(second, PRODUCER.format(2))
    outcome = first.run("collect('same', seconds=0.3)")
    assert outcome.error == "TimeoutError"
    assert "only. To read that, say board='virtual-" in outcome.reply["evalue"]
    run(first, PRODUCER.format(1))
    assert run(first, "set(waiting.read_array(5)) == {1}").result == "True"


def test_another_board_is_read_by_its_name(pair):
    first, second = pair
    run(second, PRODUCER.format(2))
    board = ast.literal_eval(run(second, "pipes()[0].board").result)
    assert run(first, f"set(collect('same', n=5, board={board!r})) == {{2}}").result == "True"


def test_a_program_that_is_no_notebook_must_say_which(pair):
    for number, notebook in enumerate(pair):
        run(notebook, PRODUCER.format(number + 1))
    run(pair[0], "import os\nhere = os.environ.pop('UCORE_KERNEL_ID')")
    outcome = pair[0].run("try:\n    subscribe('same')\nfinally:\n    os.environ['UCORE_KERNEL_ID'] = here")
    assert outcome.error == "PipeNameError"
    assert outcome.reply["evalue"].endswith("say which one you mean, with board=.")


def test_what_a_board_wrote_is_replayed_when_the_board_has_gone(pair):
    first, second = pair
    run(first, PRODUCER.format(1))
    run(first, "len(collect('same', n=5))")
    kernel = psutil.Process(first.manager.provisioner.pid)
    (board,) = [child for child in kernel.children() if "ukernel.virtual.process" in child.cmdline()]
    board.kill()
    wait_for_end([board])
    run(first, "import time\nwhile pipes()[0].open: time.sleep(0.01)")
    replayed = "set(collect('same', n=5, replay=True)) == {1}"
    assert run(first, replayed).result == "True"
    run(first, "%%ucore\n'a new board'")
    assert run(first, replayed).result == "True"
