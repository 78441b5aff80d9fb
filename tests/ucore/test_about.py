"""What the board says of errors and of objects. On CPython and on MicroPython."""

import sys

import ucore
from ucore import about, wire

CELL = "<cell c>"

if not hasattr(sys, "print_exception"):  # CPython: what the agent's stand-in board adds
    import traceback

    sys.print_exception = lambda error, file: traceback.print_exception(error, file=file)


def cell(text):
    found = {}
    exec(compile(text, CELL, "exec"), found)
    return found


def frames_of(function, *args):
    """The traceback's lines from the cell's first on: what calls the cell here is this file's."""
    try:
        function(*args)
    except BaseException as error:
        lines = about.trace(error)
    assert lines[0] == "Traceback (most recent call last):"
    first = 1
    while CELL not in lines[first]:
        first += 1
    return lines[first:]


def test_a_traceback_says_where():
    found = cell("def f():\n    return g()\ndef g():\n    raise ValueError('x')")
    assert frames_of(found["f"]) == [
        '  File "<cell c>", line 2, in f',
        '  File "<cell c>", line 4, in g',
        "ValueError: x",
    ]


def test_a_recursion_is_folded_and_its_end_is_there():
    found = cell("def f(n):\n    if not n:\n        return g()\n    return f(n - 1)\ndef g():\n    raise ValueError('deep')")
    lines = frames_of(found["f"], 60)
    again = '  File "<cell c>", line 4, in f'
    assert lines == [
        again,
        again,
        again,
        "  ... 57 equal frames ...",
        '  File "<cell c>", line 3, in f',
        '  File "<cell c>", line 6, in g',
        "ValueError: deep",
    ]


def test_functions_that_call_each_other_in_a_circle_are_folded_too():
    found = cell("def f(n):\n    return g(n - 1)\ndef g(n):\n    if n < 0:\n        raise ValueError\n    return f(n)")
    lines = frames_of(found["f"], 30)
    assert len(lines) < 14
    told = [line for line in lines if "equal frames" in line]
    assert len(told) == 1
    count = int(told[0].split()[1])
    assert count % 2 == 0 and count + len(lines) - 2 == 62
    assert lines[-2] == '  File "<cell c>", line 5, in g'
    assert lines[-3] == '  File "<cell c>", line 2, in f'


def test_a_long_traceback_without_a_pattern_keeps_both_ends():
    text = "def f0():\n    raise ValueError\n"
    for number in range(1, 80):
        text += f"def f{number}():\n    f{number - 1}()\n"
    lines = frames_of(cell(text)["f79"])
    assert len(lines) < 50
    assert lines[0].endswith("in f79") and lines[-2].endswith("in f0") and lines[-10].endswith("in f8")
    assert len([line for line in lines if "frames left out" in line]) == 1


def test_the_agents_own_frames_are_left_out_and_those_of_a_users_file_never():
    shown = []
    chosen = about._choose(shown)
    chosen.send(None)
    folder = ucore.__path__ if isinstance(ucore.__path__, str) else ucore.__path__[0]
    chosen.send(b"Traceback (most recent call last):")
    for file in ("ucore/runner.py", "tasks.py", folder + "/tasks.py", "lib/link.py", "myucore/agent.py", "ucore/"):
        chosen.send(f'  File "{file}", line 1, in go'.encode())
    for line in (b"ValueError: text", b'  File "no.py", line 1, in text', None):
        chosen.send(line)
    assert shown == [f'  File "{file}", line 1, in go' for file in ("tasks.py", "lib/link.py", "myucore/agent.py")]


class Trouble(Exception):
    def __str__(self):
        raise OSError


def test_an_error_whose_text_cannot_be_had_still_says_where():
    def fail():
        raise Trouble

    try:
        fail()
    except Trouble as error:
        lines = about.trace(error)
    assert "in fail" in lines[-2] and lines[-1].startswith("Trouble: its text cannot be had")


def test_an_error_that_was_never_raised_is_one_line():
    assert about.trace(ValueError("x")) == ["ValueError: x"]
    assert about.trace(KeyboardInterrupt()) == ["KeyboardInterrupt"]


def test_a_crash_of_a_thread_in_a_module_says_where():
    found = {}
    exec(compile("def run():\n    return [1][5]", "prod.py", "exec"), found)
    try:
        found["run"]()
    except IndexError as error:
        assert '  File "prod.py", line 2, in run\n' in about.crash(error)


ran = []


class Proxy:
    size = 3

    def __init__(self):
        self.own = 1

    def __getattr__(self, name):
        ran.append(name)
        return self

    @property
    def level(self):
        ran.append("level")
        return 5

    def read(self):
        return 1


def test_questions_about_an_object_run_none_of_its_code():
    del ran[:]
    names = {"p": Proxy()}
    assert about.complete(names, "p.") == sorted(set(about.complete(names, "p.")))
    for name in ("own", "size", "level", "read"):
        assert name in about.complete(names, "p.")
    assert about.complete(names, "p.le") == ["level"]
    assert about.complete(names, "p.unknown.") == []
    assert about.inspect(names, "p.unknown") is None
    assert about.inspect(names, "p.level")["type"] == "property"
    assert about.inspect(names, "p.own")["repr"] == "1"
    assert about.inspect(names, "p.size")["repr"] == "3"
    assert "read" in about.inspect(names, "p.read")["repr"]
    assert ran == []


def test_questions_about_modules_classes_and_what_the_firmware_made():
    names = {"sys": sys, "Proxy": Proxy, "text": "x", "config": type("Config", (dict,), {})(a=1)}
    assert "modules" in about.complete(names, "sys.mod")
    assert about.complete(names, "Proxy.re") == ["read"]
    assert "upper" in about.complete(names, "text.up")
    assert "keys" in about.complete(names, "config.k")
    assert "append" in about.complete({}, "+sys.path.ap")
    assert about.inspect(names, "Proxy.size")["repr"] == "3"


def test_an_object_is_said_to_be_of_a_class_and_of_what_module_that_is():
    names = {"p": Proxy(), "Proxy": Proxy, "text": "x", "system": sys}
    assert about.inspect(names, "p")["self"] == about.inspect(names, "Proxy")["self"] == Proxy.__module__ + ".Proxy"
    assert about.inspect(names, "p.read")["super"] == Proxy.__module__ + ".Proxy"
    assert about.inspect(names, "system.path")["super"] == about.inspect(names, "system")["self"] == "sys"
    assert about.inspect(names, "text")["self"] in (".str", "builtins.str")  # the firmware's own say no module
    assert "super" not in about.inspect(names, "text")


class _Asked:
    """A link that keeps what is sent."""

    session = 3

    def send(self, type, parent, content):
        import json

        self.said = json.loads(content.decode())


def test_where_nothing_is_typed_yet_names_are_offered_and_an_inspection_tells_the_sessions():
    link = _Asked()
    about.answer(link, {"mine": 1}, wire.COMPLETE_REQUEST, 1, b"")
    assert "mine" in link.said and "print" in link.said and "sessions" not in link.said
    about.answer(link, {"mine": 1}, wire.INSPECT_REQUEST, 1, b"")
    assert link.said == {"sessions": 3}
