"""Runs this folder's tests on MicroPython, the virtual board's own."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN_ALL = """
import sys
sys.path.append('tests/ucore')
tests = __import__(sys.argv[1])
for name in sorted(dir(tests)):
    if name.startswith('test_'):
        getattr(tests, name)()
        print('passed', name)
"""


@pytest.mark.parametrize("module", sorted(path.stem for path in HERE.glob("test_*.py") if path.name != Path(__file__).name))
def test_the_same_file_passes_on_micropython(module, micropython):
    script = RUN_ALL.replace("sys.argv[1]", repr(module))
    done = subprocess.run(
        [micropython, "-X", "heapsize=2m", "-c", script], cwd=HERE.parents[1], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") > 0
