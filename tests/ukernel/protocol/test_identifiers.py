"""What is a name on a board: letters, digits, and every character beyond ASCII."""

import re

import pytest

from ukernel.protocol.identifiers import BEFORE_CURSOR, DOTTED, LETTER, NAME


@pytest.mark.parametrize("text", ["x", "_", "x1", "_x_1", "größe", "µ", "温度", "\U0010ffff"])
def test_these_are_names(text):
    assert re.fullmatch(NAME, text)


@pytest.mark.parametrize("text", ["", "1x", "a b", "a-b", "a.b", "a\n", "%x"])
def test_these_are_none(text):
    assert not re.fullmatch(NAME, text)


@pytest.mark.parametrize("text", ["x", "a.b", "machine.Pin.OUT", "a.1"])
def test_a_dotted_name_goes_on_with_words(text):
    assert re.fullmatch(DOTTED, text)


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "1.a"])
def test_a_dotted_name_is_whole(text):
    assert not re.fullmatch(DOTTED, text)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import os\nos.li", "os.li"),
        ("print(pin.", "pin."),
        ("a + ", ""),
        ("", ""),
        ("größe.µ", "größe.µ"),
        ("f(x)[0].na", ".na"),
    ],
)
def test_what_ends_at_the_cursor_may_be_begun_or_empty(code, name):
    found = re.search(BEFORE_CURSOR, code)
    assert found and found[0] == name


def test_a_letter_is_one_character():
    assert re.fullmatch(LETTER, "é")
    assert not re.fullmatch(LETTER, "éé")
    assert not re.fullmatch(LETTER, "1")
