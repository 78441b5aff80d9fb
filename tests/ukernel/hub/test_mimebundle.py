"""What a board shows, as front ends take it."""

import base64

import pytest

from ukernel.hub.mimebundle import mime_bundle


def test_a_repr_is_text():
    assert mime_bundle(b"\n42\n43") == {"data": {"text/plain": "42\n43"}, "metadata": {}}


@pytest.mark.parametrize(("kind", "mime"), [("html", "text/html"), ("markdown", "text/markdown"), ("svg", "image/svg+xml")])
def test_text_of_a_kind_keeps_its_lines(kind, mime):
    assert mime_bundle(f"{kind}\n<µ>\nb".encode())["data"][mime] == "<µ>\nb"


@pytest.mark.parametrize(("kind", "mime"), [("png", "image/png"), ("jpeg", "image/jpeg")])
def test_a_picture_travels_as_base64(kind, mime):
    picture = b"\x89PNG\n\x00\xff"
    data = mime_bundle(kind.encode() + b"\n" + picture)["data"]
    assert base64.b64decode(data[mime]) == picture
    assert data["text/plain"] == f"<{mime}, 7 bytes>"


def test_json_is_a_value():
    assert mime_bundle(b'json\n{"a": [1, null]}')["data"]["application/json"] == {"a": [1, None]}


@pytest.mark.parametrize("data", [b"{", b"[nan]", b"[NaN]", b"[" * 100_000])
def test_what_is_no_json_is_shown_as_text(data):
    assert mime_bundle(b"json\n" + data)["data"] == {"text/plain": data.decode()}


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="gif"):
        mime_bundle(b"gif\nGIF")
    assert mime_bundle(b"")["data"] == {"text/plain": ""}
