"""Make the kernels known to Jupyter: `ucore` and `ucore-virtual`.

``pip install`` puts both into the environment's own Jupyter folder already. This is for a Jupyter that runs from another
environment: its kernelspecs name the Python that µcore is installed in.
"""

import json
import shutil
import sys
from pathlib import Path

from ukernel.tempfolder import TempFolder

__all__ = ["NAMES", "PROVISIONER", "find_source", "install"]

NAMES = ("ucore", "ucore-virtual")
PROVISIONER = "ucore-provisioner"


def find_source(name: str) -> Path:
    """Return the folder of this package that holds a kernelspec: kernel.json and logos."""
    return Path(__file__).with_name("kernelspecs") / name


def install(*, user: bool = False, prefix: str | None = None, provisioner: bool = False) -> list[Path]:
    """Install both kernelspecs and return their folders.

    ``user``: for this user, whatever environment Jupyter runs in. ``prefix``: into that environment's folder; `sys.prefix` is
    this one's, and the default. ``provisioner``: hub and board are readied before a kernel is launched, see `ukernel.kernel.provisioner`.
    What was installed there before is replaced. Raises OSError where the folder cannot be written.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    target = {"user": True} if user else {"prefix": prefix or sys.prefix}
    installed = []
    with TempFolder("files") as folder:
        for name in NAMES:
            staged = Path(folder) / name
            shutil.copytree(find_source(name), staged)
            spec = json.loads((staged / "kernel.json").read_text(encoding="utf-8"))
            spec["argv"][0] = sys.executable
            if provisioner:
                spec["metadata"]["kernel_provisioner"] = {"provisioner_name": PROVISIONER}
            (staged / "kernel.json").write_text(json.dumps(spec, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            installed.append(Path(manager.install_kernel_spec(str(staged), kernel_name=name, **target)))
    return installed
