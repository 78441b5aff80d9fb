"""What passes through the switchboard: comms, subshells, debugger, encryption, second front ends; and questions about cells."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from frontend import Notebook
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.connect import write_connection_file
from patience import PATIENCE_S

HAS_SUBSHELLS = int(version("ipykernel").split(".")[0]) >= 7
needs_subshells = pytest.mark.skipif(not HAS_SUBSHELLS, reason="this ipykernel has no subshells")


def test_the_kernel_says_what_it_is(notebook):
    notebook.run("%%ucore\n1")
    info = notebook.ask("kernel_info_request", {})
    assert info["language_info"]["name"] == "python"
    # As true as the ipykernel that does it: before 7 there was no such list, and no subshells.
    assert ({"kernel subshells", "debugger"} <= set(info.get("supported_features", []))) == HAS_SUBSHELLS
    assert info["banner"].startswith("µcore")
    assert "virtual board, " in info["banner"]


def test_a_comm_carries_buffers_both_ways(notebook):
    notebook.run(
        "import comm\n"
        "def opened(opened_comm, message):\n"
        "    def echo(m):\n"
        "        opened_comm.send(m['content']['data'], buffers=[bytes(b)[::-1] for b in m['buffers']])\n"
        "    opened_comm.on_msg(echo)\n"
        "comm.get_comm_manager().register_target('echo', opened)"
    )
    _send_comm(notebook, "comm_open", {"comm_id": "c1", "target_name": "echo", "data": {}})
    _send_comm(notebook, "comm_msg", {"comm_id": "c1", "data": {"n": 1}}, buffers=[b"\x00\x01\xff", b""])
    answer = notebook.wait_for(lambda message: message["msg_type"] == "comm_msg")
    assert answer["content"]["data"] == {"n": 1}
    assert [bytes(buffer) for buffer in answer["buffers"]] == [b"\xff\x01\x00", b""]


def test_widgets_respond_while_a_board_cell_runs(notebook):
    pytest.importorskip("ipywidgets")
    notebook.run("import ipywidgets; slider = ipywidgets.IntSlider(); moves = []")
    notebook.run("slider.observe(lambda change: moves.append(change['new']), 'value')")
    comm_id = notebook.run("slider.comm.comm_id").result.strip("'")
    request = notebook.send("%%ucore\nimport time\nprint('started')\nwhile True:\n    time.sleep(0.01)")
    notebook.wait_for_text(request, "started")
    data = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
    moved = _send_comm(notebook, "comm_msg", {"comm_id": comm_id, "data": data})
    # The comm's own idle must come, and must not make the kernel look idle: the cell's busy follows at once.
    _wait_for_status(notebook, moved, "idle")
    following = notebook.wait_for(lambda message: message["msg_type"] == "status")
    assert following["content"]["execution_state"] == "busy"
    assert following["parent_header"]["msg_id"] == request
    notebook.interrupt()
    assert notebook.finish(request)[0].error == "KeyboardInterrupt"
    assert notebook.run("moves").result == "[7]"


def test_a_widget_with_buffers_goes_both_ways_while_a_board_cell_runs(notebook):
    pytest.importorskip("ipywidgets")
    notebook.run("import ipywidgets; picture = ipywidgets.Image(value=b'old'); seen = []")
    notebook.run(
        "picture.observe(lambda change: (seen.append(bytes(change['new'])), setattr(picture, 'width', '7px')), 'value')"
    )
    comm_id = notebook.run("picture.comm.comm_id").result.strip("'")
    request = notebook.send("%%ucore\nimport time\nprint('started')\nwhile True:\n    time.sleep(0.01)")
    notebook.wait_for_text(request, "started")
    data = {"method": "update", "state": {}, "buffer_paths": [["value"]]}
    _send_comm(notebook, "comm_msg", {"comm_id": comm_id, "data": data}, buffers=[b"\x00\xffnew"])
    notebook.wait_for(
        lambda message: message["msg_type"] == "comm_msg" and "width" in message["content"]["data"].get("state", {})
    )
    notebook.interrupt()
    notebook.finish(request)
    assert notebook.run("seen").result == "[b'\\x00\\xffnew']"
    notebook.send("picture.value = b'\\x01\\xfe'")
    update = notebook.wait_for(lambda message: message["msg_type"] == "comm_msg" and message["buffers"])
    assert bytes(update["buffers"][0]) == b"\x01\xfe"


def test_a_widget_that_hangs_can_be_interrupted_from_a_board_cell_that_waits_for_it(notebook):
    pytest.importorskip("ipywidgets")
    notebook.run("import ipywidgets, time; slider = ipywidgets.IntSlider()")
    notebook.run("def hang(change):\n    print('hanging')\n    while True:\n        time.sleep(0.01)")
    notebook.run("slider.observe(hang, 'value')")
    comm_id = notebook.run("slider.comm.comm_id").result.strip("'")
    data = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
    _send_comm(notebook, "comm_msg", {"comm_id": comm_id, "data": data})
    notebook.wait_for(lambda message: "hanging" in message["content"].get("text", ""), what="the handler")
    request = notebook.send("%%ucore\n6 * 7")
    notebook.is_complete("%%ucore\n1")  # the answer says that the cell before it has been taken up
    notebook.interrupt()
    assert notebook.finish(request)[0].types[-1] == "idle"
    assert notebook.run("%%ucore\n6 * 7").result == "42"


@needs_subshells
def test_a_subshell_runs_while_the_main_shell_is_busy(notebook):
    subshell = notebook.ask("create_subshell_request", {}, channel="control")["subshell_id"]
    request = notebook.send("import time\nprint('started')\nwhile True:\n    time.sleep(0.01)")
    notebook.wait_for_text(request, "started")
    for code in ("beside = 6 * 7", "%%ucore\nbeside = 1"):
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {"x": "beside"}}
        reply = notebook.ask("execute_request", content, header={"subshell_id": subshell})
        assert reply["status"] == "ok"
        assert reply["user_expressions"]["x"]["data"]["text/plain"] == "42"
    notebook.interrupt()
    notebook.finish(request)
    assert notebook.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")["status"] == "ok"
    gone = notebook.ask("execute_request", {"code": "1", "silent": False}, header={"subshell_id": subshell})
    assert gone["ename"] == "UnknownSubshellError"


@needs_subshells
def test_a_subshell_of_a_crashed_python_gets_an_error(own_notebook):
    subshell = own_notebook.ask("create_subshell_request", {}, channel="control")["subshell_id"]
    own_notebook.run("import os; os._exit(1)")
    reply = own_notebook.ask("execute_request", {"code": "1", "silent": False}, header={"subshell_id": subshell})
    assert reply["ename"] == "UnknownSubshellError"
    assert own_notebook.run("1").result == "1"


def test_the_debugger_stops_at_a_breakpoint(own_notebook):
    pytest.importorskip("debugpy")
    debug = _Debugger(own_notebook)
    assert debug.ask("debugInfo")["body"]["isStarted"] is False
    debug.ask("initialize", clientID="test", adapterID="", pathFormat="path", linesStartAt1=True, columnsStartAt1=True)
    debug.ask("attach")
    code = "def f():\n    a = 21\n    return a * 2\nf()"
    path = debug.ask("dumpCell", code=code)["body"]["sourcePath"]
    debug.ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": 3}])
    debug.ask("configurationDone")
    request = own_notebook.send(code)
    stopped = own_notebook.wait_for(lambda message: message["content"].get("event") == "stopped")
    thread = stopped["content"]["body"]["threadId"]
    frames = debug.ask("stackTrace", threadId=thread)["body"]["stackFrames"]
    assert frames[0]["line"] == 3
    debug.ask("continue", threadId=thread)
    assert own_notebook.finish(request)[0].result == "42"
    debug.ask("disconnect", restart=False, terminateDebuggee=False)


def test_a_second_front_end_is_welcomed_and_sees_the_same_outputs(notebook):
    client = notebook.manager.client()
    client.session = notebook.client.session.clone()
    client.session.session = "another-front-end"
    client.start_channels(shell=False, stdin=False, hb=False, control=False)
    try:
        assert client.get_iopub_msg(timeout=PATIENCE_S)["msg_type"] == "iopub_welcome"
        request = notebook.send("%%ucore\nprint('for both')")
        texts = []
        while not texts:
            message = client.get_iopub_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") == request and message["msg_type"] == "stream":
                texts.append(message["content"]["text"])
        assert texts == ["for both\n"]
        notebook.finish(request)
    finally:
        client.stop_channels()


def test_a_request_with_a_bad_signature_is_dropped(notebook):
    forged = notebook.client.session.clone()
    forged.key = b"not the key"
    forged.session = "forger"
    message = forged.msg("execute_request", {"code": "forged = 1", "silent": False})
    forged.send(notebook.client.shell_channel.socket, message)
    assert notebook.run("'forged' in globals()").result == "False"


@pytest.mark.parametrize("code", [None, "%%ucore\n1"])
def test_a_request_that_makes_no_sense_does_not_stop_what_comes_behind_it(notebook, code):
    content = {"user_expressions": ["not a dict"], **({} if code is None else {"code": code})}
    assert notebook.ask("execute_request", content)["status"] in ("error", "ok")
    assert notebook.run("1 + 1").result == "2"


def test_an_encrypted_connection_ends_at_the_switchboard(private_environment):
    manager = KernelManager(kernel_name="ucore-virtual")
    if not hasattr(manager, "transport_encryption"):
        pytest.skip("this jupyter_client knows no CurveZMQ")
    manager.transport_encryption = "required"
    with Notebook.of(manager) as notebook:
        assert manager.curve_publickey is not None
        assert notebook.client.hb_channel.is_alive()
        assert notebook.run("1 + 1").result == "2"
        assert notebook.run("%%ucore\n1 + 1").result == "2"
        assert notebook.ask("kernel_info_request", {}, channel="control")["status"] == "ok"


def test_a_kernel_started_from_its_argv_alone_works(private_environment, tmp_path):
    path, _ = write_connection_file(str(tmp_path / "connection.json"), key=b"a key of the test's")
    argv = json.loads((private_environment / "kernels" / "ucore-virtual" / "kernel.json").read_text())["argv"]
    argv = [sys.executable, *(path if part == "{connection_file}" else part for part in argv[1:])]
    kernel = subprocess.Popen(argv, cwd=tmp_path)
    try:
        client = BlockingKernelClient(connection_file=path)
        client.load_connection_file()
        client.start_channels(hb=False)  # which calls a kernel dead that has not started within a second
        client.wait_for_ready(timeout=PATIENCE_S)
        reply = client.execute_interactive("%%ucore\nprint(1)", timeout=PATIENCE_S, output_hook=lambda _: None)
        assert reply["content"]["status"] == "ok"
        client.shutdown()
        assert client.get_control_msg(timeout=PATIENCE_S)["content"] == {"status": "ok", "restart": False}
        assert kernel.wait(PATIENCE_S) == 0
        client.stop_channels()
    finally:
        kernel.kill()
        kernel.wait()


def test_files_in_the_notebooks_folder_do_not_stand_in_for_the_kernels_modules(private_environment, tmp_path):
    for name in ("queue", "json", "zmq", "comm"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "own_module.py").write_text("value = 3")
    with Notebook("ucore", cwd=str(tmp_path)) as notebook:
        assert notebook.run("import own_module; own_module.value").result == "3"


def test_the_connection_that_the_kernel_names_is_the_notebooks_own(notebook):
    assert os.path.basename(notebook.manager.connection_file) in notebook.run("%connect_info").text()


def test_a_silent_cell_at_start_up_reaches_the_host(notebook):
    outcome = notebook.run("import ipywidgets", silent=True, store_history=False)
    assert outcome.types == ["busy", "idle"]
    assert outcome.reply["status"] == "ok"


# --- questions about board cells -----------------------------------------------------------------------


def test_completion_asks_the_board_for_globals_and_attributes(notebook):
    notebook.run("%%ucore\nimport math\nboard_only_name = 1")
    notebook.run("host_only_name = 1")
    found = notebook.complete("# first\n%%ucore\nx = 1\ny = board_on|\nz = 2")
    assert found["matches"] == ["board_only_name"]
    code = "# first\n%%ucore\nx = 1\ny = board_on"
    assert (found["cursor_start"], found["cursor_end"]) == (code.index("board_on"), len(code))
    assert notebook.complete("%%ucore\nhost_only|")["matches"] == []
    matches = notebook.complete("%%ucore\nmath.sq|")["matches"]
    assert any(match.endswith("sqrt") for match in matches)


def test_completion_knows_what_can_be_imported(notebook):
    assert notebook.complete("%%ucore\nimport mach|")["matches"] == ["machine"]
    assert {"Pin", "PWRON_RESET"} <= set(notebook.complete("%%ucore\nfrom machine import P|")["matches"])
    found = notebook.complete("%%ucore\nucore.op|")
    assert (found["matches"], found["cursor_start"]) == (["open_pipe"], len("%%ucore\nucore."))


def test_completion_of_host_cells_stays_with_the_host(notebook):
    notebook.run("host_side_name = 1")
    assert "host_side_name" in notebook.complete("host_side|")["matches"]


def test_completion_on_the_magic_line_offers_the_options(notebook):
    found = notebook.complete("%%ucore --ti|\n1")
    assert found["matches"] == ["--timeout"]
    assert found["cursor_start"] == len("%%ucore ")
    assert "%%ucore" in notebook.complete("%%uco|")["matches"]


def test_completion_still_knows_names_of_the_notebook_while_the_board_is_busy(notebook):
    notebook.run("%%ucore\nsensor_reading = 1")
    request = notebook.send("%%ucore\nimport time\nprint('started')\nwhile True:\n    time.sleep(0.01)")
    notebook.wait_for_text(request, "started")
    assert "sensor_reading" in notebook.complete("%%ucore\nprint(sensor_r|")["matches"]
    notebook.interrupt()
    notebook.finish(request)


def test_inspection_asks_the_board(notebook):
    notebook.run("%%ucore\ninspected = [1, 2, 3]")
    found = notebook.inspect("# first\n%%ucore\nprint(inspec|ted)")
    assert found["found"] is True
    assert "[1, 2, 3]" in found["data"]["text/plain"]
    assert notebook.inspect("%%ucore\nno_such_name|")["found"] is False


def test_functions_of_the_firmware_and_of_ucore_are_shown_with_arguments_and_a_sentence(notebook):
    notebook.run("%%ucore\nimport machine as m\nfrom time import sleep_ms\npin = m.Pin(2)\npipe = ucore.open_pipe('told')")
    for code, call in (
        ("pin.irq(|", "pin.irq(handler=None"),
        ("m.Pin(|", "m.Pin(id, /"),
        ("sleep_ms(|", "sleep_ms(ms, /)"),
        ("ucore.open_pipe(|", "ucore.open_pipe(name, drop=False)"),
        ("pipe.write(|", "pipe.write(data)"),
    ):
        lines = notebook.inspect("%%ucore\n" + code)["data"]["text/plain"].splitlines()
        assert lines[0].startswith("Call:  " + call) and lines[1].startswith("Help:  ") and "Value: " in "\n".join(lines), code
    (page,) = notebook.run("%%ucore\npin.irq?").reply["payload"]
    assert page["data"]["text/plain"].startswith("Call:  pin.irq(")
    (page,) = notebook.run("%%ucore\nimport_me_later = 1\nneopixel.NeoPixel?").reply["payload"]  # the board has not loaded it
    assert page["data"]["text/plain"].startswith("Call:  neopixel.NeoPixel(pin, n")
    notebook.run("%%ucore\nucore.close_pipe('told')")


def test_a_question_mark_shows_what_the_board_knows_in_the_pager(notebook):
    notebook.run("%%ucore\ninspected = [1, 2, 3]")
    for cell in ("%%ucore\ninspected?", "%%ucore\n\n?inspected", "%%ucore\nprint(1)\ninspected?"):
        (page,) = notebook.run(cell).reply["payload"]
        assert page["source"] == "page" and "[1, 2, 3]" in page["data"]["text/plain"]
    outcome = notebook.run("%%ucore\nno_such_name?")
    assert outcome.reply["payload"] == [] and "no_such_name" in outcome.text("stderr")


@pytest.mark.parametrize(
    ("code", "status"),
    [("%%ucore\nx = 1", "complete"), ("%%ucore\nfor i in x:", "incomplete"), ("%%ucore\n1 1", "invalid")],
)
def test_whether_a_board_cell_is_complete_is_known_without_a_board(notebook, code, status):
    assert notebook.is_complete(code)["status"] == status


# --- helpers of these tests ------------------------------------------------------------------------------


def _send_comm(notebook, msg_type, content, buffers=None) -> str:
    session = notebook.client.session
    message = session.msg(msg_type, content)
    session.send(notebook.client.shell_channel.socket, message, buffers=buffers)
    return message["header"]["msg_id"]


def _wait_for_status(notebook, request, state) -> None:
    notebook.wait_for(
        lambda message: (
            message["parent_header"].get("msg_id") == request and message["content"].get("execution_state") == state
        ),
        what=f"{state} of {request}",
    )


class _Debugger:
    """The debug adapter protocol over the control channel."""

    def __init__(self, notebook):
        self._notebook = notebook
        self._count = 0

    def ask(self, command: str, **arguments) -> dict:
        self._count += 1
        request = {"type": "request", "seq": self._count, "command": command, "arguments": arguments}
        reply = self._notebook.ask("debug_request", request, channel="control")
        assert reply.get("success", True), reply
        return reply
