"""What these tests do to files they do in a folder of their own: the same ones may run on MicroPython at the same time."""

import pytest


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
