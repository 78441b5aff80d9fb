"""The list of pipes, as people see it."""

from fakelistener import PIPE_STATE

from ukernel.pipes import pipes
from ukernel.pipes.listing import PipeState, PipeStates

OPEN = PipeState("a<b>", "kitchen", True, 1234567, 2, 3, {"board": 3}, 99.6, 400.0, 4, "")
ENDED = PipeState("old", "kitchen", False, 5, 0, 0, {}, 0.0, 0.0, 5, "board gone")


def test_a_list_of_pipes_is_a_list_and_says_what_it_holds_as_a_table():
    found = PipeStates([OPEN, ENDED])
    assert found[0] is OPEN and found == [OPEN, ENDED]
    head, first, second = found.table().splitlines()
    assert head.split() == ["pipe", "board", "state", "frames", "per", "second", "lost", "readers"]
    assert "1,234,567" in first and "3 (board)" in first and "100 frames, 400 bytes" in first
    assert "ended: board gone" in second and second.index("kitchen") == first.index("kitchen")


def test_a_notebook_gets_a_table_in_which_names_are_text():
    table = PipeStates([OPEN])._repr_html_()
    assert "<td>a&lt;b&gt;</td>" in table and table.count("<tr>") == 2


def test_an_empty_list_says_so_everywhere():
    assert PipeStates().table() == PipeStates()._repr_html_() == "No pipe is open."


def test_open_pipes_are_listed(listener):
    lost = {"board": 3, "no_listener": 0}
    rate = {"frames_per_s": 100.0, "bytes_per_s": 400.0}
    listener.pipes = [{**PIPE_STATE, **rate, "name": "adc", "frames": 7, "readers": 2, "lost": lost, "held": 4, "new": 1}]
    assert pipes() == [("adc", "fake", True, 7, 2, 3, {"board": 3}, 100.0, 400.0, 4, "")]
