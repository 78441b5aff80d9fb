"""Ports: boards are found without being touched."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ukernel.errors import BoardNotFoundError
from ukernel.ports import discovery, virtual
from ukernel.tempfolder import TempFolder


def port(device, vid=None, pid=None, serial_number=None, product=None):
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial_number, product=product, description="n/a")


ESP32 = port("/dev/ttyACM0", 0x303A, 0x1001, "84:F7:03:A1:B2:C3", "USB JTAG/serial debug unit")
PICO = port("/dev/ttyACM1", 0x2E8A, 0x0005, "E6614C311B7E6F21", "Board in FS mode")
BRIDGE = port("/dev/ttyUSB0", 0x1A86, 0x7523)
MODEM = port("/dev/ttyS0")
MOUSE = port("/dev/ttyACM9", 0x046D, 0xC077, "123456")


def test_boards_are_found_by_their_usb_identity(plugged):
    plugged(PICO, MODEM, ESP32, MOUSE, BRIDGE)
    found = [(board.port, board.name, board.kind) for board in discovery.find_boards()]
    assert found == [
        ("/dev/ttyACM0", "esp32-b2-c3", "usb_jtag"),
        ("/dev/ttyACM1", "rp2-7e6f21", "usb_cdc"),
        ("/dev/ttyUSB0", "usb-serial-ttyusb0", "uart"),
    ]


def test_finding_opens_no_port(plugged, monkeypatch):
    import serial

    plugged(ESP32, BRIDGE)
    monkeypatch.setattr(serial, "serial_for_url", lambda *args, **kwargs: pytest.fail("a port was opened"))
    assert len(discovery.find_boards()) == 2


def test_without_a_choice_the_only_board_is_meant(plugged):
    plugged(MODEM, PICO)
    assert discovery.resolve(None) == "/dev/ttyACM1"


def test_a_board_is_meant_by_name_or_port(plugged):
    plugged(PICO, ESP32)
    assert discovery.resolve("rp2-7e6f21") == "/dev/ttyACM1"
    assert discovery.resolve("/dev/ttyACM0") == "/dev/ttyACM0"


@pytest.mark.parametrize("url", ["socket://127.0.0.1:9000", "rfc2217://lab:2217", "loop://"])
def test_urls_are_taken_as_they_are(plugged, url):
    assert discovery.resolve(url) == url


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_link_to_a_port_means_the_port(plugged, tmp_path):
    target = tmp_path / "ttyX"
    target.touch()
    (tmp_path / "by-id").symlink_to(target)
    assert discovery.resolve(str(tmp_path / "by-id")) == str(target)


def test_no_board_is_an_error_that_helps(plugged):
    plugged(MODEM)
    with pytest.raises(BoardNotFoundError, match="UCORE_BOARD") as caught:
        discovery.resolve(None)
    assert "ucore-virtual" in str(caught.value)
    assert "ucore virtual" in str(caught.value)


def test_several_boards_are_an_error_that_lists_them(plugged):
    plugged(ESP32, PICO)
    with pytest.raises(BoardNotFoundError, match=r"esp32-b2-c3 \(/dev/ttyACM0\), rp2-7e6f21 \(/dev/ttyACM1\)"):
        discovery.resolve(None)


def test_an_unknown_name_is_an_error_that_says_what_was_found(plugged):
    plugged(PICO)
    with pytest.raises(BoardNotFoundError, match=r"'teapot'.*rp2-7e6f21"):
        discovery.resolve("teapot")


def test_two_boards_of_one_name_must_be_told_apart_by_port(plugged):
    plugged(PICO, port("/dev/ttyACM5", 0x2E8A, 0x0005, "FF614C311B7E6F21"))
    with pytest.raises(BoardNotFoundError, match="/dev/ttyACM5"):
        discovery.resolve("rp2-7e6f21")


def test_every_port_has_a_name(plugged):
    plugged(PICO)
    assert discovery.describe("/dev/ttyACM1").name == "rp2-7e6f21"
    assert discovery.describe("/dev/pts/7").name == "virtual-7"
    assert discovery.describe("socket://127.0.0.1:9000").name == "socket-127.0.0.1-9000"
    assert discovery.describe("/dev/ttyS3").name == "ttys3"


def test_a_virtual_board_has_its_port_though_one_that_is_gone_has_not_been_removed_yet(tmp_path):
    port = str(tmp_path / "port")
    Path(port).touch()
    with TempFolder("virtual-board") as old, TempFolder("virtual-board") as new:
        for folder, name, at in ((new, "here", 200), (old, "gone", 100)):
            virtual.announce(folder, {"port": port, "name": name, "banner": "", "world": ""})
            os.utime(Path(folder, "about.json"), (at, at))
        assert discovery.resolve("here") == port
        assert [board.name for board in discovery.find_virtual_boards() if board.port == port] == ["here"]
