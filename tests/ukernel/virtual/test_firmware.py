"""What goes into the virtual board's MicroPython, and what is said when it cannot be built. The build itself is tested by use."""

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from lineboard import PACKAGE, need_micropython

from ukernel import settings
from ukernel.virtual import firmware
from ukernel.virtual.firmware import FirmwareError


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UCORE_CACHE_DIR", str(tmp_path))
    return tmp_path / "micropython"


@pytest.fixture
def package(tmp_path):
    return Path(shutil.copytree(PACKAGE, tmp_path / "package" / "ucore"))


def source_package():
    """The downloaded source package of this machine's cache, which a build has left there."""
    need_micropython()
    return settings.cache_dir() / "micropython" / "download"


def test_nothing_is_found_where_nothing_was_built(empty_cache):
    assert firmware.find() is None


def test_any_change_of_a_file_that_goes_in_makes_another_program(package):
    before = firmware._program(firmware._inputs(package))
    assert firmware._program(firmware._inputs(package)) == before
    (package / "agent.py").write_text("def serve():\n    pass\n")
    assert firmware._program(firmware._inputs(package)) != before


def test_board_package_peripherals_variant_and_patches_go_in():
    names = firmware._inputs(None)
    assert {"stage/ucore/agent.py", "stage/machine.py", "stage/esp32.py", "variant/mpconfigvariant.h"} <= set(names)
    assert any(name.startswith("variant/patches/") for name in names)
    assert not any(b"://" in content for name, content in names.items() if name.endswith(".mk"))  # no address of a mirror


@pytest.mark.parametrize("tool", ["gcc", "make", "dpkg-source", "patch"])
def test_a_missing_tool_is_named_with_the_package_that_has_it(empty_cache, monkeypatch, tool):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else which(name) or "/there")
    with pytest.raises(FirmwareError, match=f"needs {tool}: apt-get install {firmware.TOOLS[tool]}"):
        firmware.build(lambda line: None)


def test_a_system_without_apt_is_told_that_cpython_runs_there(empty_cache, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FirmwareError, match=r"not a Debian system.*CPython"):
        firmware.build(lambda line: None)


def test_a_cache_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("UCORE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(FirmwareError, match=f"could not be built in {tmp_path}/file"):
        firmware.build(lambda line: None)


@pytest.mark.parametrize(
    ("sources", "mirrors"),
    [
        ("http://mirror/debian bookworm\nhttp://mirror/debian-security bookworm-security", ["http://mirror/debian"]),
        ("http://other/tools bookworm\nhttp://mirror/debian bookworm", ["http://mirror/debian", "http://other/tools"]),
        ("http://mirror/debian stable", ["http://mirror/debian"]),
        ("http://other/node nodistro", []),
    ],
)
def test_the_mirror_is_the_one_that_apt_has_the_release_from(monkeypatch, sources, mirrors):
    lines = [line.split() for line in sources.splitlines()]
    shown = "".join(f"'{url}/dists/{suite}/InRelease' a_file 0 \n" for url, suite in lines)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, shown, ""))
    monkeypatch.setattr(firmware.platform, "freedesktop_os_release", lambda: {"VERSION_CODENAME": "bookworm"})
    assert firmware._mirrors() == mirrors


@pytest.mark.skipif(not shutil.which("apt-get"), reason="needs Debian")
def test_without_a_mirror_the_error_says_so(empty_cache, monkeypatch):
    monkeypatch.setattr(firmware, "_mirrors", list)
    with pytest.raises(FirmwareError, match=r"out of reach\. No Debian package mirror is configured for apt"):
        firmware.build(lambda line: None)


@pytest.mark.micropython
def test_a_patch_that_does_not_fit_is_named_and_leaves_nothing_half_done(empty_cache, monkeypatch, request):
    monkeypatch.undo()
    download = source_package()
    monkeypatch.setenv("UCORE_CACHE_DIR", str(empty_cache.parent))
    shutil.copytree(download, empty_cache / "download")
    inputs = firmware._inputs(None)
    name = next(name for name in inputs if name.startswith("variant/patches/"))
    monkeypatch.setattr(firmware, "_inputs", lambda package: {**inputs, name: inputs[name].replace(b"\n ", b"\n *")})
    with pytest.raises(FirmwareError, match=f"{Path(name).name} does not fit micropython_1.25"):
        firmware.build(lambda line: None)
    assert not list(empty_cache.glob("source-*"))


@pytest.mark.micropython
def test_two_builds_at_once_make_one_program_and_a_second_call_is_silent(package):
    need_micropython()
    (package / "agent.py").write_text(f"def serve():\n    print({os.urandom(8).hex()!r})\n")  # one that is not in the cache
    said, programs = [], []
    builds = [threading.Thread(target=lambda: programs.append(firmware.build(said.append, package))) for _ in range(2)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert programs[0] == programs[1] == firmware.find(package)
    assert said.count("another build is running: waiting for it") <= 2  # for each other, or for another test's
    assert len([line for line in said if line.startswith("[1/")]) == 1
    said.clear()
    firmware.build(said.append, package)
    assert said == []
    shutil.rmtree(programs[0].parent)


def test_only_the_newest_programs_are_kept(tmp_path):
    for age in range(5):
        program = tmp_path / f"program-{age}" / "micropython"
        program.parent.mkdir()
        program.touch()
        os.utime(program, (1000 - age, 1000 - age))
    firmware._prune(tmp_path, "program-*/micropython", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program-0", "program-1"]


COLLECTING = """
import _thread, gc, time
going = True
ended = []
def make_garbage():
    while going:
        texts = [str(n) for n in range(50)]
        assert texts == [str(n) for n in range(50)]
    ended.append(True)
for _ in range(3):
    _thread.start_new_thread(make_garbage, ())
for _ in range(20):
    for _ in range(10):
        open("/dev/null")  # that nobody closes
    gc.collect()
going = False
while len(ended) < 3:
    time.sleep_ms(5)
print("ended")
"""


@pytest.mark.micropython
def test_no_thread_gets_at_the_heap_while_a_finaliser_closes_a_file():
    need_micropython()
    done = subprocess.run([firmware.find(PACKAGE), "-c", COLLECTING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
