"""The files of a folder here that a board is to get."""

import os

import pytest

from ukernel.boards import localfiles


def nothing(path):
    return False


def test_a_folder_is_read_without_what_is_left_out(tmp_path):
    for name in ("a.py", "lib/b.py", "lib/c.pyc", "old/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    folders, contents = localfiles.read_folder(tmp_path, lambda path: path in ("old/", "lib/c.pyc"))
    assert folders == ["lib"]
    assert contents == {"a.py": tmp_path / "a.py", "lib/b.py": tmp_path / "lib/b.py"}


def test_a_folder_that_may_not_be_read_is_no_empty_one(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="closed"):
        localfiles.read_folder(tmp_path, nothing)


def test_a_file_that_may_not_be_read_is_told_before_any_is_sent(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="secret"):
        localfiles.read_folder(tmp_path, nothing)
