"""What of a virtual board is shown, and what its sliders write; the page's half is in tests/browser."""

import struct

import pytest

from ukernel.boardview import World, describe
from ukernel.errors import BoardGoneError
from ukernel.simulated import _virtualworld as layout


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
