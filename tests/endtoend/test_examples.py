"""The notebooks that people start with, and the demo, as a newcomer runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from scripted import wait_until

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
QUICKSTART = ROOT / "examples" / "quickstart.ipynb"  # the demo runs it from top to end
PNG = b"\x89PNG\r\n\x1a\n"

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@every_notebook
def test_a_notebook_is_stored_valid_without_outputs_and_for_the_virtual_board(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "ucore-virtual"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem != "quickstart"], ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_end(path, private_environment):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name=notebook.metadata.kernelspec.name, coalesce_streams=True).execute()
    assert any("image/png" in output.get("data", {}) for output in _outputs(notebook))
    assert not [output.text for output in _outputs(notebook) if output.get("name") == "stderr"]


def test_papermill_runs_the_quickstart_and_keeps_what_it_showed(private_environment, tmp_path):
    papermill = pytest.importorskip("papermill")
    papermill.execute_notebook(QUICKSTART, tmp_path / "done.ipynb", progress_bar=False, log_output=False)
    done = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    assert any("image/png" in output.get("data", {}) for output in _outputs(done))


def test_the_other_notebooks_show_what_they_teach():
    sources = {path.stem: path.read_text(encoding="utf-8") for path in NOTEBOOKS}
    for piece in ("%ucore push", "%ucore pull", "ucore.display(", "_repr_html_", "%ucore status"):
        assert piece in sources["calibrate"]
    for piece in ("await asyncio.gather", "async with", "create_task", "wait_for"):
        assert piece in sources["asyncio"]


def test_the_quickstart_blinks_reads_streams_collects_and_watches(private_environment):
    source = "\n".join(cell.source for cell in nbformat.read(QUICKSTART, as_version=4).cells)
    for piece in ("led.on()", "mcu_temperature", "read_uv", "ucore.every(", "collect(", "plt.plot", "live_plot(", "close_pipe"):
        assert piece in source


@pytest.mark.parametrize(
    "last",
    ["%%ucore\nimport time\ntime.sleep_ms(2000)", "import time\ntime.sleep(0.6)"],
    ids=["a board cell", "a host cell"],
)
def test_a_live_plot_that_nobody_stops_is_saved_by_nbclient(private_environment, last):
    source = nbformat.read(QUICKSTART, as_version=4)
    cells = [cell for cell in source.cells if re.search(r"import time|import esp32|ucore.every|live_plot\(", cell.source)]
    cells = [cell for cell in cells if cell.cell_type == "code"]
    notebook = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(last)], metadata=source.metadata)
    NotebookClient(notebook, timeout=60, kernel_name=source.metadata.kernelspec.name).execute()
    plot = notebook.cells[-2]
    (output,) = plot.outputs
    assert set(output.data) == {"image/png", "text/html", "text/plain"}
    assert "from while the chart moved" in output.data["text/html"] and "no samples" not in output.data["text/plain"]
    (seen,) = re.findall(r'"seen": (\d+)', output.data["text/html"])
    assert int(seen) > 250  # a second's worth at the end of its own cell, the rest in the last one
    assert not [output for output in _outputs(notebook) if output.get("name") == "stderr"]


def test_the_demo_says_what_happened_and_leaves_the_notebook_and_the_plot(private_environment, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = _demo("--output", tmp_path / "made", environment=private_environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    wait_until(lambda: not list(temporary.iterdir()), "the end of what it has started")
    assert re.search(r"^\[1/\d+\] ", done.stdout, re.MULTILINE)
    end = done.stdout.partition("It works.")[2]
    assert re.search(r"runs +(Micro|C)Python", end)
    streamed = int(re.search(r"streamed +([\d,]+) samples", end)[1].replace(",", ""))
    assert streamed >= 400
    notebook = nbformat.read(tmp_path / "made" / "quickstart.ipynb", as_version=4)
    assert any(output.get("text", "").startswith("400 samples, mean = 1.") for output in _outputs(notebook))
    assert any("image/png" in output.get("data", {}) for output in _outputs(notebook))
    assert not [output.text for output in _outputs(notebook) if output.get("name") == "stderr"]
    assert (tmp_path / "made" / "quickstart.png").read_bytes().startswith(PNG)
    for name in ("quickstart.ipynb", "quickstart.png"):
        assert name in end


@pytest.mark.parametrize(
    "cell, sentence",
    [
        ("%%ucore\n1/0", "cell 1 of the notebook failed: ZeroDivisionError"),
        ("import os; os._exit(3)", "failed"),
        ("%%ucore\n1 + 1", "it drew no plot"),
    ],
    ids=["an error on the board", "a crash of Python", "nothing drawn"],
)
def test_a_demo_that_fails_says_why_in_a_sentence(private_environment, tmp_path, cell, sentence):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbformat.write(notebook, tmp_path / "broken.ipynb")
    done = _demo("--notebook", tmp_path / "broken.ipynb", "--output", tmp_path / "made", environment=private_environment)
    assert done.returncode == 1
    assert done.stderr.startswith("demo: ") and sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_demo_without_its_notebook_says_so(private_environment, tmp_path):
    done = _demo("--notebook", tmp_path / "none.ipynb", "--output", tmp_path / "made", environment=private_environment)
    assert done.returncode == 1
    assert "none.ipynb" in done.stderr and "Traceback" not in done.stderr


def test_the_code_in_the_readme_runs(notebook):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert notebook.run(block).reply["status"] == "ok"
    assert int(notebook.run("len(samples)").result) > 100
    notebook.run("%%ucore\nucore.close_pipe('adc')")


def test_every_command_that_is_recommended_exists():
    from ukernel import cli

    paths = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("src/**/*.py")]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    named = {name for text in texts for name in re.findall(r"(?:`|^)ucore ([a-z][a-z-]*)", text, re.MULTILINE)}
    assert named <= {row[0] for row in cli.COMMANDS}


def _outputs(notebook) -> list:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def _demo(*arguments, environment: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "scripts" / "demo.py", *arguments]
    return subprocess.run(command, cwd=environment, env=os.environ, capture_output=True, text=True, timeout=110)
