"""An optional kernel provisioner, for gateways that want what is wrong with a board when the kernel starts, not in its first cell.

No kernelspec names it unless `ucore install-kernels --provisioner` did: the Jupyter server must have µcore in its own environment
for it, and some front ends ignore it. As a program, ``python -m ukernel.kernel.provisioner [--virtual]`` readies hub and board and ends.
"""

import asyncio
import subprocess
import sys
from typing import Any

from jupyter_client.provisioning import LocalProvisioner  # type: ignore[attr-defined] # not in its __all__

from ukernel.errors import BoardError, UcoreError

__all__ = ["UcoreProvisioner", "main"]


class UcoreProvisioner(LocalProvisioner):
    """Jupyter's own provisioner, which readies hub and board before it launches the kernel."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Raises BoardError where the board cannot be had: the kernel is not launched then."""
        kwargs = await super().pre_launch(**kwargs)
        # The kernel's own Python and environment: the server's may be others.
        command = [kwargs["cmd"][0], "-m", "ukernel.kernel.provisioner"]
        if "--virtual" in kwargs["cmd"]:
            command.append("--virtual")
        ready = await asyncio.create_subprocess_exec(
            *command,
            env=kwargs.get("env"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, said = await ready.communicate()
        finally:
            if ready.returncode is None:  # the start was cancelled
                ready.kill()
                await ready.wait()
        if ready.returncode:
            raise BoardError(said.decode(errors="replace").strip() or f"{' '.join(command)} failed.")
        return kwargs


def main(arguments: list[str] | None = None) -> None:
    """Start the hub where there is none, and attach the board; a virtual one is the kernel's own business."""
    from ukernel import settings
    from ukernel.client import connection

    try:
        with connection.connect() as hub:
            port = settings.pipe_port()
            if port is not None:
                hub.request("listen_request", {"port": port})
            if "--virtual" not in (sys.argv[1:] if arguments is None else arguments):
                hub.request("attach_request", {"board": settings.board(), "client": "a kernel that starts"}, timeout_s=None)
    except UcoreError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
