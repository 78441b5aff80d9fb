"""Runs examples/quickstart.ipynb on the virtual board through the real kernel, and says what happened.

Started by scripts/demo. The executed notebook, its plot and the logs go into build/demo, or where --output says.
"""

import argparse
import base64
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = {"micropython": "MicroPython", "cpython": "CPython (a stand-in for MicroPython)"}
CELL_TIMEOUT_S = 120  # far longer than any cell takes: a demo that hangs says so


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def main() -> int:
    """Run the demo; returns the exit status. Whatever goes wrong is a sentence, its details are in a file."""
    parser = argparse.ArgumentParser(description="Run the quickstart notebook on the virtual board.")
    parser.add_argument("--notebook", type=Path, default=ROOT / "examples" / "quickstart.ipynb")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo", help="folder for what comes of it")
    options = parser.parse_args()
    output = options.output.absolute()
    try:
        output.mkdir(parents=True, exist_ok=True)
        print(summary(*run(options.notebook, output)))
        return 0
    except KeyboardInterrupt:
        print("\ndemo: stopped.", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"demo: there is no {error.name} in {sys.prefix}: run scripts/setup first.", file=sys.stderr)
    except (DemoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
    except Exception as error:
        details = output / "error.txt"
        details.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"demo: it failed: {type(error).__name__}: {error}\nThe details are in {details}.", file=sys.stderr)
    return 1


def run(source: Path, output: Path) -> tuple:
    """Execute the notebook and save it with its plot; returns the board, its pipes, the notebook's and the plot's paths."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    from ukernel.errors import UcoreError
    from ukernel.kernel import kernelspec

    build_board()
    isolate(output)
    notebook = nbformat.read(source, as_version=4)
    specs = KernelSpecManager(kernel_dirs=[str(kernelspec.find_source("ucore-virtual").parent)])
    manager = AsyncKernelManager(kernel_name="ucore-virtual", kernel_spec_manager=specs)
    client = NotebookClient(notebook, km=manager, timeout=CELL_TIMEOUT_S, coalesce_streams=True)
    cells = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    executed = output / source.name
    print(f"Running {shown(source)} with the kernel ucore-virtual", flush=True)
    with open(output / "kernel.log", "wb") as log:
        try:
            with client.setup_kernel(cleanup_kc=True, stdout=log, stderr=log):
                for number, index in enumerate(cells, 1):
                    cell = notebook.cells[index]
                    print(f"[{number}/{len(cells)}] {title(notebook.cells, index)}", flush=True)
                    client.execute_cell(cell, index, execution_count=number)
                    show_text(cell)
                board, pipes = ask_hub()
                client.set_widgets_metadata()
        except CellExecutionError as error:
            reason = f"{error.ename}: {error.evalue}\nThe notebook as far as it came: {executed}"
            raise DemoError(f"cell {number} of the notebook failed: {reason}") from None
        except CellTimeoutError:
            raise DemoError(f"cell {number} of the notebook took longer than {CELL_TIMEOUT_S} s and was given up.") from None
        except (DeadKernelError, RuntimeError, UcoreError) as error:
            raise DemoError(f"the kernel failed: {error}\nWhat it said is in {log.name}") from None
        finally:
            nbformat.write(notebook, executed)
    return board, pipes, executed, save_plot(notebook, executed.with_suffix(".png"))


def build_board() -> None:
    """See to it that the virtual board is MicroPython where that can be built; where it cannot, say so."""
    from ukernel.virtual import firmware

    try:
        firmware.build(lambda line: print(f"virtual board: {line}", flush=True))
    except firmware.FirmwareError as error:
        print(f"virtual board: not MicroPython here, but the same agent on CPython. {error}", flush=True)


def isolate(output: Path) -> None:
    """Keep the demo away from the user's hub, boards, IPython profile and history."""
    for name in [name for name in os.environ if name.startswith("UCORE_") and name != "UCORE_CACHE_DIR"]:
        del os.environ[name]
    os.environ["UCORE_STATE_PATH"] = str(output / "hub.json")
    os.environ["UCORE_HUB_LOG"] = str(output / "hub.log")
    os.environ["UCORE_HUB_LINGER_S"] = "0.5"
    os.environ["IPYTHONDIR"] = str(output / "ipython")


def ask_hub() -> tuple:
    """Return what the hub says about the board (a dict) and about the pipes it has seen."""
    from ukernel.client import connection as client
    from ukernel.pipes import pipes

    hub = client.connect(start=False)
    try:
        boards = hub.request("boards_request", {})["boards"]
    finally:
        hub.close()
    board = next((board for board in boards if board["state"] == "ready"), None)
    if board is None:
        raise DemoError("the notebook ran, but the hub knows of no board that it could have run on.")
    return board, pipes()


def save_plot(notebook, path: Path) -> Path:
    """Write the notebook's first picture; returns its path."""
    for cell in notebook.cells:
        for found in cell.get("outputs", ()):
            picture = found.get("data", {}).get("image/png")
            if picture:
                path.write_bytes(base64.b64decode(picture))
                return path
    raise DemoError("the notebook ran, but it drew no plot.")


def summary(board: dict, pipes: list, executed: Path, plot: Path) -> str:
    """Return what is to be said at the end."""
    facts = board["facts"]
    frames, lost = sum(pipe.frames for pipe in pipes), sum(pipe.lost for pipe in pipes)
    names = ", ".join(repr(pipe.name) for pipe in pipes)
    return "\n".join(
        [
            "",
            "It works.",
            f"  board      the virtual board on {board['port']}",
            f"  runs       {PYTHONS.get(facts['python'], facts['python'])} {facts['version']}, µcore {facts['build']}",
            f"  streamed   {frames:,} samples through pipe {names}, {lost:,} lost",
            f"  notebook   {shown(executed)}",
            f"  plot       {shown(plot)}",
            "",
            "Next: run it yourself, in JupyterLab.",
            f"  {next_step()}",
        ]
    )


def next_step() -> str:
    """Return the command that opens JupyterLab on the quickstart, whose kernel is in this Python's environment."""
    jupyter = Path(sys.executable).with_name("jupyter")
    return f"{shown(jupyter)} lab {shown(ROOT / 'examples' / 'quickstart.ipynb')}"


def title(cells: list, index: int) -> str:
    """Return the heading that a cell stands under."""
    for cell in reversed(cells[:index]):
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            return cell.source.splitlines()[0].lstrip("# ")
    return "code"


def show_text(cell) -> None:
    for line in "".join(found.get("text", "") for found in cell.outputs).splitlines():
        print(f"      {line}", flush=True)


def shown(path: Path) -> str:
    """Return a path as people want to read it: relative where that is shorter."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


if __name__ == "__main__":
    sys.exit(main())
