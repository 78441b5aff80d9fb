"""A board whose memory is full to the brim goes on answering, in whatever way it was filled."""

import json
import queue
import time

import pytest

from ucore import wire
from ukernel.errors import UcoreError
from ukernel.hub.driver import BoardDriver
from ukernel.link import session
from ukernel.virtual import firmware
from ukernel.virtual.launcher import VirtualBoard

pytestmark = pytest.mark.micropython

PATIENCE_S = 60.0
IN_VARIABLES = {
    "texts in a dict": "d = {}; i = 0\nwhile True: d[i] = str(i) * 5; i += 1",
    "dicts in dicts": "d = {}; i = 0\nwhile True: d[str(i)] = {i: [i]}; i += 1",
    "lists in lists": "kept = []\nwhile True: kept.append([kept[-1:], 1, 2])",
    "a chain": "chain = None\nwhile True: chain = (chain,)",
    "objects": "class Node: pass\nfirst = None\nwhile True:\n    node = Node(); node.next = first; first = node",
    "closures": "def make(f, i): return lambda: (f, i)\nf = None; i = 0\nwhile True: f = make(f, i); i += 1",
    "a bytearray that grows": "kept = [bytearray() for _ in range(20)]\nwhile True:\n    for part in kept: part.append(1)",
    "ever smaller blocks": "kept = []; size = 1 << 22\nwhile size:\n    try: kept.append(bytearray(size))\n    except MemoryError: size //= 2",
    "names": "i = 0\nwhile True: globals()['v%d' % i] = i * 1.5; i += 1",
    "a fill that goes on": "d = {}; i = n = 0\nwhile n < 100:\n    try: d[i] = str(i) * 5; i += 1\n    except MemoryError: n += 1",
    "recursion": "def dig(n): return dig(n + 1) + [n]\ndig(0)",
}
ELSEWHERE = {
    "a module": "import sys\nclass Held: chain = None\nsys.modules['held'] = held = Held\nwhile True: held.chain = (held.chain,)",
    "a thread": "import _thread\ndone = []\ndef fill(done, chain=None):\n    try:\n        while True: chain = (chain,)\n    except MemoryError: done.append(1)\n"
    "    while True: pass\n_thread.start_new_thread(fill, (done,))\nwhile not done: pass",
}


class FullBoard:
    """A virtual board with a heap of a given size, whose cells are run to their end, whatever that is."""

    def __init__(self, heap):
        try:
            firmware.build()
        except UcoreError as error:
            pytest.skip(str(error))
        self._virtual = VirtualBoard("micropython", heap=heap)
        self._parent = 0
        self.text = ""
        self.named = None  # what kind of error the last cell had
        self.dropped = False

    def __enter__(self):
        self._virtual.start()
        self._events = queue.Queue()
        self.board = BoardDriver(self._virtual.port, lambda board, event: self._events.put(event))
        self.board.start()
        self._next(session.Ready)
        return self

    def __exit__(self, *exc):
        self.board.close()
        self._virtual.stop()

    def _next(self, *kinds):
        end = time.monotonic() + PATIENCE_S
        while True:
            event = self._events.get(timeout=max(end - time.monotonic(), 0.001))
            if isinstance(event, session.Console):
                self.text += event.text
            if isinstance(event, kinds):
                return event

    def run(self, code):
        """Run a cell; returns its reply's status, or "restarted" where the board began a new life instead."""
        self._parent += 1
        self.text = ""
        self.dropped = False
        self.board.send(wire.EXECUTE_REQUEST, self._parent, code.encode())
        while True:
            event = self._next(session.Message, session.Ready, session.Gone)
            if isinstance(event, session.Gone):
                raise event.error
            if isinstance(event, session.Ready):
                assert event.restarted
                return "restarted"
            if event.type == wire.STREAM:
                self.text += event.content.decode()
            elif event.type == wire.STATUS:
                self.dropped = bool(event.content)
            elif event.type == wire.EXECUTE_REPLY and event.parent == self._parent:
                reply = json.loads(event.content)
                self.named = reply.get("ename")
                return reply["status"]

    def reset(self):
        self.board.send(wire.SHUTDOWN_REQUEST, 0, b"")
        assert self._next(session.Ready).restarted


def fills(ways, heaps):
    return [pytest.param(ways[way], heap, id=f"{way}, {heap}") for way in ways for heap in heaps]


@pytest.mark.parametrize(("fill", "heap"), fills(IN_VARIABLES, ("128k", "4m")))
def test_a_board_filled_with_variables_runs_the_next_cells_and_can_be_reset(fill, heap):
    with FullBoard(heap) as board:
        assert board.run(fill) in ("ok", "error")
        answer = board.run("print('alive')")  # or nothing compiles any more
        assert answer in ("ok", "error")
        assert (board.text == "alive\n") == (answer == "ok")
        board.reset()
        assert (board.run("print('alive')"), board.text) == ("ok", "alive\n")


@pytest.mark.parametrize(("fill", "heap"), fills(ELSEWHERE, ("64k", "1m")))
def test_a_board_filled_by_what_cannot_be_dropped_begins_a_new_life_by_itself_or_says_that_its_memory_is_full(fill, heap):
    with FullBoard(heap) as board:
        answers = [board.run(fill), board.run("1")]
        if "restarted" not in answers:  # by chance there was garbage left at the end, enough for an answer
            assert answers[1] == "error" and board.named in ("MemoryError", None)  # None: there was no room for its name
            board.reset()
        assert (board.run("print('alive')"), board.text) == ("ok", "alive\n")


def test_variables_that_leave_some_room_are_kept():
    with FullBoard("256k") as board:
        board.run("kept = []\nwhile True: kept.append(bytearray(8192))")
        assert board.run("print(len(kept) > 5)\nkept.clear()") == "ok"
        assert (board.text, board.dropped) == ("True\n", False)


def test_the_next_cell_says_that_the_variables_were_dropped_and_finds_the_names_that_cells_begin_with():
    with FullBoard("1m") as board:
        board.run("chain = None\nwhile True: chain = (chain,)")
        assert board.run("print('chain' in globals(), __name__, ucore.is_pipe_open('none'))\n_ucore_show(1)") == "ok"
        assert (board.text, board.dropped) == ("False __main__ False\n", True)
        assert board.run("1") == "ok"
        assert not board.dropped


def test_a_cell_is_interrupted_at_once_while_a_thread_fills_the_memory_over_and_over():
    with FullBoard("256k") as board:
        code = (
            "import _thread\ndef fill():\n    while True:\n        chain = None\n        try:\n            while True: chain = (chain,)\n"
            "        except MemoryError: pass\n_thread.start_new_thread(fill, ())\nwhile True:\n    try:\n        while True: bytearray(100)\n"
            "    except MemoryError: pass"
        )
        board.board.send(wire.EXECUTE_REQUEST, 1, code.encode())
        board._parent = 1
        board._next(session.Message)
        board.board.interrupt()
        event = board._next(session.Message, session.Ready)
        assert isinstance(event, session.Ready) or event.type == wire.EXECUTE_REPLY
        board.run("1")
        board.reset()


@pytest.mark.parametrize(
    "code",
    [
        "import micropython\nfor _ in range(3): micropython.heap_lock()",
        *(f"import builtins\nbuiltins.{name} = 5" for name in ("len", "any", "bytes", "bytearray")),
        "import builtins\nbuiltins.type = builtins.getattr = 5\nkept = 1 / 0",
    ],
)
def test_what_stops_the_agent_and_is_no_lack_of_memory_costs_no_variable_and_is_not_called_one(code):
    with FullBoard("1m") as board:
        board.run("kept = 1")
        answer = board.run(code)
        assert (answer, board.named) in (("ok", None), ("error", "ZeroDivisionError"))
        assert (board.run("print(kept)"), board.text, board.dropped) == ("ok", "1\n", False)
