"""The Python side ends as soon as it is started: a few attempts, then the reason; and no request is answered by half."""

import psutil
import pytest
from frontend import Notebook
from patience import PATIENCE_S

# Runs in the sub-kernel before it is asked anything. The file counts what was started.
STARTUP = """
import os
with open({log!r}, "a") as file:
    file.write("x")
if os.path.getsize({log!r}) in {dying}:
    os._exit(3)
"""


@pytest.fixture
def notebook_whose_python_dies(private_environment, tmp_path, monkeypatch):
    """Call it with which starts of the sub-kernel, counted from 1, are to fail; returns the notebook, not yet started."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    log = tmp_path / "starts"

    def make(dying, **start):
        folder = tmp_path / "profile_default" / "startup"
        folder.mkdir(parents=True)
        (folder / "00.py").write_text(STARTUP.format(log=str(log), dying=dying))
        notebook = Notebook("ucore", **start)
        notebook.count_starts = lambda: len(log.read_text())
        return notebook

    return make


def test_a_python_that_never_starts_ends_the_kernel_with_the_reason_after_a_few_attempts(notebook_whose_python_dies, tmp_path):
    notebook = notebook_whose_python_dies(list(range(1, 100)))
    with open(tmp_path / "errors", "w") as errors:
        notebook.manager.start_kernel(stderr=errors)
    client = notebook.manager.client()
    client.start_channels()
    try:
        with pytest.raises(RuntimeError, match="died"):
            client.wait_for_ready(timeout=PATIENCE_S)
    finally:
        client.stop_channels()
        notebook.manager.shutdown_kernel(now=True)
    assert notebook.count_starts() <= 3
    assert "ended with exit code 3" in (tmp_path / "errors").read_text()


def test_a_python_that_starts_at_the_second_attempt_serves_what_was_asked_before(notebook_whose_python_dies):
    with notebook_whose_python_dies([1]) as notebook:
        assert notebook.run("6 * 7").result == "42"
        assert notebook.count_starts() == 2


def test_a_cell_that_waits_for_a_python_which_cannot_start_any_more_has_a_whole_answer(notebook_whose_python_dies):
    with notebook_whose_python_dies(list(range(2, 100))) as notebook:
        kernel = psutil.Process(notebook.manager.provisioner.process.pid)
        killed, waiting = notebook.send("import os; os._exit(5)", stop_on_error=False), notebook.send("6 * 7")
        first, second = notebook.finish(killed, waiting)
        assert first.error == second.error == "PythonExited"
        assert "as soon as it was started, 3 times in a row" in second.traceback
        assert first.reply["ename"] == second.reply["ename"] == "PythonExited"
        assert kernel.wait(10) == 1
        assert notebook.count_starts() == 4


def test_cells_that_end_python_again_and_again_are_no_reason_to_give_up(notebook_whose_python_dies):
    with notebook_whose_python_dies([]) as notebook:
        for _ in range(5):
            assert notebook.run("import os; os._exit(5)").error == "PythonExited"
        assert notebook.run("6 * 7").result == "42"


def test_all_cells_that_wait_for_a_python_which_never_starts_again_have_whole_answers(notebook_whose_python_dies):
    with notebook_whose_python_dies(list(range(2, 100))) as notebook:
        requests = [notebook.send("import os; os._exit(5)", stop_on_error=False)]
        requests += [notebook.send("6 * 7", stop_on_error=False) for _ in range(3)]
        assert [outcome.error for outcome in notebook.finish(*requests)] == ["PythonExited"] * 4
