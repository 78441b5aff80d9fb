"""Which names go on, and what a name is: as far as no board is needed."""

import pytest

from ukernel.boards.introspection import Completing, find_name


@pytest.mark.parametrize(
    ("code", "question"),
    [
        ("x = thing.si", {"code": "thing.si", "cursor_pos": 8, "importable": False}),
        ("from machine import Pin, U", {"code": "machine.U", "cursor_pos": 9, "importable": True}),
        ("from mine import U", {"code": "mine.U", "cursor_pos": 6, "importable": False}),
        ("import ma", None),
        ("from ma", None),
        ("Pin(2).", None),
    ],
)
def test_the_board_is_asked_for_what_it_alone_knows(code, question):
    assert Completing(code, len(code)).question == question


def test_what_the_board_does_not_say_is_known_from_the_programs():
    assert Completing("my_own = 1\nmy_", 14, texts=["my_other = 2"]).complete() == (["my_other", "my_own"], 11, 14)
    assert Completing("from machine import Pin\npin = Pin(2)\nPin(3).to", 46).complete().names == ["toggle"]
    assert Completing("ucore.op", 8).complete(["open_pipe", "odd"]).names == ["open_pipe"]


def test_names_of_nobodys_business_are_offered_where_they_are_asked_for():
    assert Completing("a.", 2).complete(["_private", "public"]).names == ["public"]
    assert Completing("a._", 3).complete(["_private", "public"]).names == ["_private"]


@pytest.mark.parametrize(
    ("code", "cursor", "name"),
    [
        ("machine.freq()", 9, "machine.freq"),
        ("print(x, ", 9, "print"),
        ("if (", 4, ""),
        ("", 0, ""),
        ("Pin(2).irq", 10, "Pin().irq"),
    ],
)
def test_the_name_is_that_at_the_cursor_or_of_the_call_around_it(code, cursor, name):
    assert find_name(code, cursor) == name
