"""What a board asks of a mounted folder: every question has an answer, and nothing outside of the folder is touched."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukernel.boards.folderserver import FolderServer

_HERE = Path(__file__).parent


def ask(server, *question, data=b""):
    head, _, found = server.answer(json.dumps([7, *question]).encode() + b"\n" + data).partition(b"\n")
    number, error, value = json.loads(head)
    assert number == 7
    return error, value, found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("server") / "root"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"0123456789")
    (root / "out").symlink_to(root.parent)
    (root.parent / "secret").write_bytes(b"a secret")
    return root


def test_a_file_is_opened_with_its_beginning_and_read_on(root):
    server = FolderServer(root)
    assert ask(server, "open", "/file", "r", 4) == (0, 10, b"0123")
    assert ask(server, "read", "/file", 4, 99) == (0, None, b"456789")
    assert ask(server, "read", "/file", 10, 99) == (0, None, b"")
    assert ask(server, "stat", "/")[:2] == (0, [0x4000, 0, int(root.stat().st_mtime)])


def test_a_board_that_asks_for_less_than_nothing_gets_nothing(root):
    assert ask(FolderServer(root), "open", "/file", "r", -1) == (0, 10, b"")
    assert ask(FolderServer(root), "read", "/file", 0, -1) == (0, None, b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="it needs a named pipe")
def test_a_pipe_is_neither_read_nor_written(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    server = FolderServer(tmp_path, write=True)
    assert ask(server, "write", "/fifo", 0, data=b"1")[0] == 13
    assert ask(server, "open", "/fifo", "r", 1)[0] == 13
    assert ask(server, "read", "/fifo", 0, 1)[0] == 2


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("path", ["/..", "/../secret", "folder/../../secret", "/out/secret", "/out", "/out/root/../secret"])
@pytest.mark.parametrize("question", ["open", "stat", "read", "ls", "remove", "rmdir", "write"])
def test_no_path_leads_out_of_the_folder(root, write, path, question):
    server = FolderServer(root, write)
    args = {"open": ("r", 99), "read": (0, 99), "ls": (0,), "write": (0,)}.get(question, ())
    error, value, data = ask(server, question, path, *args)
    assert error in (13, 30)
    assert (value, data) == (None, b"")
    assert (root.parent / "secret").read_bytes() == b"a secret"


@given(
    st.one_of(
        st.binary(),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_a_board_sends_is_answered(question):
    head, _, _ = FolderServer(_HERE).answer(question).partition(b"\n")
    _, error, _ = json.loads(head)
    assert isinstance(error, int)


@given(
    st.sampled_from(sorted(FolderServer._DOES)),
    st.lists(st.none() | st.integers() | st.sampled_from(["/", "/file", "..", "r", "w", "\0", "a\\b"]), max_size=3),
)
def test_no_question_changes_a_folder_that_is_only_read(name, args):
    error, _, _ = ask(FolderServer(_HERE), name, *args)
    assert error or name in ("stat", "statvfs", "ls", "open", "read")
