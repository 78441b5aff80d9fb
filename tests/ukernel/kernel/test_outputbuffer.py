"""A cell's outputs: in order, all of them, and not too many messages."""

import pytest

from ukernel.kernel.outputbuffer import OutputBuffer, waiting_text


@pytest.fixture
def published():
    return []


@pytest.fixture
def outputs(loop, published):
    return OutputBuffer(loop, lambda msg_type, content: published.append((msg_type, content.get("text"))))


def text(words, name="stdout"):
    return "stream", {"name": name, "text": words}


def test_nothing_is_published_before_the_cell_has_begun(outputs, published):
    outputs.add(*text("early "))
    outputs.add("execute_result", {})
    assert published == []
    outputs.open()
    assert published == [("stream", "early "), ("execute_result", None)]


def test_the_first_text_is_published_at_once(outputs, published):
    outputs.open()
    outputs.add(*text("now"))
    assert published == [("stream", "now")]


def test_text_that_follows_quickly_is_gathered_and_comes_by_itself(outputs, published, loop):
    outputs.open()
    for number in range(1000):
        outputs.add(*text(f"{number} "))
    while "999" not in "".join(words for _, words in published):
        loop.run_once()
    assert "".join(words for _, words in published) == "".join(f"{number} " for number in range(1000))
    assert len(published) < 100


def test_streams_are_not_mixed_and_keep_their_order(outputs, published):
    outputs.open()
    outputs.add(*text("first"))
    for words, name in [("a", "stdout"), ("b", "stdout"), ("c", "stderr"), ("d", "stdout")]:
        outputs.add(*text(words, name))
    outputs.flush()
    assert [words for _, words in published] == ["first", "ab", "c", "d"]


def test_what_is_no_text_pushes_the_text_before_it_out(outputs, published):
    outputs.open()
    outputs.add(*text("first"))
    outputs.add(*text("gathered"))
    outputs.add("display_data", {})
    assert published == [("stream", "first"), ("stream", "gathered"), ("display_data", None)]


def test_the_senders_message_is_not_changed(outputs):
    content = {"name": "stdout", "text": "a"}
    outputs.add("stream", content)
    outputs.add(*text("b"))
    assert content["text"] == "a"


def test_who_waits_for_a_cell_that_nobody_waits_for_is_told_how_to_stop_it():
    assert waiting_text({"holder": "a.ipynb"}) == "Waiting for the board: a.ipynb is using it.\n"
    assert "%ucore interrupt" in waiting_text({"holder": "a.ipynb", "left": True})
