"""The optional provisioner: hub and board are ready before the kernel starts, or the start says why not."""

import json

import pytest
from frontend import Notebook

from ukernel.errors import BoardError
from ukernel.kernel import kernelspec
from ukernel.virtual.launcher import VirtualBoard


@pytest.fixture
def with_provisioner(private_environment, tmp_path, monkeypatch):
    kernelspec.install(prefix=str(tmp_path), provisioner=True)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    for name in kernelspec.NAMES:
        spec = json.loads((tmp_path / "share" / "jupyter" / "kernels" / name / "kernel.json").read_text(encoding="utf-8"))
        assert spec["metadata"]["kernel_provisioner"] == {"provisioner_name": "ucore-provisioner"}


def test_a_board_that_is_not_there_is_an_error_of_the_start(with_provisioner, monkeypatch):
    monkeypatch.setenv("UCORE_BOARD", "no-such-board")
    with pytest.raises(BoardError, match="no-such-board"), Notebook("ucore"):
        pytest.fail("the kernel started")


def test_a_kernel_starts_with_its_board_ready(with_provisioner, monkeypatch):
    with VirtualBoard() as board:
        monkeypatch.setenv("UCORE_BOARD", board.port)
        with Notebook("ucore") as notebook:
            assert notebook.manager.provisioner.__class__.__name__ == "UcoreProvisioner"
            assert notebook.run("%%ucore\n6 * 7").result == "42"


def test_a_virtual_board_stays_the_kernels_own(with_provisioner):
    with Notebook("ucore-virtual") as notebook:
        assert notebook.run("%%ucore\n6 * 7").result == "42"
