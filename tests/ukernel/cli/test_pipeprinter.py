"""Frames as lines."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ukernel.cli.pipeprinter import PipePrinter
from ukernel.errors import UsageError


def line(style, frame, format=None, times=False, at=(0.0, 0.0)):
    return PipePrinter("adc", style, format, times, False)._format(frame, *at).decode()


@given(st.floats(width=32, allow_nan=False))
def test_a_single_float_is_told_apart_from_every_other_one(value):
    (printed,) = struct.unpack("<f", struct.pack("<f", float(line("csv", struct.pack("<f", value)))))
    assert printed == value


@given(st.floats(allow_nan=False))
def test_a_double_is_printed_to_the_last_bit(value):
    assert float(line("csv", struct.pack("<d", value), "<d")) == value


@given(st.binary(min_size=8, max_size=8), st.sampled_from(["<d", "<ff", "<hhi", "<q", "<8s", "<bbhI", "<4s?xxx"]))
def test_a_json_line_is_json_whatever_the_frame_holds(frame, format):
    def refuse(name):
        raise AssertionError(name)

    assert len(json.loads(line("jsonl", frame, format), parse_constant=refuse)) == 1


@given(st.binary(max_size=20))
def test_a_frame_that_does_not_fit_is_left_out_and_counted(frame):
    printer = PipePrinter("adc", "csv", "<hhh", False, False)
    printed = printer._format(frame, 0.0, 0.0)
    assert bool(printed) == (len(frame) == 6)
    assert bool(printer._describe_undecoded()) == (len(frame) != 6)


def test_times_stand_before_the_numbers():
    frame = struct.pack("<hh", 1, -2)
    assert line("csv", frame, "<hh", True, (1.5, 0.001)) == "1.500000,0.001000,1,-2\n"
    assert json.loads(line("jsonl", frame, "<hh", True, (1.5, math.inf))) == {"time": 1.5, "error": None, "values": [1, -2]}
    assert line("hex", frame, None, True, (1.5, 0.001)) == "1.500000,0.001000,0100feff\n"


def test_bytes_come_as_they_are():
    assert PipePrinter("adc", "raw", None, False, False)._format(b"\x00\xff", 0.0, 0.0) == b"\x00\xff"


@pytest.mark.parametrize(
    ("style", "format", "times", "header"),
    [
        ("raw", "<f", False, False),
        ("raw", None, True, False),
        ("jsonl", None, False, True),
        ("csv", "zz", False, False),
        ("csv", "", False, False),
        ("csv", "<xx", False, False),
    ],
)
def test_what_does_not_fit_together_is_refused(style, format, times, header):
    with pytest.raises(UsageError):
        PipePrinter("adc", style, format, times, header)
