"""What of a virtual board is shown, and what its sliders write; the page's half is in tests/browser."""

import struct
import threading
import time
from pathlib import Path

import pytest

from ukernel.errors import BoardGoneError
from ukernel.kernel import linecommands
from ukernel.ports import virtual
from ukernel.virtual.simulated import _virtualworld as layout
from ukernel.virtual.view import ENDED, World, describe


@pytest.fixture
def memory(tmp_path):
    path = tmp_path / "world"
    path.write_bytes(layout.blank())
    return path


def poke(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_board_that_has_done_nothing_shows_nothing(memory):
    state = World(memory).state()
    assert state["pins"] == [] and state["pixels"] == [] and not state["display"]["on"]
    assert set(state["sensors"].values()) == {None}
    assert describe(state) == "No program has touched a pin yet."


def test_pins_pixels_and_display_are_as_the_board_wrote_them(memory):
    poke(memory, layout.MODES + 2, b"\x03")
    poke(memory, layout.LEVELS + 2, b"\x01")
    poke(memory, layout.MODES + 4, b"\x03")
    poke(memory, layout.FREQUENCIES + 16, struct.pack("<I", 1000))
    poke(memory, layout.DUTIES + 8, struct.pack("<H", 16384))
    poke(memory, layout.PIXELS, b"\x02\x00")
    poke(memory, layout.PIXEL_DATA, bytes([255, 0, 9, 1, 2, 3]))
    poke(memory, layout.DISPLAY, b"\x01")
    state = World(memory).state()
    assert [(pin["pin"], pin["out"], pin["level"], pin["duty"], pin["hz"]) for pin in state["pins"]] == [
        (2, True, 1, None, None),
        (4, True, 0, 0.25, 1000),
    ]
    assert state["pixels"] == ["#ff0009", "#010203"] and state["display"]["on"]
    assert "PWM 25 % at 1000 Hz" in describe(state)


def test_what_the_world_gives_is_where_the_board_looks_and_can_be_taken_back(memory):
    world = World(memory)
    world.drive(7, 1)
    world.set_voltage(33, 1.25)
    world.set_quantity("humidity", 61.5)
    data = memory.read_bytes()
    assert data[layout.DRIVEN + 7] == 1
    assert struct.unpack_from("<i", data, layout.VOLTAGES + 4 * 33) == (1_250_000,)
    assert struct.unpack_from("<f", data, layout.SENSORS + 8) == (61.5,)
    world.drive(7, None)
    world.set_voltage(33, None)
    world.set_quantity("humidity", None)
    assert memory.read_bytes() == layout.blank()


@pytest.mark.parametrize("pin", [-1, 64])
def test_a_pin_that_is_not_there_is_refused(memory, pin):
    with pytest.raises(ValueError, match="no pin"):
        World(memory).drive(pin, 1)


def test_a_board_that_has_ended_is_said_to_have(tmp_path):
    with pytest.raises(BoardGoneError, match="has ended"):
        World(tmp_path / "gone")


# `%ucore board`


class Switchboard:
    """Says which board the notebook has: that whose memory is this file."""

    def __init__(self, memory):
        self.memory = memory

    def ask(self, msg_type, **content):
        return {"name": "kitchen", "port": str(self.memory)}

    def show(self):
        linecommands._board(self, "", {})
        return linecommands._views[str(self.memory)]


@pytest.fixture
def switchboard(memory, monkeypatch):
    about = {"port": str(memory), "world": str(memory), "banner": "a virtual board"}
    monkeypatch.setattr(virtual, "running", lambda: [about])
    monkeypatch.setattr(linecommands, "_views", {})
    yield Switchboard(memory)
    for view in linecommands._views.values():
        view.close()


def held(memory):
    """What the process holds of a board's picture: widgets, threads, and pieces of its memory."""
    from ipywidgets.widgets.widget import _instances

    threads = [one for one in threading.enumerate() if one.name == "ucore-board-view"]
    return len(_instances), len(threads), Path("/proc/self/maps").read_text().count(str(memory))


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_board_shown_again_and_again_is_one_picture_and_leaves_nothing(switchboard, memory):
    widgets = held(memory)[0]
    view = switchboard.show()
    once = held(memory)
    assert once[1:] == (1, 1)
    assert all(switchboard.show() is view for _ in range(4)) and held(memory) == once
    view.close()
    wait_until(lambda: held(memory) == (widgets, 0, 0))
    assert switchboard.show() is not view and held(memory) == once


def test_the_picture_of_a_board_that_has_ended_stays_until_there_is_another_one(switchboard, memory):
    widgets = held(memory)[0]
    view = switchboard.show()
    memory.rename(memory.with_name("gone"))
    wait_until(lambda: view.widget.ended == ENDED)
    assert held(memory)[1:] == (0, 0) and view.widget.comm is not None
    memory.write_bytes(layout.blank())
    assert switchboard.show() is not view and view.widget.comm is None
    switchboard.show().close()
    wait_until(lambda: held(memory) == (widgets, 0, 0))


def test_a_notebook_keeps_in_words_what_the_board_does(switchboard, memory):
    widget = switchboard.show().widget
    assert widget._repr_mimebundle_()[0]["text/plain"] == "kitchen: a virtual board\nNo program has touched a pin yet."


def test_what_the_page_says_while_the_picture_is_updated_is_done_and_after_its_end_is_none(switchboard, memory):
    view = switchboard.show()
    view._receive(view.widget, {"drive": [7, 1]}, [])
    assert memory.read_bytes()[layout.DRIVEN + 7] == 1
    view.close()
    view._receive(view.widget, {"drive": [7, 0]}, [])
    assert memory.read_bytes()[layout.DRIVEN + 7] == 1
