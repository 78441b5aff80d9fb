"""Settings: the environment is read at every call, and nonsense in it is said to be nonsense."""

import socket
import subprocess
import sys

import pytest

from ukernel import settings
from ukernel.errors import SettingError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in (
        "UCORE_BOARD",
        "UCORE_PIPE_PORT",
        "UCORE_PIPE_TOKEN",
        "UCORE_STATE_PATH",
        "UCORE_CACHE_DIR",
        "UCORE_HUB_LINGER_S",
        "UCORE_HUB_LOG",
        "UCORE_MAX_BAUD",
    ):
        monkeypatch.delenv(name, raising=False)


def test_without_settings_there_are_defaults():
    assert settings.board() is None
    assert settings.pipe_port() is None
    assert settings.pipe_token() is None
    assert settings.hub_linger_s() == 10
    assert settings.hub_log() is None


def test_the_environment_is_read_at_every_call(monkeypatch):
    monkeypatch.setenv("UCORE_BOARD", "rp2-123456")
    assert settings.board() == "rp2-123456"
    monkeypatch.setenv("UCORE_BOARD", "")
    assert settings.board() is None


def test_a_port_is_a_number_that_ports_have(monkeypatch):
    monkeypatch.setenv("UCORE_PIPE_PORT", "8123")
    assert settings.pipe_port() == 8123


@pytest.mark.parametrize("text", ["0", "65536", "-1", "8k", " ", "1.5", "²"])
def test_anything_else_is_refused_by_name(monkeypatch, text):
    monkeypatch.setenv("UCORE_PIPE_PORT", text)
    with pytest.raises(SettingError, match="UCORE_PIPE_PORT"):
        settings.pipe_port()


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_linger_is_a_number_of_seconds(monkeypatch, text):
    monkeypatch.setenv("UCORE_HUB_LINGER_S", text)
    with pytest.raises(SettingError, match="UCORE_HUB_LINGER_S"):
        settings.hub_linger_s()


def test_the_state_file_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    assert settings.state_path() == tmp_path / "hub.json"


def test_else_it_is_in_jupyters_runtime_folder_with_the_hosts_name(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "gethostname", lambda: "lab bench/1.local")
    assert settings.state_path() == tmp_path / "ucore-hub-lab-bench-1.local.json"


def test_the_cache_is_a_folder_of_this_user(monkeypatch, tmp_path):
    monkeypatch.setenv("UCORE_CACHE_DIR", str(tmp_path))
    assert settings.cache_dir() == tmp_path
    monkeypatch.delenv("UCORE_CACHE_DIR")
    assert "ucore" in settings.cache_dir().name


def test_nothing_heavy_is_imported_for_them():
    heavy = "('asyncio', 'serial', 'jupyter_client', 'jupyter_core', 'zmq')"
    code = f"import sys, ukernel.client.connection; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_uart_is_raised_to_921600_baud_unless_something_else_is_said(monkeypatch):
    assert settings.max_baud() == 921600
    monkeypatch.setenv("UCORE_MAX_BAUD", "0")
    assert settings.max_baud() == 0
    monkeypatch.setenv("UCORE_MAX_BAUD", "fast")
    with pytest.raises(SettingError, match="fast"):
        settings.max_baud()
