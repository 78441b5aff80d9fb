"""How frames lie in a recording: what is written is what is read, to the byte, and garbage is told from it."""

import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ukernel.recordings.format import About, Layout, Run, as_nanoseconds, decode_event, encode_event

FORMATS = ["<f", "<fff", ">hh", "<d", "B", "<?", "<3q", "!2d", "@l", "<Ihh", "<e", "<fxf", "10s"]
TYPED = {"<f": "Float32Run", ">hh": "Int16Run", "B": "UInt8Run", "<?": "BoolRun", "<3q": "Int64Run", "!2d": "Float64Run"}
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.sampled_from(FORMATS),
    st.integers(0, 2**64 - 1),
    st.integers(1, 50),
    finite,
    finite,
    st.floats(0, allow_nan=False),
    st.randoms(use_true_random=False),
)
def test_a_run_comes_back_as_it_was_to_the_byte(format, first, count, time_first, time_last, error, random):
    layout = Layout(format)
    run = Run(first, count, time_first, time_last, error, (layout.size,), random.randbytes(count * layout.size))
    assert layout.fits(run)
    assert layout.decode(layout.encode(run)) == run


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=20))
def test_frames_of_any_sizes_come_back_as_they_were(frames):
    run = Run(3, len(frames), 1.0, 2.0, math.inf, tuple(map(len, frames)), b"".join(frames))
    assert Layout().decode(Layout().encode(run)) == run


@pytest.mark.parametrize("format", FORMATS)
def test_values_have_a_type_only_where_the_format_is_of_one(format):
    layout = Layout(format)
    assert layout.is_typed == (format in TYPED or format in ("<fff", "<d", "@l"))
    assert layout.schema.endswith(TYPED.get(format, "Run" if layout.is_typed else "Frames"))


def test_values_begin_where_the_layout_says():
    for format, order in (("<ff", "<"), (">ff", ">"), ("<dd", "<"), (">dd", ">")):
        layout = Layout(format)
        message = layout.encode(Run(0, 1, 0.0, 0.0, 0.0, (layout.size,), struct.pack(format, 1.5, -2.5)))
        assert struct.unpack_from(format, message, layout.values_at) == (1.5, -2.5)
        assert struct.unpack_from(order + "I", message, 36) == (2,)  # how many, as CDR says it
        assert message[1] == (order == "<")  # and its byte order


@given(st.sampled_from(["", "<f", "<3q", "<Ihh"]), st.binary(max_size=120))
def test_garbage_is_no_run(format, garbage):
    layout = Layout(format)
    try:
        run = layout.decode(garbage)
    except ValueError as error:
        assert layout.schema in str(error)
    else:
        assert len(run.data) == (run.frames * run.sizes[0] if len(run.sizes) == 1 else sum(run.sizes))


@given(st.sampled_from(["", "<f", "<3q", "<Ihh"]), st.integers(0, 200))
@example("<f", 36)
@example("", 44)
def test_a_message_that_was_cut_is_no_run(format, cut):
    layout = Layout(format)
    message = layout.encode(Run(0, 3, 0.0, 1.0, 0.0, (layout.size or 5,), bytes(3 * (layout.size or 5))))
    if cut < len(message):
        with pytest.raises(ValueError):
            layout.decode(message[:cut])


def test_frames_of_another_size_do_not_fit_typed_values():
    run = Run(0, 1, 0.0, 0.0, 0.0, (5,), b"hello")
    assert not Layout("<f").fits(run)
    assert Layout("").fits(run)


def test_a_format_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'<zz' is not a struct format"):
        Layout("<zz")


def test_a_channel_says_whose_frames_it_holds():
    about = About("greenhouse", "adc", 3, 1, "<fff", ("x", "y", "z"), ("°C", "m/s²", ""))
    assert About.of(about.as_metadata()) == about
    assert about.topic == "/greenhouse/adc"
    with pytest.raises(ValueError, match="no pipe's"):
        About.of({"board": "greenhouse"})


def test_an_event_is_json_with_a_name():
    event = {"event": "lost", "time": 1.5, "opening": 1, "first": 7, "count": 2, "cause": "board"}
    assert decode_event(encode_event(event)) == event
    for garbage in (b"", b"[1]", b"{}", b'{"event": 3}', b"\xff"):
        with pytest.raises(ValueError):
            decode_event(garbage)


def test_a_time_that_no_file_can_hold_becomes_the_nearest():
    assert as_nanoseconds(1.5) == 1_500_000_000
    assert as_nanoseconds(-1.0) == 0
    assert as_nanoseconds(1e12) == 2**64 - 1
    assert as_nanoseconds(math.nan) == 0
