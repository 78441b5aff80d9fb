"""Which of a board's few names for cells stands for which cell."""

from ucore import wire
from ukernel.hub.execution import Execution
from ukernel.protocol.cellnames import MAX_OWNERS, CellNames

READ = "def read():\n    return {}"


def frame(number, line, function="read"):
    return f'  File "<cell {chr(97 + number)}>", line {line}, in {function}\n'


def fresh():
    names = CellNames()
    names.clear(True)
    return names


def test_a_frame_is_of_the_cell_that_had_its_name():
    names = fresh()
    numbers = [names.assign("me", "", key, READ.format(key)) for key in range(3)]
    assert len(set(numbers)) == 3
    assert names.find("".join(frame(number, 2) for number in numbers), "me") == [[{"key": 0}], [{"key": 1}], [{"key": 2}]]


def test_anothers_cell_is_known_by_the_others_label():
    names = fresh()
    number = names.assign("other", "the notebook x", 1, READ)
    assert names.find(frame(number, 2), "me") == [[{"label": "the notebook x"}]]


def test_names_are_used_again_and_then_every_cell_that_fits_is_told():
    names = fresh()
    numbers = [names.assign("me", "", key, READ.format(key)) for key in range(2 * wire.SLOTS)]
    assert set(numbers) == set(range(1, wire.SLOTS))
    again = numbers.index(numbers[0], 1)
    assert names.find(frame(numbers[0], 2), "me")[0][:2] == [{"key": 0}, {"key": again}]
    assert names.find(frame(numbers[0], 2, "write"), "me") == [[]]
    assert names.find(frame(numbers[0], 3), "me") == [[]]


def test_cells_that_define_nothing_use_up_no_names():
    names = fresh()
    assert {names.assign("me", "", key, f"x = {key}\nprint(x)") for key in range(50)} == {0}


def test_a_cell_run_again_unchanged_keeps_its_name():
    names = fresh()
    first = names.assign("me", "", 1, READ)
    assert names.assign("me", "", 2, "class A: pass") != first
    assert names.assign("me", "", 3, READ) == first
    assert names.find(frame(first, 2), "me") == [[{"key": 3}]]
    assert names.assign("other", "x", 4, READ) != first


def test_the_first_frame_of_the_cell_that_runs_is_its_own_and_no_other():
    names = fresh()
    caught = "with suppressed: 1 / 0"
    names.assign("me", "", 1, caught)
    running = names.assign("me", "", 2, caught + "\nraise error")
    text = frame(0, 1, "<module>")
    assert names.find(text + text, "me", running) == [[{"key": 2}], [{"key": 1}, {"key": 2}]]
    assert names.find('  File "<cell a>", line 1\n', "me", running) == [[{"key": 2}]]


def test_lines_outside_of_functions_are_of_a_cell_that_catches_its_errors():
    names = fresh()
    for key, code in enumerate(
        ["a = 1\nb = 2", "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    print(error)", "c = 3\nd = 4"]
    ):
        names.assign("me", "", key, code)
    assert names.find(frame(0, 2, "<module>"), "me") == [[{"key": 1}]]


def test_a_cell_that_has_failed_may_be_in_a_traceback_that_was_kept():
    names = fresh()
    for key in range(2):
        names.assign("me", "", key, f"raise kept[{key}]")
        names.find(frame(0, 1, "<module>"), "me", 0)
    names.assign("me", "", 2, "a = 1")
    assert names.find(frame(0, 1, "<module>"), "me") == [[{"key": 0}, {"key": 1}]]


def test_nothing_is_certain_on_a_board_that_others_have_used_before():
    names = CellNames()
    number = names.assign("me", "", 1, READ)
    assert names.find(frame(number, 2), "me") == [[{"key": 1}, {}]]
    assert names.find(frame(0, 1, "<module>") * 2, "me", 0) == [[{}], [{}]]
    names.clear(True)
    assert names.find(frame(number, 2), "me") == [[]]


def test_what_is_remembered_is_bounded_and_what_is_forgotten_may_be_meant():
    names = fresh()
    for key in range((MAX_OWNERS + 1) * wire.SLOTS):
        number = names.assign("me", "", key, READ.format(key))
    found = names.find(frame(number, 2), "me")[0]
    assert len(found) == MAX_OWNERS + 1 and found[-1] == {}


def test_all_kinds_of_functions_are_known():
    names = fresh()
    code = "async def a(): pass\nclass B:\n    def \\\n c(self): pass\nd = lambda: 1\ne = [f for f in d]"
    number = names.assign("me", "", 1, code)
    for function in ("a", "B", "c", "<lambda>", "<listcomp>", "<genexpr>"):
        assert names.find(frame(number, 1, function), "me") == [[{"key": 1}]], function


class Client:
    instance, label = "me", "a notebook"

    def __init__(self):
        self.streams = []

    def send(self, type, request, content):
        self.streams.append(content)


def test_a_frame_in_printed_text_is_told_whole_however_it_was_cut():
    names = fresh()
    number = names.assign("me", "", 1, READ)
    text = "Failed:\n" + frame(number, 2) + "OSError: 5\n"
    for at in range(1, len(text)):
        client = Client()
        cell = Execution(client, 1, "", names=names)
        cell.print(text[:at].encode())
        cell.print(text[at:].encode())
        assert "".join(content["text"] for content in client.streams) == text
        assert [content["cells"] for content in client.streams if "cells" in content] == [[[{"key": 1}]]], at


def test_what_only_begins_like_a_frame_comes_at_the_latest_with_the_reply():
    client = Client()
    cell = Execution(client, 1, "", names=fresh())
    cell.print(b'x File "<ce')
    cell.reply({"status": "ok"})
    assert "".join(content.get("text", "") for content in client.streams) == 'x File "<ce'
