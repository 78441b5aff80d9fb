"""The ports that boards are on: which there are, what is known about each, and which one is meant. None is opened here."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ukernel.errors import BoardNotFoundError, UsageError

from . import names, virtual

__all__ = [
    "NO_BOARD_HINT",
    "PTY",
    "SOCKET",
    "UART",
    "USB_CDC",
    "USB_JTAG",
    "PortInfo",
    "describe",
    "find_boards",
    "find_virtual_boards",
    "forget_name",
    "give_name",
    "resolve",
]

# Kinds of stream: what the link may assume about speed, resets and buffers.
UART = "uart"
USB_JTAG = "usb_jtag"
USB_CDC = "usb_cdc"
PTY = "pty"
SOCKET = "socket"

# (USB vendor, product): (family, kind). A bridge tells nothing about the chip behind it.
_KNOWN = {
    (0x303A, 0x1001): ("esp32", USB_JTAG),
    (0x303A, 0x4001): ("esp32", USB_CDC),
    (0x2E8A, 0x0005): ("rp2", USB_CDC),
    (0x10C4, 0xEA60): ("usb-serial", UART),
    (0x1A86, 0x7523): ("usb-serial", UART),
    (0x1A86, 0x55D3): ("usb-serial", UART),
    (0x1A86, 0x55D4): ("usb-serial", UART),
    (0x0403, 0x6001): ("usb-serial", UART),
    (0x0403, 0x6010): ("usb-serial", UART),
    (0x0403, 0x6014): ("usb-serial", UART),
    (0x0403, 0x6015): ("usb-serial", UART),
}

NO_BOARD_HINT = (
    "Without hardware, say `%ucore use virtual` in a notebook, use the kernel 'ucore-virtual', or run `ucore virtual` and set "
    "UCORE_BOARD to the port it prints."
)


@dataclass(frozen=True)
class PortInfo:
    """A port that has a board on it, as far as its USB identity tells. Nothing was opened to find out."""

    port: str
    name: str
    family: str
    kind: str
    description: str
    serial_number: str | None = None


def find_boards() -> list[PortInfo]:
    """Return the boards that are plugged in, sorted by port. Never opens a port."""
    from serial.tools import list_ports

    found = []
    for entry in sorted(list_ports.comports(), key=lambda entry: entry.device):
        if (entry.vid, entry.pid) in _KNOWN:
            family, kind = _KNOWN[entry.vid, entry.pid]
            # Many cheap bridges have no serial number; their port has to do.
            tail = (entry.serial_number or "")[-6:] or os.path.basename(entry.device)
            name = names.name_of(entry.serial_number, entry.device) or _word(f"{family}-{tail}")
            description = entry.product or entry.description or family
            found.append(PortInfo(entry.device, name, family, kind, description, entry.serial_number))
    return found


def find_virtual_boards() -> list[PortInfo]:
    """Return the virtual boards that run on this computer, sorted by port."""
    return [
        PortInfo(about["port"], about["name"] or _unnamed(about["port"]), "virtual", PTY, about["banner"])
        for about in virtual.running()
    ]


def _unnamed(port: str) -> str:
    """Return what a virtual board without a name of its own is called."""
    return describe(port).name if "://" in port else _word(f"virtual-{port.rpartition('/')[2]}")


def describe(port: str) -> PortInfo:
    """Return what is known about a port, whether or not it is among `find_boards`."""
    for board in find_boards() if "://" not in port else ():
        if board.port == port:
            return board
    if "://" in port:
        parts = urlsplit(port)
        kind = SOCKET if parts.scheme == "socket" else UART
        name = names.name_of(None, port) or _word(f"{parts.scheme}-{parts.netloc or 'board'}")
        return PortInfo(port, name, "remote", kind, f"a board at {port}")
    if re.match(r"/dev/(pts/\d+|ttys\d+)$", port):
        name = next((board.name for board in find_virtual_boards() if board.port == port), _unnamed(port))
        return PortInfo(port, name, "virtual", PTY, "a pseudo-terminal")
    return PortInfo(port, names.name_of(None, port) or _word(os.path.basename(port)), "serial", UART, "a serial port")


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-").lower()


def resolve(board: str | None) -> str:
    """Return the port that ``board`` means: a port, a pyserial URL, a board name, or None for the only board found.

    Raises BoardNotFoundError, which says what was looked for and what was found.
    """
    if board and "://" in board:
        return board
    boards = find_boards()
    if board is not None:
        boards += find_virtual_boards()  # which are never meant unless they are named
    if board is None:
        if len(boards) == 1:
            return boards[0].port
        if boards:
            raise BoardNotFoundError(
                f"Several boards are plugged in: {_listing(boards)}. Say which one: set UCORE_BOARD to a name or a port."
            )
        raise BoardNotFoundError(
            "No board found: plug one in, or set UCORE_BOARD to its port. "
            f"{NO_BOARD_HINT} (No serial port has the USB identity of an ESP32, an RP2 or a CP210x, CH34x or FTDI bridge.)"
        )
    named = [found for found in boards if board in (found.name, found.port)]
    if len(named) == 1:
        return named[0].port
    if named:
        raise BoardNotFoundError(f"Several boards are called {board!r}: {_listing(named)}. Set UCORE_BOARD to a port.")
    given = names.read().get(board)
    if given is not None and given.port:
        return given.port
    if given is not None:
        raise BoardNotFoundError(
            f"The board {board!r} is not plugged in (serial number {given.serial_number}). Found: {_listing(boards) or 'none'}."
        )
    if os.name == "nt":
        if re.fullmatch(r"(?i)com\d+", board):
            return board.upper()
    elif os.path.exists(board):
        return os.path.realpath(board)
    found = f"Found: {_listing(boards)}." if boards else "No board was found at all."
    raise BoardNotFoundError(
        f"There is no port and no board called {board!r}: plug it in, or name another one. {found} {NO_BOARD_HINT}"
    )


def give_name(port: str, name: str) -> None:
    """Give the board on a port a name, by which it is found from now on. Raises UsageError for a name that cannot be one."""
    if not re.fullmatch(r"\w[\w.-]{0,39}", name) or re.fullmatch(r"(?i)com\d+", name):
        raise UsageError(f"{name!r} cannot be a board's name: letters, digits, '.', '-' and '_' can, 40 at most.")
    info = describe(port)
    key = _key(info)
    taken = names.read().get(name)
    if taken is not None and taken != key:
        raise UsageError(f"{name!r} is the name of another board ({taken.serial_number or taken.port}). Choose another name.")
    others = [board for board in find_boards() + find_virtual_boards() if board.name == name and board.port != info.port]
    if others:
        raise UsageError(f"{name!r} is the name of another board: {_listing(others)}. Choose another name.")
    names.give(name, key)


def forget_name(port: str) -> None:
    """Take the name from the board on a port that `give_name` gave it; it is called as before. Raises UsageError."""
    names.forget(_key(describe(port)))


def _key(info: PortInfo) -> names.Key:
    if info.kind == PTY:
        raise UsageError(
            f"The virtual board on {info.port} ends with its port. `ucore virtual --name NAME` runs one that keeps its name."
        )
    return names.Key(info.serial_number or "", "" if info.serial_number else info.port)


def _listing(boards: list[PortInfo]) -> str:
    return ", ".join(f"{board.name} ({board.port})" for board in boards)
