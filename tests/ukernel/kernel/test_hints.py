"""Words below a host cell that is the board's."""

import pytest
from IPython.core.error import UsageError

from ukernel.kernel import hints

BOARD = """%%ucore --timeout 5
import network
from time import sleep_ms
import bme280lib, os as system
adc = ADC(Pin(4)); low, high = 1, 2
def read(n): helper = 1; return helper
class Sensor: pass
for step in range(3): pass
with open("x") as file: pass
squares = [i * i for i in range(3)]
if (big := 3): table: list = []
def fill():
    global filled
    filled = 1
Config.inner = 5
print(used, keyword=3)
"""


def failing(code: str, cells=(BOARD,), folder=None, on_board=()) -> str:
    """Run a host cell that fails, and return what is said about it. Its lines are known where there is a folder for them, as IPython's are.

    on_board: the types of what the board has, by name.
    """
    names: dict = {}
    path = folder / f"cell{abs(hash(code))}.py" if folder else "<cell>"
    if folder:
        path.write_text(code)
    with pytest.raises(Exception) as raised:
        exec(compile(code, str(path), "exec"), names)
    return hints.hint(raised.value, list(cells), names, lambda name: dict(on_board).get(name, ""))


@pytest.mark.parametrize(
    "code", ["from machine import Pin", "import network as net", "import machine.Pin", "import utime", "import rp2"]
)
def test_a_module_of_the_firmware_is_the_boards(code):
    said = failing(code, ())
    assert "is a module of MicroPython" in said and "begin it with `%%ucore`" in said


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.ticks_ms()",
        "from time import sleep_ms",
        "import gc; gc.mem_free()",
        "import asyncio; asyncio.sleep_ms",
    ],
)
def test_so_is_what_only_micropythons_module_of_a_name_has(code):
    assert "is MicroPython's" in failing(code, ()) and "%%ucore" in failing(code, ())


@pytest.mark.parametrize("name", ["low", "high", "step", "squares", "big", "table", "filled"])
def test_a_variable_that_a_board_cell_sets_is_on_the_board_and_can_be_pulled(name):
    said = failing(f"print({name})")
    assert f"`{name}` is on the board" in said and "%%ucore" in said and f"`{name} = %ucore pull {name}`" in said


@pytest.mark.parametrize("name", ["read", "Sensor", "sleep_ms", "network", "system", "adc", "file"])
def test_a_function_a_class_a_module_or_an_object_of_the_boards_cannot_be_pulled(name):
    said = failing(name)
    assert "%%ucore" in said and "pull" not in said


def test_of_a_pin_its_level_can_be_pulled():
    cell = "%%ucore\nfrom machine import Pin\nled = Pin(2, Pin.OUT)"
    assert failing("led + 1", [cell]).endswith("Or copy its level: `level = %ucore pull led.value()`.")


@pytest.mark.parametrize("value", ["ucore.open_pipe('x')", "open('x')", "machine.PWM(2)", "Sensor()", "lambda: 1"])
def test_an_object_of_the_boards_is_not_offered(value):
    said = failing("thing", [f"%%ucore\nthing = {value}"])
    assert "is on the board" in said and "pull" not in said


@pytest.mark.parametrize("value", ["adc.read_uv()", "sum(x)", "sensor.values()"])
def test_what_a_function_has_returned_may_be_a_value(value):
    assert "if that is of numbers and text: `thing = %ucore pull thing`" in failing("thing", [f"%%ucore\nthing = {value}"])


def test_a_module_that_both_sides_have_can_be_imported_here_as_well():
    cell = "%%ucore\nimport time, json"
    assert "Or `import json` in this cell" in failing("json.dumps(1)", [cell])
    assert failing("json.dumps(1)", []) == ""


def test_but_not_where_it_is_micropythons_part_that_is_used(tmp_path):
    for cells in ([], ["%%ucore\nimport time"]):
        said = failing("time.sleep_ms(3)", cells, tmp_path)
        assert "`time.sleep_ms` is MicroPython's" in said and "import time" not in said
    assert "Or `import time` in this cell" in failing("time.sleep(3)", ["%%ucore\nimport time"], tmp_path)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("float", "Or copy its value: `thing = %ucore pull thing`."),
        ("_virtualpins.Pin", "Or copy its level: `level = %ucore pull thing.value()`."),
        ("function", "begin it with `%%ucore`."),
    ],
)
def test_a_name_that_main_py_or_another_notebook_has_set_is_on_the_board_by_its_own_word(kind, advice):
    for cells in ([], ["%%ucore\nthing = made_somehow()"]):
        said = failing("thing", cells, on_board={"thing": kind})
        assert said.startswith("`thing` is on the board") and said.endswith(advice)


def test_what_micropythons_compiler_knows_is_micropythons():
    assert "`const` is MicroPython's" in failing("x = const(3)", [])


@pytest.mark.parametrize("name", ["i", "helper", "n", "inner", "used", "keyword", "nobody", "Config", "__magic"])
def test_a_name_that_no_board_cell_binds_globally_is_a_plain_mistake(name):
    assert failing(name) == ""


def test_the_boards_own_module_and_modules_that_a_board_cell_imports():
    assert "`ucore` is the board's" in failing("ucore.open_pipe('x')", ())
    assert "Cells of the board import `bme280lib`" in failing("import bme280lib")
    assert "`machine` is a module" in failing("machine.Pin(2)", ())


@pytest.mark.parametrize(
    "code", ["1/0", "import nowhere_at_all", "from json import nothing", "import json; json.nothing", "(5).x", "nowhere"]
)
def test_other_errors_get_no_words(code):
    assert failing(code) == ""


def test_a_library_that_fails_over_a_name_of_the_boards_says_nothing_of_the_board():
    library: dict = {}
    exec("def call(): return adc", library)
    with pytest.raises(NameError) as raised:
        library["call"]()
    assert hints.hint(raised.value, [BOARD], {}) == ""


def test_a_cell_that_no_grammar_reads_tells_what_it_can():
    assert "is on the board" in failing("ok", ["%%ucore\nok = 1\ndef (:\n"])


def test_what_a_star_brings_is_on_the_board_too():
    assert "from `machine.Pin`" in failing("Pin(2)", ["%%ucore\nfrom machine import *"])
    assert failing("Pin(2)", ["%%ucore\nfrom mylib import *"]) == ""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Line magic function `%ucoer` not found.", "Did you mean `%ucore`?"),
        ("Cell magic `%%ucoer` not found.", "Did you mean `%%ucore`?"),
        ("Cell magic `%%uCore` not found.", "Did you mean `%%ucore`?"),
        ("Line magic function `%matplotlob` not found.", ""),
    ],
)
def test_a_misspelt_magic_is_told_how_it_is_spelt(said, meant):
    assert hints.hint(UsageError(said), [], {}) == meant
