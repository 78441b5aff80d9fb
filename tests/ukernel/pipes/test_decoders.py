"""What a decoder says of frames that it cannot read."""

import pytest

from ukernel.pipes.decoders import Samples, as_decoder
from ukernel.protocol.pipestream import Batch


@pytest.mark.parametrize(
    ("format", "size", "meant"),
    [
        ("<ff", 4, "<f"),
        ("<f", 8, "<ff"),
        ("<3f", 8, "<ff"),
        ("<f", 80, "<20f"),
        ("<f", 2, "<h"),
        ("<f", 1, "<b"),
        ("<d", 4, "<f"),
        ("hf", 6, "<hf"),
        ("<hff", 6, "<hf"),
        (">i", 12, ">iii"),
        ("n", 4, "<f"),
    ],
)
def test_a_frame_of_another_size_is_answered_with_a_format_that_takes_it(format, size, meant):
    samples = Samples(as_decoder(format))
    samples.add(Batch(bytes(size), size, 1), 10, float("inf"))
    assert f"a frame of {size} bytes" in samples.why_bad() and f"(did you mean {meant!r}?)" in samples.why_bad()


@pytest.mark.parametrize(("format", "size"), [("<f", 3), ("<f", 0), ("<hf", 7)])
def test_where_no_format_comes_to_mind_none_is_named(format, size):
    samples = Samples(as_decoder(format))
    samples.add(Batch(bytes(size), size, 1), 10, float("inf"))
    assert f"a frame of {size} bytes" in samples.why_bad() and "did you mean" not in samples.why_bad()
