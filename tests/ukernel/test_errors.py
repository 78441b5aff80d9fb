"""The tree of errors: what the page of it says is what there is."""

import inspect
import re

import pytest

from ukernel import errors


def _classes():
    return {
        name: value for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }


def test_the_docstring_shows_every_class_and_nothing_else():
    assert set(re.findall(r"\b[A-Z]\w+(?:Error|Warning)\b", errors.__doc__)) - {
        "TimeoutError",
        "TypeError",
        "ValueError",
        "UserWarning",
    } == set(_classes())


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("NoAnswerError", (errors.BoardError, TimeoutError)),
        ("PipeNameError", (errors.PipeError, ValueError)),
        ("SettingError", (errors.UcoreError, ValueError)),
        ("HubDeniedError", (errors.HubError,)),
        ("PipeDataLostWarning", (errors.PipeWarning, UserWarning)),
    ],
)
def test_errors_are_also_what_python_programs_catch(name, others):
    assert issubclass(getattr(errors, name), others[0])
    assert all(issubclass(getattr(errors, name), other) for other in others)


def test_an_error_of_another_process_is_raised_as_its_class():
    error = errors.by_name("BoardGoneError", "The board went away.")
    assert type(error) is errors.BoardGoneError
    assert str(error) == "The board went away."


@pytest.mark.parametrize("ename", ["OSError", "PipeWarning", "by_name", "__doc__", "Nonsense"])
def test_a_name_from_elsewhere_makes_no_class_of_ours(ename):
    error = errors.by_name(ename, "sentence")
    assert type(error) is errors.UcoreError
    assert str(error) == f"{ename}: sentence"


@pytest.mark.parametrize(
    "error", [errors.BoardGoneError("The board went away."), errors.UcoreError(), errors.PipeNameError("a b")]
)
def test_an_error_comes_out_of_a_reply_as_it_went_in(error):
    content = errors.as_reply(error)
    assert content == {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
    raised = errors.by_name(content["ename"], content["evalue"])
    assert (type(raised), str(raised)) == (type(error), str(error))


def test_an_error_that_is_not_ours_has_its_own_name_in_a_reply():
    assert errors.as_reply(KeyError("x")) == {"status": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []}


def test_every_public_name_exists_and_every_class_is_public():
    functions = {name for name, value in vars(errors).items() if inspect.isfunction(value)}
    assert set(errors.__all__) == set(_classes()) | functions
