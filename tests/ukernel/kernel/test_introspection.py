"""Questions about a board cell that is being written: who is asked what, and where in the cell the answer belongs."""

from types import SimpleNamespace

import pytest
from jupyter_client.session import Session

from ukernel.boards import signatures
from ukernel.boards.firmwaremodules import UCORE_API, UCORE_PUBLIC
from ukernel.kernel import cellmagic, introspection
from ukernel.kernel.history import CellHistory
from ukernel.kernel.messages import Message


class Bench:
    """Stands where the kernel's context stands; the board answers what the test says, ``None`` where it does not answer."""

    def __init__(self, answer=None, ready=True):
        self.frontend = self.board_connections = self.default = self.loop = self
        self.history = CellHistory()
        self.is_ready = ready
        self.answer_with = answer
        self.asked = []
        self.statuses = []
        self.replies = []
        self.forwarded = []
        self.subkernel = SimpleNamespace(send=lambda channel, request: self.forwarded.append(request))

    def get(self, board):
        return self

    def open(self):
        pass

    def call_later(self, seconds, action):
        self.too_late = action

    def send(self, msg_type, content, receive):
        self.asked.append((msg_type, content))
        if self.answer_with is not None:
            receive(msg_type.replace("request", "reply"), self.answer_with)

    def status(self, state, request):
        self.statuses.append(state)

    def reply(self, request, content):
        self.replies.append(content)

    def reply_with_status(self, request, content):
        self.reply(request, content)

    def ask(self, msg_type, code, **content):
        """Ask at the place marked with ``|``, and return the one answer."""
        session = Session(key=b"k")
        content = {"code": code.replace("|", ""), "cursor_pos": code.index("|") if "|" in code else len(code), **content}
        frames = session.serialize(session.msg(msg_type, content))
        introspection.HANDLERS[msg_type](self, Message(frames))
        if not self.replies and not self.forwarded:
            self.too_late()
        return self.replies[-1] if self.replies else None

    def complete(self, code):
        found = self.ask("complete_request", code)
        text = code.replace("|", "")
        replaced = text[found["cursor_start"] : found["cursor_end"]]
        assert found["cursor_end"] == code.index("|")
        return replaced, found["matches"]


def board(*names):
    return {"status": "ok", "matches": list(names), "cursor_start": 0, "cursor_end": 0}


@pytest.mark.parametrize("before", ["%%ucore\n", "\n\n# µ 🙂\n%%ucore --timeout 5\n", "%%ucore\n\nx = 1\n\t"])
@pytest.mark.parametrize("after", ["", "\nz = 2", ")"])
def test_a_name_is_completed_where_it_stands(before, after):
    bench = Bench(board("sleep", "sleep_ms"))
    assert bench.complete(f"{before}print(time.sl|{after}") == ("sl", ["sleep", "sleep_ms"])
    assert bench.asked[0][1] == {"code": "time.sl", "cursor_pos": 7, "importable": False}
    assert bench.statuses == ["busy", "idle"]


def test_keywords_and_the_boards_own_module_are_known_without_the_board():
    assert Bench(board("aw")).complete("%%ucore\naw|")[1] == ["aw", "await"]
    assert Bench().complete("%%ucore\nucore.|")[1] == sorted(UCORE_PUBLIC)
    assert "import" not in Bench().complete("%%ucore\nx.im|")[1]


@pytest.mark.parametrize(
    ("code", "name"), [("T_°C|", "T_°C"), ("b'µ'; µ.°|", "µ.°"), ('f"{d["k"]}"; T_|', "T_"), ("x = T_°C.re|", "T_°C.re")]
)
def test_a_name_may_have_any_letter_that_micropython_takes(code, name):
    bench = Bench(board("°", "T_°C", "read"))
    bench.complete("%%ucore\n" + code)
    assert bench.asked[0][1]["code"] == name
    bench.ask("inspect_request", "%%ucore\n" + code)
    assert bench.asked[1][1]["code"] == name


@pytest.mark.parametrize("line", ["import mach|", "from mach|", "import os, mach|", "import os as o, mach|"])
def test_modules_are_completed_without_asking(line):
    bench = Bench()
    assert bench.complete(f"%%ucore\n{line}") == ("mach", ["machine"])
    assert bench.asked == []


@pytest.mark.parametrize("line", ["from machine import P|", "from machine import (ADC, P|", "from machine import ADC as A, P|"])
def test_what_a_module_of_the_firmware_has_may_be_imported_to_be_known(line):
    bench = Bench(board("Pin", "PWM"))
    assert bench.complete(f"%%ucore\n{line}") == ("P", ["PWM", "Pin"])
    assert bench.asked[0][1] == {"code": "machine.P", "cursor_pos": 9, "importable": True}


def test_a_users_module_is_not_imported_to_complete_its_name():
    bench = Bench(board())
    bench.complete("%%ucore\nfrom main import st|")
    assert bench.asked[0][1]["importable"] is False


@pytest.mark.parametrize("bench", [Bench(ready=False), Bench(), Bench({"status": "error"}), Bench(board())])
def test_without_an_answer_the_names_of_the_notebooks_cells_serve(bench):
    bench.history.add("%%ucore\nsensor_reading = adc.read_uv()\nadc.read_u16()")
    assert bench.complete("%%ucore\nprint(sensor_r|") == ("sensor_r", ["sensor_reading"])
    bench.replies.clear()
    assert bench.complete("%%ucore\nadc.re|") == ("re", ["read_u16", "read_uv"])


def test_a_late_answer_is_no_second_one():
    bench = Bench()
    bench.complete("%%ucore\nx|")
    bench.too_late()
    assert len(bench.replies) == 1


def test_options_are_completed_on_the_magics_line_and_its_name_by_the_host():
    assert Bench().complete("%%ucore --t|\n1") == ("--t", ["--timeout"])
    assert Bench().complete("%%ucore --timeout 3 |\n1") == ("", sorted(cellmagic.OPTIONS))
    bench = Bench()
    bench.ask("complete_request", "%%uco|")
    assert len(bench.forwarded) == 1


def test_inspection_asks_for_the_name_at_the_cursor():
    bench = Bench({"status": "ok", "found": True, "data": {"text/plain": "42"}, "metadata": {}})
    found = bench.ask("inspect_request", "%%ucore\nx = 1\nprint(pin.va|lue)", detail_level=0)
    assert found["data"] == {"text/plain": "42"}
    assert bench.asked[0][1] == {"code": "pin.value", "cursor_pos": 9, "detail_level": 0}
    assert Bench().ask("inspect_request", "%%ucore\nx|")["found"] is False


def about(type, **kinds):
    """What the hub answers about an object of a board."""
    return {"status": "ok", "found": True, "data": {"text/plain": "what the board says"}, "metadata": {}, "type": type, **kinds}


@pytest.mark.parametrize(
    ("name", "answer", "first"),
    [
        ("pin.irq", about("bound_method", **{"is": ".bound_method", "of": ".Pin"}), "Call:  pin.irq(handler=None, trigger="),
        (
            "pin.irq",
            about("bound_method", **{"is": ".bound_method", "of": "_virtualpins.Pin"}),
            "Call:  pin.irq(handler=None, trigger=",
        ),
        ("m.Pin", about("type", **{"is": ".Pin", "of": "machine"}), "Call:  m.Pin(id, /, mode=-1"),
        ("Pin", about("type", **{"is": ".Pin", "of": ""}), "Call:  Pin(id, /, mode=-1"),
        ("pin", about("Pin", **{"is": ".Pin", "of": ""}), "Help:  A pin object"),
        ("t.sleep_ms", about("function", **{"is": ".function", "of": "time"}), "Call:  t.sleep_ms(ms, /)"),
        ("np.fill", about("bound_method", **{"is": ".bound_method", "of": "neopixel.NeoPixel"}), "Call:  np.fill(v)"),
        (
            "ucore.open_pipe",
            about("function", **{"is": ".function", "of": "ucore"}),
            "Call:  ucore.open_pipe(name, drop=False)",
        ),
        ("out.write", about("bound_method", **{"is": ".bound_method", "of": "ucore.pipes.Pipe"}), "Call:  out.write(data)"),
    ],
)
def test_what_micropython_and_ucore_define_is_shown_with_its_arguments_above_what_the_board_says(name, answer, first):
    text = Bench(answer).ask("inspect_request", f"%%ucore\n{name}(|")["data"]["text/plain"]
    assert text.startswith(first) and text.endswith("\nwhat the board says")
    assert "Help:  " in text


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("Pin", {"type": "type", "is": "__main__.Pin", "of": ""}),
        ("pin.irq", {"type": "bound_method", "is": ".bound_method", "of": "__main__.Pin"}),
        ("pin.irq", {"type": "bound_method", "is": ".bound_method", "of": "mylib.Pin"}),
        ("machine.Pin", {"type": "int", "is": ".int", "of": "__main__.Config"}),
        ("x.append", {"type": "bound_method", "is": ".bound_method", "of": ".list"}),
        ("sleep_ms", {"type": "function", "is": ".function", "of": ""}),
    ],
)
def test_a_programs_own_objects_are_not_taken_for_the_firmwares(name, kinds):
    assert Bench(about(**kinds)).ask("inspect_request", f"%%ucore\n{name}(|")["data"] == {"text/plain": "what the board says"}


@pytest.mark.parametrize(
    ("before", "code", "call"),
    [
        ("", "machine.Pin.irq(|", "machine.Pin.irq(handler=None"),
        ("", "utime.sleep_us(|", "utime.sleep_us(us, /)"),
        ("from time import sleep_ms as nap, ticks_ms", "nap(|", "nap(ms, /)"),
        ("from machine import (\n    ADC,  # volts\n    Pin as P,\n)", "P(|", "P(id, /, mode=-1"),
        ("from machine import *\nbus = SoftI2C(1, 2)", "bus.readfrom_mem(|", "bus.readfrom_mem(addr, memaddr, nbytes"),
        ("import os, machine as m", "m.ADC(|", "m.ADC(id, *"),
        ("import machine\nled = machine.Pin(2)", "led.irq(|", "led.irq(handler=None"),
        ("from machine import I2C\nbus = I2C(0)", "bus.scan(|", "bus.scan()"),
        ("adc = ucore.open_pipe('adc')", "adc.write(|", "adc.write(data)"),
    ],
)
def test_without_the_board_the_cells_tell_what_a_name_means(before, code, call):
    for bench in (Bench(ready=False), Bench({"status": "error"})):
        bench.history.add("%%ucore\n" + before)
        assert bench.ask("inspect_request", "%%ucore\n" + code)["data"]["text/plain"].startswith("Call:  " + call)
    assert Bench(ready=False).ask("inspect_request", f"%%ucore\n{before}\n{code}")["found"]  # also in this cell


def test_a_name_of_a_users_module_is_not_the_firmwares():
    bench = Bench(ready=False)
    bench.history.add("%%ucore\nfrom mylib import Pin\nimport mylib as lib\npin = Pin(2)")
    for code in ("Pin(|", "lib.sleep_ms(|", "pin.irq(|", "nothing(|", "(|"):
        assert not bench.ask("inspect_request", "%%ucore\n" + code)["found"]


def test_what_a_module_or_a_class_has_is_completed_without_the_board():
    assert {"sleep_ms", "sleep_us"} <= set(Bench(ready=False).complete("%%ucore\nimport time as t\nt.sl|")[1])
    assert "irq" in Bench(board()).complete("%%ucore\nfrom machine import Pin\npin = Pin(2)\npin.i|")[1]
    assert Bench(ready=False).complete("%%ucore\nfrom machine import So|")[1] == ["SoftI2C", "SoftSPI"]
    listed = Bench(ready=False).complete("%%ucore\nimport os\nos.|")[1]
    assert "listdir" in listed and "posix_fadvise" not in listed  # what CPython alone has


def test_names_with_an_underscore_come_when_they_are_asked_for():
    names = board("__class__", "_x", "y")
    assert Bench(names).complete("%%ucore\nobj.|")[1] == ["y"]
    assert Bench(names).complete("%%ucore\nobj._|")[1] == ["__class__", "_x"]
    assert Bench(names).complete("%%ucore\n_|")[1] == ["__class__", "_x"]


@pytest.mark.parametrize("code", ["ucore.|", "from ucore import |"])
def test_of_the_boards_module_its_public_names_are_offered_and_the_agents_only_with_an_underscore(code):
    bench = Bench(board("agent", "link", "pipes", "open_pipe", "_link"))
    assert bench.complete("%%ucore\n" + code)[1] == sorted(UCORE_PUBLIC)
    assert {"open_pipe", "every", "start_new_thread", "stdin"} < UCORE_PUBLIC
    assert bench.complete("%%ucore\n" + code.replace("|", "_|"))[1] == ["_link"]


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("ucore.open_pipe('a').write(|", "ucore.open_pipe().write(data)"),
        ("ucore.open_pipe('a').wri|te", "ucore.open_pipe().write(data)"),
        ("from machine import Pin\nPin(2).irq(|", "Pin().irq(handler=None"),
        ("from machine import Pin\nPin(int('2'), (Pin.OUT)).irq(print, |", "Pin().irq(handler=None"),
        ("import machine\nx = [machine.I2C(0, scl=')').scan(|", "machine.I2C().scan()"),
    ],
)
def test_what_a_known_call_makes_is_inspected_without_calling_anything(code, call):
    bench = Bench(about("int", **{"is": ".int", "of": ""}))
    assert bench.ask("inspect_request", "%%ucore\n" + code)["data"]["text/plain"].startswith("Call:  " + call)
    assert not bench.asked


def test_what_a_known_call_makes_is_completed_and_what_another_one_makes_is_not():
    assert Bench().complete("%%ucore\nfrom machine import Pin\nPin(2).ir|")[1] == ["irq"]
    for code in (
        "Pin(2).ir|",
        "make(2).ir|",
        "x.Pin(2).ir|",
        "make().Pin(2).ir|",
        "(Pin).ir|",
        "from mine import Pin\nPin(2).ir|",
    ):
        assert Bench().complete("%%ucore\n" + code)[1] == []
        assert not Bench().ask("inspect_request", "%%ucore\n" + code)["found"]


def test_every_function_of_the_boards_module_has_a_line_of_help():
    for name in UCORE_API:
        found = signatures.find(f"ucore.{name}")
        assert found is not None and found.help
        assert found.signature or name == "Pipe"


@pytest.mark.parametrize(
    ("code", "called"),
    [
        ("adc.read(|)", "adc.read"),
        ("x = Pin(4, |", "Pin"),
        ("print(foo(1), |)", "print"),
        ("foo(\n    1,\n    'a)', |\n)", "foo"),
        ("print((1, [2, |", "print"),
        ("'abc'.join(|)", ""),
        ("f().g(|)", ""),
        ("f(1) |", ""),
        ("if (|", ""),
        ("T_°C.read (1, |", "T_°C.read"),
        ("if x:\n\ty\n        f(|", "f"),
        ('f"{d["k"]}"; f(|', "f"),
        ("print(f'{foo(|", "foo"),
        ("'print(|", ""),
        ("# print(|", ""),
        ("x = '''print(|", ""),
    ],
)
def test_inspection_between_the_parentheses_of_a_call_asks_for_what_is_called(code, called):
    bench = Bench()
    bench.ask("inspect_request", "%%ucore\n" + code)
    assert [question["code"] for _, question in bench.asked] == [called] * bool(called)


@pytest.mark.parametrize("code", ["|", "x = 1\n|", "'abc'|", "5|", "f(1)\n\n|"])
def test_where_no_name_is_nothing_is_known_and_no_board_asked(code):
    bench = Bench({"status": "ok", "found": True, "data": {"text/plain": "Name:"}, "metadata": {}})
    found = bench.ask("inspect_request", "%%ucore\n" + code)
    assert (found["status"], found["found"], found["data"]) == ("ok", False, {})
    assert not bench.asked


def test_an_odd_place_for_the_cursor_is_the_end_or_the_beginning():
    assert Bench(board("name")).ask("complete_request", "%%ucore\nna", cursor_pos="?")["matches"] == ["name"]
    bench = Bench()
    bench.ask("complete_request", "%%ucore\nna", cursor_pos=-5)
    assert len(bench.forwarded) == 1


def test_what_only_running_it_would_tell_is_not_completed():
    bench = Bench(board("ADC", "abs"))
    assert bench.complete("%%ucore\n'abc'.|") == ("", [])
    assert bench.complete("%%ucore\nf().a|") == ("a", [])


def test_the_board_that_the_cell_names_is_asked():
    bench = Bench(board("pin"))
    chosen = []
    bench.get = lambda name: chosen.append(name) or bench
    bench.complete("%%ucore --board lamp\npi|")
    bench.complete("%%ucore --board lamp --oops\npi|")
    assert chosen == ["lamp", None]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ('%%time\n# %%ucore\nf"{d["k"]}"', "complete"),
        ("%%capture x\n%%ucore\nx = '''", "incomplete"),
        ("%%ucore\nx = 1", "complete"),
        ("\n# é\n%%ucore --no-raise\nfor i in x:", "incomplete"),
        ("%%ucore\nled?", "complete"),
    ],
)
def test_completeness_is_that_of_the_body(code, status):
    assert Bench().ask("is_complete_request", code)["status"] == status
