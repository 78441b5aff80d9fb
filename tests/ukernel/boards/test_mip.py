"""What names a package, and what mpremote's code is asked: without a board."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageindex import PackageIndex

from ukernel.boards import mip
from ukernel.errors import PackageError


@given(st.text())
def test_any_text_names_a_package_or_is_refused(text):
    try:
        wanted = mip.parse(text)
    except PackageError:
        return
    assert wanted.source
    if not wanted.is_local and not wanted.source.startswith("http"):
        spec = f"{wanted.source}@{wanted.version}" if wanted.version else wanted.source
        assert mip.parse(spec) == wanted


@pytest.mark.parametrize(
    ("spec", "source", "version"),
    [
        ("umqtt.simple", "umqtt.simple", ""),
        ("umqtt.simple@1.4.0", "umqtt.simple", "1.4.0"),
        ("github:org/repo/sub@v2", "github:org/repo/sub", "v2"),
        ("gitlab:org/repo@a/branch", "gitlab:org/repo", "a/branch"),
        ("https://me@host/pk@1/package.json", "https://me@host/pk@1/package.json", ""),
    ],
)
def test_a_name_may_have_a_version_and_a_url_has_none(spec, source, version):
    assert mip.parse(spec) == (source, version)


def fetch(index, source, bytecode=6, **options):
    return mip.fetch(mip.parse(source), index=index.url, target="/lib", bytecode=bytecode, digest=lambda path: None, **options)


def test_a_package_is_fetched_with_what_it_needs_or_alone():
    with PackageIndex() as index:
        index.add("top", "1", {"top.py": b"t"}, needs=[("left", "latest")])
        index.add("left", "3", {"left.py": b"l"})
        both = fetch(index, "top")
        assert [(package.name, package.version, package.files) for package in both] == [
            ("top", "1", {"/lib/top.py": b"t"}),
            ("left", "3", {"/lib/left.py": b"l"}),
        ]
        assert fetch(index, "top", alone=True) == both[:1]


def test_two_fetches_do_not_get_into_each_others_way_and_mpremote_stays_as_it_is():
    from mpremote import mip as original

    before = dict(vars(original))
    with PackageIndex() as first, PackageIndex() as second:
        first.add("one", "1", {"one.py": b"1"})
        second.add("one", "2", {"one.py": b"2"})
        assert [fetch(index, "one")[0].version for index in (first, second, first)] == ["1", "2", "1"]
    assert dict(vars(original)) == before


def test_without_end_is_no_chain_of_needs(monkeypatch):
    monkeypatch.setattr(mip, "MAX_PACKAGES", 20)
    with PackageIndex() as index:
        for number in range(21):
            index.add(f"pk{number}", "1", {f"pk{number}.py": b""}, needs=[(f"pk{number + 1}", "latest")])
        with pytest.raises(PackageError, match="pk0 needs more than 20 packages"):
            fetch(index, "pk0")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=6)
)
def test_whatever_a_server_says_is_a_package_or_is_refused(value):
    manifest = json.dumps({"hashes": value, "urls": [], "deps": value, "version": value}).encode()
    index = "http://index"

    def get(url):
        if url.endswith(".json"):
            return manifest
        raise mip._MissingError(url)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mip, "_get", get)
        try:
            mip.fetch(mip.parse("pk"), index=index, target="/lib", bytecode=6, digest=lambda path: None)
        except PackageError:
            return
        assert value in (None, [])
