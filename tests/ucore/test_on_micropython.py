"""Runs this folder's tests on MicroPython, the virtual board's own."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN_ALL = """
import sys
sys.path.append(sys.argv[1])
tests = __import__(sys.argv[2])
for name in sorted(dir(tests)):
    if name.startswith('test_'):
        getattr(tests, name)()
        print('passed', name)
"""


@pytest.mark.parametrize("module", sorted(path.stem for path in HERE.glob("test_*.py") if path.name != Path(__file__).name))
def test_the_same_file_passes_on_micropython(module, micropython, tmp_path):
    script = RUN_ALL.replace("sys.argv[1]", repr(str(HERE))).replace("sys.argv[2]", repr(module))
    command = [micropython, "-X", "heapsize=2m", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") > 0
