"""Files as people name them: `FILE... [TO]`."""

import errno

import pytest

from ukernel.boards import copying
from ukernel.errors import UsageError


class Files:
    """A board that takes everything, and has what it is asked for."""

    def __init__(self):
        self.calls = []

    def put(self, source, target, progress):
        self.calls.append((source, target))
        return [target + source]

    def get(self, remote, target, progress):
        self.calls.append((remote, target))
        if remote == "bad":
            raise ValueError("'../x' leads out of here.")
        return [target]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("path", ["..", "/..", "a/../..", ":../x", "/a/./../../b", "a\0b"])
def test_a_path_that_climbs_out_or_is_none_is_refused(path):
    with pytest.raises(UsageError, match=r"leads out|NUL"):
        copying.as_board_path(path)


@pytest.mark.parametrize(("path", "meant"), [(":/lib", "/lib"), ("a/../b", "a/../b"), ("", ""), (":", ""), ("..a", "..a")])
def test_other_paths_are_the_boards_and_a_colon_is_left_out(path, meant):
    assert copying.as_board_path(path) == meant


@pytest.mark.parametrize(
    ("names", "calls"),
    [
        (["a"], [("a", "")]),
        (["a", ":/x"], [("a", "/x")]),
        (["a", "b", "lib"], [("a", "lib/"), ("b", "lib/")]),
    ],
)
def test_of_several_names_the_last_says_where_they_go(here, names, calls):
    files = Files()
    list(copying.put(files, names))
    assert files.calls == calls


def test_a_tilde_is_the_users_home_on_this_computer_alone(here):
    files = Files()
    list(copying.put(files, ["~/a", "~"]))
    list(copying.get(files, ["~b", "~/folder"]))
    assert files.calls == [(f"{here}/a", "~"), ("~b", f"{here}/folder")]


def test_nothing_is_sent_where_one_of_them_is_missing(here):
    files = Files()
    with pytest.raises(FileNotFoundError):
        list(copying.put(files, ["a", "nothing", "lib"]))
    assert files.calls == []


@pytest.mark.parametrize("names", [["x", "y", "a"], ["x", "nowhere/"]])
def test_several_files_of_a_board_need_a_folder_here(here, names):
    files = Files()
    with pytest.raises(NotADirectoryError) as caught:
        list(copying.get(files, names))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOTDIR, names[-1])
    assert files.calls == []


def test_a_name_on_the_board_that_leads_out_of_the_folder_here_is_told(here):
    with pytest.raises(UsageError, match="leads out"):
        list(copying.get(Files(), ["bad"]))
