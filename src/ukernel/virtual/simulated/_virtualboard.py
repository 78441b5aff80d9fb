"""The virtual board's end of the memory that it shares with the world; see `_virtualworld`."""

import struct

import _virtualchip
import _virtualworld as world

memory = _virtualchip.memory("UCORE_VIRTUAL_WORLD") or world.blank()


def sensed(quantity, own):
    """Return what the world says a sensor sees, or, where it says nothing, ``own``."""
    said = struct.unpack_from("<f", memory, world.SENSORS + 4 * world.QUANTITIES.index(quantity))[0]
    return own if said != said else said


def as_bytes(data):
    """Return what a bus takes as bytes: any buffer, and a text, which is one in MicroPython."""
    return data.encode() if isinstance(data, str) else bytes(data)


def number16(at):
    """Return the two bytes at ``at`` as a number."""
    return memory[at] | memory[at + 1] << 8


def number32(at):
    """Return the four bytes at ``at`` as a signed number."""
    return struct.unpack_from("<i", memory, at)[0]


def store(at, form, *values):
    """Put numbers there, by a `struct` format."""
    struct.pack_into(form, memory, at, *values)
