"""Top-level await and rich output in board cells, on both Pythons that a board can have."""

import base64
import re

import pytest

pytestmark = pytest.mark.board

ASYNC_TOOLS = """import asyncio

async def double(n):
    await asyncio.sleep_ms(5)
    return 2 * n

async def fail():
    await asyncio.sleep_ms(1)
    raise ValueError("as told")

class Numbers:
    def __init__(self, end):
        self.end = end
        self.number = 0
    def __aiter__(self):
        return self
    async def __anext__(self):
        await asyncio.sleep_ms(1)
        if self.number == self.end:
            raise StopAsyncIteration
        self.number += 1
        return self.number
"""


def test_an_await_gives_its_value_and_names_stay(bench):
    bench.board(ASYNC_TOOLS)
    assert bench.board("x = await double(4)\ny = x + await double(await double(1))\ny").result == "12"
    assert bench.board("(x, y)").result == "(8, 12)"
    assert bench.board("await double(3)").result == "6"
    assert bench.board("await double(3);").result is None
    assert bench.board("await asyncio.sleep(0)").result is None


def test_loops_managers_and_comprehensions_may_be_async(bench):
    bench.board(ASYNC_TOOLS)
    assert bench.board("total = 0\nasync for n in Numbers(4):\n    total += n\ntotal").result == "10"
    assert (
        bench.board("lock = asyncio.Lock()\nasync with lock:\n    held = lock.locked()\n(held, lock.locked())").result
        == "(True, False)"
    )
    assert bench.board("if await double(1) == 2:\n    z = [await double(i) for i in range(3)]\nz").result == "[0, 2, 4]"


def test_tasks_run_while_a_cell_awaits_also_a_later_one(bench):
    bench.board(
        "import asyncio\nticks = []\nasync def tick():\n    while True:\n        ticks.append(len(ticks))\n"
        "        await asyncio.sleep_ms(2)\nticker = asyncio.create_task(tick())\nawait asyncio.sleep_ms(50)"
    )
    seen = bench.board_value("len(ticks)")
    assert seen > 1
    assert bench.board_value("await asyncio.sleep_ms(50)\nlen(ticks)") > seen
    bench.board("ticker.cancel()\nawait asyncio.sleep_ms(1)")


def test_an_error_after_an_await_has_the_cells_lines_and_no_others(bench):
    bench.board(ASYNC_TOOLS)
    outcome = bench.notebook.run("%%ucore\ntext = '''two\n  lines'''\n\nawait double(1)\nawait fail()")
    assert outcome.error == "ValueError"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", outcome.traceback)
    count = outcome.reply["execution_count"]
    assert f"Cell In[{count}], line 6" in plain and "----> 6 await fail()" in plain
    assert ", in fail" in plain and "raise ValueError" in plain
    assert "asyncio/" not in plain and "tasks" not in plain
    assert bench.board("text").result == "'two\\n  lines'"


def test_an_await_can_be_interrupted_and_the_loop_goes_on(bench):
    bench.board(ASYNC_TOOLS)
    code = (
        "ends = []\nasync def wait():\n    try:\n        await asyncio.sleep(60)\n    finally:\n        ends.append('done')\n"
    )
    bench.board(code)
    request = bench.notebook.send("%%ucore\nprint('started')\nawait wait()")
    bench.notebook.wait_for_text(request, "started")
    bench.notebook.interrupt()
    assert bench.notebook.finish(request)[0].error == "KeyboardInterrupt"
    assert bench.board("(ends, await double(2))").result == "(['done'], 4)"


def test_a_time_limit_ends_an_await(bench):
    assert bench.notebook.run("%%ucore --timeout 0.5\nimport asyncio\nawait asyncio.sleep(60)").error == "TimeoutError"


def test_a_cell_with_await_captures_and_saves(bench):
    bench.board(ASYNC_TOOLS)
    outcome = bench.notebook.run("%%ucore --out doubled\nawait double(21)")
    assert outcome.reply["status"] == "ok"
    assert bench.value("doubled") == 42
    bench.notebook.run("%%ucore --save awaiting.txt\nawait double(21)")
    assert bench.board("open('awaiting.txt').read()").result == "'await double(21)'"


def test_each_kind_of_data_is_shown_as_what_it_is(bench):
    cell = (
        "print('before')\nucore.display(html='<b>µ</b>')\nucore.display(markdown='# hi')\nucore.display(svg='<svg/>')\n"
        "ucore.display(json={'a': [1, None]})\nucore.display(png=b'\\x89PNG\\n\\xf7')\nprint('after')"
    )
    outcome = bench.board(cell)
    assert [kind for kind in outcome.types if kind in ("stream", "display_data")] == ["stream", *["display_data"] * 5, "stream"]
    shown = [content["data"] for content in outcome.contents("display_data")]
    assert shown[0]["text/html"] == "<b>µ</b>"
    assert shown[1]["text/markdown"] == "# hi"
    assert shown[2]["image/svg+xml"] == "<svg/>"
    assert shown[3]["application/json"] == {"a": [1, None]}
    assert base64.b64decode(shown[4]["image/png"]) == b"\x89PNG\n\xf7"
    assert all("text/plain" in data for data in shown)


def test_an_object_shows_itself_as_a_result_and_when_asked(bench):
    bench.board(
        "class Gauge:\n    def _repr_html_(self):\n        return '<meter>'\nclass Drawing:\n    def _repr_svg_(self):\n        return '<svg/>'"
    )
    assert bench.board("Gauge()").contents("display_data")[0]["data"]["text/html"] == "<meter>"
    assert bench.board("ucore.display(Drawing())").contents("display_data")[0]["data"]["image/svg+xml"] == "<svg/>"
    assert bench.board("ucore.display([1, 2])").contents("display_data")[0]["data"] == {"text/plain": "[1, 2]"}


def test_a_picture_of_64_kB_is_shown_and_a_larger_one_is_an_error(bench):
    outcome = bench.board("ucore.display(png=bytes(65536))")
    assert base64.b64decode(outcome.contents("display_data")[0]["data"]["image/png"]) == bytes(65536)
    outcome = bench.notebook.run("%%ucore\nucore.display(png=bytes(65537))")
    assert outcome.error == "ValueError" and "65536" in outcome.reply["evalue"]


@pytest.mark.parametrize("call", ["gif=b''", "1, 2", "png=5"])
def test_what_cannot_be_shown_is_an_error(bench, call):
    assert bench.notebook.run(f"%%ucore\nucore.display({call})").error == "TypeError"


def test_what_a_thread_shows_belongs_to_the_cell_that_started_it(bench):
    starter = bench.board(
        "import _thread\ngate = _thread.allocate_lock()\ngate.acquire()\ndef show():\n    gate.acquire()\n"
        "    ucore.display(html='<i>late</i>')\n_thread.start_new_thread(show, ())"
    )
    bench.notebook.send("%%ucore\ngate.release()")
    shown = bench.notebook.wait_for(lambda message: message["msg_type"] == "display_data")
    assert shown["parent_header"]["msg_id"] == starter.request
    assert shown["content"]["data"]["text/html"] == "<i>late</i>"


def test_a_password_is_asked_for_without_an_echo(bench):
    request = bench.notebook.send("%%ucore\nfrom getpass import getpass\ngetpass()", allow_stdin=True)
    asked = bench.notebook.client.get_stdin_msg(timeout=60)
    assert asked["content"] == {"prompt": "Password: ", "password": True}
    bench.notebook.client.input("secret")
    assert bench.notebook.finish(request)[0].result == "'secret'"


def test_names_can_be_imported_from_the_thread_module(bench):
    bench.board("from _thread import start_new_thread, allocate_lock\nstart_new_thread(print, ('from a thread',))")
