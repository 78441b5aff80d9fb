"""Functions that the host calls with values: whatever Python runs this, a value comes back, or the items of a generator."""

import time

from ucore import calls, values, wire


class Board:
    """Stands where the runner and its link stand. Keeps what is sent."""

    def __init__(self, **names):
        self.globals = names
        self.cell = 7
        self._session = 1
        self.link = self
        self.sent = []

    def do(self, call, *args):
        call(*args)

    def send(self, type, parent, content, pipe, session):
        assert (type, parent, pipe, session) == (wire.EXECUTE_RESULT, 7, None, 1)
        self.sent.append(bytes(content))

    def call(self, name, *args, key="#1", awaited=False, **kwargs):
        """Call as the host does; the value, or "a generator"."""
        self.sent = []
        pieces = [b"\0", bytes((wire.CALL,))]
        writer = values.Writer(pieces.append)
        writer.write((name, args, kwargs, key, awaited), 0)
        writer.flush()
        calls.update(self, bytearray(b"".join(pieces)))
        if self.sent == [b"generator\n"]:
            return "a generator"
        assert not [piece for piece in self.sent if not piece.startswith(b"value\n")], self.sent
        return values.Reader(b"".join([piece[6:] for piece in self.sent])).read()


def raised(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def test_a_function_gets_its_arguments_and_gives_its_value():
    board = Board(both=lambda a, b=1: [a, b])
    assert board.call("both", 0.1) == [0.1, 1]
    assert board.call("both", (1, "µ"), b=b"\0") == [(1, "µ"), b"\0"]
    assert board.call("both", None) == [None, 1]


def test_what_is_called_may_be_a_method_a_builtin_or_in_a_module():
    board = Board(text="a b")
    assert board.call("text.split") == ["a", "b"]
    assert board.call("max", 3, 4) == 4
    assert board.call("math.floor", 2.5) == 2


def test_names_that_the_agent_uses_are_a_programs_own_all_the_same():
    board = Board(next=lambda: "mine", close=lambda: "mine, too")
    assert board.call("next") == "mine"
    assert board.call("close") == "mine, too"


def test_a_name_that_is_none_is_an_error_of_that_kind():
    assert raised(Board().call, "no_such_thing") == ("NameError", "name 'no_such_thing' isn't defined")
    assert raised(Board(text="").call, "text.nothing")[0] == "AttributeError"
    assert raised(Board(text="").call, "text")[0] == "TypeError"


def test_a_definition_of_the_hosts_is_called_only_as_long_as_it_is_the_latest():
    board = Board()
    board.globals["#add"] = ("12ab", lambda a, b: a + b)
    assert board.call("#add:12ab", 1, 2) == 3
    assert raised(board.call, "#add:ffff", 1, 2)[0] == "KeyError"
    assert raised(board.call, "#sub:12ab", 1, 2)[0] == "KeyError"


def test_a_generator_stays_and_its_items_are_taken_some_at_a_time():
    def count(n):
        yield from range(n)

    board = Board(count=count)
    assert board.call("count", 5, key="#a") == "a generator"
    assert board.call("##next", 3, key="#a") == ([0, 1, 2], True)
    assert board.call("##next", 3, key="#a") == ([3, 4], False)
    assert "#a" not in board.globals
    assert raised(board.call, "##next", 3, key="#a")[0] == "KeyError"


def test_a_slow_generators_item_does_not_wait_for_the_next():
    def slow():
        while True:
            time.sleep(0.05)
            yield 1

    board = Board(slow=slow)
    board.call("slow", key="#a")
    assert board.call("##next", 100, key="#a") == ([1], True)


def test_a_generator_that_fails_gives_first_what_came_before():
    def fails():
        yield 1
        raise ValueError("no more")

    board = Board(fails=fails)
    board.call("fails", key="#a")
    assert board.call("##next", 10, key="#a") == ([1], True)
    assert raised(board.call, "##next", 10, key="#a") == ("ValueError", "no more")
    assert "#a" not in board.globals


def test_a_generator_that_is_closed_cleans_up_and_is_gone():
    ended = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            ended.append(True)

    board = Board(endless=endless)
    board.call("endless", key="#a")
    board.call("##next", 1, key="#a")
    assert board.call("##close", key="#a") is None
    assert (ended, "#a" in board.globals) == ([True], False)
    assert board.call("##close", key="#a") is None


def test_a_coroutine_is_awaited():
    async def later(value):
        return value

    assert Board(later=later).call("later", 5, awaited=True) == 5
