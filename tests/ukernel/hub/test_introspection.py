"""Completion and inspection: the board is asked while it is free."""

import asyncio

from ukernel.hub import introspection
from ukernel.hub.introspection import IntrospectionRequests


def test_completion_asks_the_board_for_the_name_at_the_cursor(hub, notebook):
    code = "import time\ntime.sl\nx"
    answer = notebook.client.request("complete_request", {"code": code, "cursor_pos": 19})
    assert hub.boards["kitchen"].sent[-1][2] == b"time.sl"
    assert answer["matches"] == ["sleep", "sleep_ms"]
    assert (answer["cursor_start"], answer["cursor_end"]) == (17, 19)


def test_inspection_asks_for_the_whole_name(hub, notebook):
    answer = notebook.client.request("inspect_request", {"code": "pin.value", "cursor_pos": 5})
    assert hub.boards["kitchen"].sent[-1][2] == b"pin.value"
    assert answer["found"]
    assert "42" in answer["data"]["text/plain"]


def test_completion_does_not_wait_for_a_running_cell(hub, notebook):
    notebook.until("status", notebook.send("hold"))
    answer = notebook.client.request("complete_request", {"code": "ti", "cursor_pos": 2})
    assert (answer["status"], answer["matches"]) == ("ok", [])


class Asked:
    """Requests to a board that answers when the test says so, and what their client hears."""

    label = kernel = instance = ""

    def __init__(self, is_free=True):
        self.is_free = is_free
        self.questions = []
        self.heard = []
        self.requests = IntrospectionRequests(self._put, lambda: len(self.questions) + 1)

    def _put(self, type, parent, content):
        if self.is_free:
            self.questions.append((type, parent, content))
        return self.is_free

    def send(self, type, parent, content):
        self.heard.append((type, parent, content))


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_board_that_is_busy_is_not_asked_and_nothing_is_found():
    async def scenario():
        asked = Asked(is_free=False)
        asked.requests.complete(asked, 7, "ti", 2, False)
        asked.requests.inspect(asked, 8, "ti", 2)
        return asked

    asked = run(scenario)
    assert asked.questions == []
    assert [(type, parent) for type, parent, _ in asked.heard] == [("complete_reply", 7), ("inspect_reply", 8)]
    assert asked.heard[0][2]["matches"] == []
    assert not asked.heard[1][2]["found"]


def test_a_text_longer_than_any_name_is_not_sent():
    async def scenario():
        asked = Asked()
        asked.requests.complete(asked, 7, "x" * 2000, 2000, False)
        return asked

    asked = run(scenario)
    assert asked.questions == []
    assert asked.heard[0][2]["matches"] == []


def test_no_answer_in_time_is_an_empty_one_and_a_late_one_is_nobodys(monkeypatch):
    monkeypatch.setattr(introspection, "REPLY_TIMEOUT_S", 0.01)

    async def scenario():
        asked = Asked()
        asked.requests.complete(asked, 7, "ti", 2, False)
        assert 1 in asked.requests
        while not asked.heard:
            await asyncio.sleep(0.005)
        asked.requests.answer(1, b'["time"]')
        assert 1 not in asked.requests
        return asked

    asked = run(scenario)
    assert [content["matches"] for _, _, content in asked.heard] == [[]]


def test_a_board_that_is_lost_answers_all_with_nothing():
    async def scenario():
        asked = Asked()
        asked.requests.complete(asked, 7, "ti", 2, False)
        asked.requests.inspect(asked, 8, "pin", 1)
        asked.requests.drop()
        return asked

    asked = run(scenario)
    assert [question[2] for question in asked.questions] == [b"ti", b"pin"]
    assert len(asked.heard) == 2


def test_a_name_that_the_board_may_import_is_marked():
    async def scenario():
        asked = Asked()
        asked.requests.complete(asked, 7, "import mach", 11, True)
        asked.requests.drop()
        return asked

    assert run(scenario).questions[0][2] == b"+mach"
