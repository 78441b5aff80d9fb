"""What is asked for is checked before anything begins, and each refusal says what to do."""

import pytest

from ukernel.errors import RecordingError
from ukernel.recordings.order import Order, make_order


@pytest.mark.parametrize(
    ("pipes", "options", "sentence"),
    [
        ([], {}, "Which pipes"),
        ("", {}, "neither a pipe's name nor a pattern"),
        (3, {}, "neither a pipe's name nor a pattern"),
        ("a\n", {}, "neither a pipe's name nor a pattern"),
        ("adc", {"board": 3}, "board must be a board's name"),
        ("adc", {"formats": "<zz"}, "'<zz' is not a struct format"),
        ("adc", {"formats": {"adc": 3}}, "must be a struct format such as '<f', not 3"),
        ("adc", {"formats": "<ff", "names": ["x"]}, "names of 'adc' are 1, but a frame of the format '<ff' has 2 values"),
        ("adc", {"units": [3]}, "units of 'adc' must be a list of str"),
        ("adc", {"every": 0}, "every must be a number from 0.05 to 3600"),
        ("adc", {"every": "soon"}, "every must be a number"),
        ("adc", {"rotate_mb": -1}, "rotate_mb must be a number"),
        ("adc", {"rotate_s": float("nan")}, "rotate_s must be a number"),
        ("adc", {"keep": 3}, "say when another one begins"),
        ("adc", {"keep": 0, "rotate_s": 60}, "keep must be how many files"),
        ("adc", {"seconds": True}, "seconds must be a number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(pipes, options, sentence):
    with pytest.raises(RecordingError, match=sentence):
        make_order(pipes, "x.mcap", **options)


def test_an_order_travels_from_one_process_to_another():
    order = make_order(
        ["adc", "t*"],
        "x.mcap",
        formats={"adc": "<ff", "t*": "<h"},
        names={"adc": ["a", "b"]},
        units={"t*": "°C"},
        rotate_s=60,
        keep=3,
        every=1,
    )
    again = Order.of(order.as_json())
    assert again.path == order.path and again.patterns == ("adc", "t*") and again.meaning.formats == {"adc": "<ff", "t*": "<h"}
    assert again.rotation == order.rotation == (None, 60.0, 3)
    assert again.path.startswith("/") or ":" in again.path


def test_what_is_said_once_is_of_all_pipes():
    assert make_order(["adc", "imu"], "x.mcap", formats="<f").formats == {"adc": "<f", "imu": "<f"}
