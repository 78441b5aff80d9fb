"""The kernelspecs, and how they are made known to a Jupyter elsewhere."""

import json
import sys

import pytest

from ukernel.kernel import kernelspec


@pytest.mark.parametrize("name", kernelspec.NAMES)
def test_a_kernelspec_starts_the_kernel_from_its_argv_alone(name):
    spec = json.loads((kernelspec.find_source(name) / "kernel.json").read_text(encoding="utf-8"))
    assert spec["argv"][:5] == ["python", "-m", "ukernel.kernel", "-f", "{connection_file}"]
    assert ("--virtual" in spec["argv"]) == (name == "ucore-virtual")
    assert spec["interrupt_mode"] == "message"
    assert spec["language"] == "python"
    assert "kernel_provisioner" not in spec.get("metadata", {})


@pytest.mark.parametrize("name", kernelspec.NAMES)
@pytest.mark.parametrize("size", [32, 64])
def test_a_kernelspec_has_its_logo_in_the_sizes_that_front_ends_want(name, size):
    data = (kernelspec.find_source(name) / f"logo-{size}x{size}.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert [int.from_bytes(data[at : at + 4], "big") for at in (16, 20)] == [size, size]
    assert "<svg" in (kernelspec.find_source(name) / "logo-svg.svg").read_text(encoding="utf-8")


def test_installing_names_the_python_that_has_the_package(tmp_path):
    for _ in range(2):  # the second time over the first
        folders = kernelspec.install(prefix=str(tmp_path))
    assert [folder.name for folder in folders] == list(kernelspec.NAMES)
    for folder in folders:
        assert folder.parent == tmp_path / "share" / "jupyter" / "kernels"
        assert json.loads((folder / "kernel.json").read_text(encoding="utf-8"))["argv"][0] == sys.executable
        assert (folder / "logo-svg.svg").is_file()
