"""What `live_plot` and `stop_live` refuse, before anything is read or drawn."""

import math

import pytest

from ukernel.errors import UsageError
from ukernel.pipes import live_plot, stop_live


@pytest.mark.parametrize(
    "arguments",
    [{"window": w} for w in (1, 0, -5, 2.0, "200", True, None, 10**30)]
    + [{"ylim": y} for y in ((1, 0), (1, 1), (0, math.inf), (math.nan, 1), (1,), (1, 2, 3), 5, "ab", "12", (-1e308, 1e308))]
    + [{"interval": i} for i in (0, -1, math.nan, "40", None)]
    + [{"duration": d} for d in (0, -1, math.inf, "1")]
    + [
        {"decoder": 5},
        {"title": 5},
        {"units": None},
        {"labels": 5},
        {"labels": [5]},
        {"x": "hours"},
        {"backend": "svg"},
        {"chart": 5},
    ]
    + [{"window": w} for w in ("30", "30 m", "s", "-5 s", "1e3 s", "0 s", "1 ms", "400 d", "nan s", "2 hours")]
    + [{"height": h} for h in (0, 159, 2001, 300.0, "300", True, None)],
    ids=str,
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r".{20}"):
        live_plot("adc", **arguments)


@pytest.mark.parametrize("name", [[], ["a", "a"], ["a", ""], ["a", 5], ("a", None)], ids=str)
def test_bad_names_are_refused(name):
    with pytest.raises((ValueError, TypeError)):
        live_plot(name)


def test_a_list_of_decoders_has_one_for_each_pipe():
    with pytest.raises(ValueError, match="a list of 2"):
        live_plot(["a", "b"], decoder=["<f"])


def test_more_labels_than_lines_are_refused():
    with pytest.raises(ValueError, match="3 labels for 2 lines"):
        live_plot("adc", decoder="<ff", labels=["a", "b", "c"])


def test_outside_of_a_notebook_it_says_what_to_do_instead():
    with pytest.raises(UsageError, match="collect"):
        live_plot("adc")


def test_stopping_what_never_ran_does_nothing():
    stop_live()
    stop_live("adc")
    stop_live(["adc", "dac"])


@pytest.mark.parametrize("name", [5, ["adc", 5], b"adc"])
def test_stopping_what_is_no_name_is_refused(name):
    with pytest.raises(TypeError, match="list of names"):
        stop_live(name)
