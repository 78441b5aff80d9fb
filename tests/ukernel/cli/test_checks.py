"""What `ucore doctor` says of a computer."""

import json
import os
import stat

import pytest

from ukernel import cli
from ukernel.cli import checks
from ukernel.ports import discovery, stream


@pytest.fixture(autouse=True)
def computer(monkeypatch, tmp_path):
    """A computer with nothing plugged in, and no hub."""
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.delenv("UCORE_BOARD", raising=False)
    monkeypatch.setattr(discovery, "find_boards", list)


def plug(monkeypatch, port):
    info = discovery.PortInfo(str(port), "esp32-abc", "esp32", "usb_jtag", "a chip", "abc")
    monkeypatch.setattr(discovery, "find_boards", lambda: [info])


def states(found):
    return {check.name: check.state for check in found}


def test_it_is_a_table_and_json_and_nothing_is_wrong_with_a_free_board(monkeypatch, tmp_path, capsys):
    port = tmp_path / "ttyACM0"
    port.touch()
    plug(monkeypatch, port)
    assert states(checks._check_boards(None)) == {"esp32-abc": "ok"}
    try:
        cli.main(["doctor", "--json"])
    except SystemExit as ended:
        assert ended.code == 1  # a computer whose Jupyter does not know the kernels, say
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "state", "text", "mend"} == set(rows[0])
    assert all(row["mend"] for row in rows if row["state"] != "ok" and row["name"] != "board")


def test_a_port_that_is_gone_or_closed_to_this_user_is_a_problem_with_a_cure(monkeypatch, tmp_path):
    port = tmp_path / "ttyACM0"
    plug(monkeypatch, port)
    (check,) = checks._check_boards(None)
    assert check.state == "problem" and check.mend
    port.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (check,) = checks._check_boards(None)
    assert check.state == "problem" and check.mend


@pytest.mark.skipif(not checks.LINUX, reason="groups of Linux")
def test_the_group_that_owns_the_port_is_named(tmp_path):
    import grp

    port = tmp_path / "ttyACM0"
    port.touch()
    group = grp.getgrgid(port.stat().st_gid).gr_name
    assert group in checks._permission(str(port)) or "udev" in checks._permission(str(port))
    assert stat.S_ISREG(port.stat().st_mode)


def test_who_holds_a_port_is_told(monkeypatch, tmp_path):
    port = tmp_path / "ttyACM0"
    port.touch()
    plug(monkeypatch, port)
    monkeypatch.setattr(stream, "other_reader", lambda port: "thonny (process 12)")
    (check,) = checks._check_boards(None)
    assert check.state == "warning" and "thonny (process 12)" in check.text


def test_a_board_that_is_not_there_is_a_problem_and_ends_with_1(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "-b", "nowhere"])
    assert ended.value.code == 1
    assert "nowhere" in capsys.readouterr().out


@pytest.mark.skipif(not checks.LINUX, reason="ModemManager is Linux's")
def test_modem_manager_is_warned_of_unless_rules_keep_it_away(monkeypatch):
    monkeypatch.setattr(checks, "_runs", lambda name: True)
    monkeypatch.setattr(checks, "_udev_rules", lambda: iter([]))
    (check,) = checks._check_modem_manager()
    assert check.state == "warning" and "ID_MM_DEVICE_IGNORE" in check.mend
    monkeypatch.setattr(checks, "_udev_rules", lambda: iter(['ENV{ID_MM_DEVICE_IGNORE}="1"']))
    (check,) = checks._check_modem_manager()
    assert check.state == "ok"


def test_linux_is_looked_at_on_linux_only(monkeypatch):
    monkeypatch.setattr(checks, "LINUX", False)
    assert not {"permissions", "ModemManager"} & set(states(checks.check_all(None)))


def test_a_look_that_fails_is_a_warning_and_the_others_go_on(monkeypatch):
    def fail():
        raise PermissionError(13, "Permission denied", "/proc")
        yield

    monkeypatch.setattr(checks, "_check_hub", fail)
    found = states(checks.check_all(None))
    assert found["hub"] == "warning" and "boards" in found
