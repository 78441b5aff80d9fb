"""A JupyterLab, a Chromium, and a hub that says what a test wants; skipped with the reason where one of them is missing."""

import json
import os
import shutil
from pathlib import Path

import pytest
from fakelistener import FakeListener
from lab import SOURCE, Browser, Lab, Notebook, why_not

_FOREIGN = ("UCORE_BOARD", "UCORE_PIPE_PORT", "UCORE_PIPE_TOKEN", "UCORE_HUB_LOG", "JPY_SESSION_NAME")
IMPORTS = "import struct, time\nfrom ukernel.pipes import live_plot, stop_live"


def pytest_collection_modifyitems(items):
    missing = why_not()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(missing is not None, reason=str(missing)))


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """One server for all tests. Its kernels ask the hub that `listener` plays."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(SOURCE / "ukernel" / "kernel" / "kernelspecs", folder / "jupyter" / "kernels")
    _add_kernel_with_a_hub_of_its_own(folder)
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {
        "JUPYTER_PATH": str(folder / "jupyter"),
        "IPYTHONDIR": str(folder / "ipython"),
        "UCORE_STATE_PATH": str(folder / "hub.json"),
        "UCORE_HUB_LINGER_S": "0.5",
        "PYTHONPATH": os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONWARNINGS": "",
    }
    with Lab(folder, environment) as lab:
        yield lab


def _add_kernel_with_a_hub_of_its_own(folder):
    """The kernel `ucore-board`: `ucore-virtual`, out of reach of the hub that `listener` plays."""
    kernels = folder / "jupyter" / "kernels"
    spec = json.loads((kernels / "ucore-virtual" / "kernel.json").read_text(encoding="utf-8"))
    spec["env"] = {**spec.get("env", {}), "UCORE_STATE_PATH": str(folder / "real-hub.json")}
    (kernels / "ucore-board").mkdir()
    (kernels / "ucore-board" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


# Not for longer than it is needed: while Playwright is at work its event loop counts as running, and no other may run in this thread.
@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def hub(lab):
    """Stands in for the hub; before any kernel does, which would start a real one."""
    fake = FakeListener(lab.folder / "hub.json")
    yield fake
    fake.close()


@pytest.fixture
def listener(hub):
    """What serves the pipes: by the `script` that a test gives it."""
    yield hub
    hub.hang_up()


@pytest.fixture
def open_notebook(lab, browser, hub):
    """Opens a notebook of this name and these cells; closes its page and its kernel at the end."""
    opened = []

    def open_notebook(name, *cells, kernel="ucore", outputs=()):
        lab.write(f"{name}.ipynb", *cells, kernel=kernel, outputs=outputs)
        notebook = Notebook(lab, browser.new_page(), f"{name}.ipynb")
        opened.append(notebook)
        return notebook.open()

    yield open_notebook
    for notebook in opened:
        notebook.page.context.close()
        notebook.shut_down()
        assert notebook.errors == []


@pytest.fixture(scope="module")
def shared_notebook(lab, browser, hub):
    lab.write("shared.ipynb", IMPORTS, "", "", "", kernel="ucore")
    notebook = Notebook(lab, browser.new_page(), "shared.ipynb").open()
    notebook.run(0)
    yield notebook
    notebook.page.context.close()
    notebook.shut_down()


@pytest.fixture
def notebook(shared_notebook, listener):
    """A notebook with empty cells (1 to 3) and no charts; cell 0 has imported what is needed."""
    yield shared_notebook
    shared_notebook.run(3, "stop_live()")
    for index in (1, 2, 3):
        shared_notebook.run(index, "")
    assert shared_notebook.get("document.querySelectorAll('.ucore-chart').length") == 0
    errors, shared_notebook.errors = shared_notebook.errors, []
    assert errors == []
