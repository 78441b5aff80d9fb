"""What is shown of an object, and by which of its methods. On CPython and on MicroPython."""

import sys

from ucore import rich, wire

if not hasattr(sys, "print_exception"):
    import traceback

    sys.print_exception = lambda error, file: traceback.print_exception(error, file=file)


def shown(value):
    """The kind and the data that a display of the value sends, and what it prints."""
    sent = []
    said = []
    was = rich._send
    rich._send = lambda message, kind, data: sent.append((kind, data))
    rich.print = lambda text: said.append(text)
    try:
        rich.show(wire.DISPLAY_DATA, value)
    finally:
        rich._send = was
        del rich.print
    assert len(sent) == 1
    return sent[0][0], sent[0][1], "\n".join(said)


class Card:
    def _repr_html_(self):
        return "<b>card</b>"


def test_an_object_shows_itself_and_its_class_is_a_class():
    assert shown(Card()) == ("html", "<b>card</b>", "")
    assert shown(Card) == ("", repr(Card), "")
    assert shown(type("Postcard", (Card,), {})())[0] == "html"


class Answers:
    def __init__(self, answer):
        self.answer = answer

    def __getattr__(self, name):
        if isinstance(self.answer, type):
            raise self.answer(name)
        return self.answer

    def __repr__(self):
        return "<proxy>"


def test_an_object_that_answers_to_any_name_is_not_asked():
    for answer in (None, 5, lambda *args: "called", KeyError, OSError):
        assert shown(Answers(answer)) == ("", "<proxy>", "")


class Property:
    @property
    def _repr_html_(self):
        raise OSError

    def __repr__(self):
        return "<property>"


def test_a_property_is_no_method():
    assert shown(Property()) == ("", "<property>", "")


class Silent:
    _repr_markdown_ = None

    def _repr_html_(self):
        return None

    def _repr_svg_(self):
        return "<svg/>"


def test_what_returns_none_gives_way_to_the_next():
    assert shown(Silent()) == ("svg", "<svg/>", "")
    assert shown(type("Mute", (), {"_repr_html_": lambda self: None, "__repr__": lambda self: "m"})()) == ("", "m", "")


class Failing:
    def _repr_html_(self):
        raise OSError(19)

    def __repr__(self):
        return "<sensor>"


def test_what_fails_says_why_and_gives_way_too():
    kind, data, said = shown(Failing())
    assert (kind, data) == ("", "<sensor>")
    assert said.startswith("_repr_html_ failed:\nTraceback") and "in _repr_html_" in said and "OSError" in said
