"""Names that people give to their boards."""

import os
from types import SimpleNamespace

import pytest

from ukernel.errors import BoardNotFoundError, SettingError, UsageError
from ukernel.ports import discovery, names


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, plugged):
    monkeypatch.setenv("UCORE_DATA_DIR", str(tmp_path / "data"))


def pico(device="/dev/ttyACM0", serial="e660583883"):
    return SimpleNamespace(
        vid=0x2E8A, pid=0x0005, device=device, serial_number=serial, product="Board in FS mode", description=""
    )


def bridge(device="/dev/ttyUSB0"):
    return SimpleNamespace(vid=0x1A86, pid=0x7523, device=device, serial_number=None, product="USB Serial", description="")


def test_a_board_is_found_by_its_name_on_whatever_port_it_is(plugged):
    plugged(pico())
    discovery.give_name("/dev/ttyACM0", "greenhouse")
    plugged(bridge(), pico("/dev/ttyACM7"))
    assert discovery.resolve("greenhouse") == "/dev/ttyACM7"
    assert [board.name for board in discovery.find_boards()] == ["greenhouse", "usb-serial-ttyusb0"]


def test_a_board_without_a_serial_number_is_known_by_its_port(plugged):
    plugged(bridge())
    discovery.give_name("/dev/ttyUSB0", "pump")
    assert discovery.resolve("pump") == "/dev/ttyUSB0"
    assert discovery.describe("/dev/ttyUSB0").name == "pump"


def test_a_url_may_have_a_name_too():
    discovery.give_name("socket://127.0.0.1:1234", "kitchen")
    assert discovery.resolve("kitchen") == "socket://127.0.0.1:1234"
    assert discovery.describe("socket://127.0.0.1:1234").name == "kitchen"


def test_a_new_name_takes_the_place_of_the_old_one_and_may_be_forgotten(plugged):
    plugged(pico())
    before = discovery.describe("/dev/ttyACM0").name
    discovery.give_name("/dev/ttyACM0", "one")
    discovery.give_name("/dev/ttyACM0", "two")
    assert list(names.read()) == ["two"]
    discovery.forget_name("/dev/ttyACM0")
    assert names.read() == {} and discovery.describe("/dev/ttyACM0").name == before


def test_a_board_that_is_not_plugged_in_is_told_with_its_serial_number(plugged):
    plugged(pico())
    discovery.give_name("/dev/ttyACM0", "greenhouse")
    plugged()
    with pytest.raises(BoardNotFoundError, match=r"greenhouse.*not plugged in.*e660583883"):
        discovery.resolve("greenhouse")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-x", "COM3", "x" * 50, "socket://x", "a\n"])
def test_what_cannot_be_a_name_is_refused(plugged, name):
    plugged(pico())
    with pytest.raises(UsageError):
        discovery.give_name("/dev/ttyACM0", name)
    assert names.read() == {}


def test_a_name_has_one_board_only(plugged):
    plugged(pico(), bridge())
    discovery.give_name("/dev/ttyACM0", "mine")
    for name in ("mine", "usb-serial-ttyusb0"):
        with pytest.raises(UsageError, match="another board"):
            discovery.give_name("/dev/ttyUSB0" if name == "mine" else "/dev/ttyACM0", name)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_virtual_board_takes_its_name_otherwise():
    with pytest.raises(UsageError, match="ucore virtual --name"):
        discovery.give_name("/dev/pts/99999", "kitchen")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"names": []}', '{"names": {"a": 1}}', '{"names": {"a": {"port": "x"}}}'])
def test_a_file_that_is_damaged_names_nobody(tmp_path, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "board-names.json").write_text(content)
    assert names.read() == {}


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(SettingError, match="UCORE_DATA_DIR"):
        discovery.give_name("socket://127.0.0.1:1", "kitchen")
