"""Board cells through the real kernel, hub and virtual board, as a front end sees them."""

import re

import pytest
from patience import PATIENCE_S

pytestmark = pytest.mark.board


def test_a_board_cell_is_one_cell_for_the_front_end(notebook):
    outcome = notebook.run("%%ucore\nprint('a')\nprint('b')\n6 * 7")
    assert outcome.types[:2] == ["busy", "execute_input"]
    assert outcome.types[-1] == "idle"
    assert outcome.types.count("busy") == outcome.types.count("idle") == 1
    assert outcome.types.count("execute_input") == 1
    assert outcome.text() == "a\nb\n"
    assert outcome.result == "42"
    assert outcome.reply["status"] == "ok"


def test_the_board_is_not_the_host(notebook):
    notebook.run("%%ucore\nwhere = 'board'")
    notebook.run("where = 'host'")
    assert notebook.run("%%ucore\nwhere").result == "'board'"
    assert notebook.run("where").result == "'host'"


def test_one_counter_serves_both_kinds_of_cell(notebook):
    host = notebook.run("1")
    board = notebook.run("%%ucore\n2")
    again = notebook.run("3")
    counts = [outcome.reply["execution_count"] for outcome in (host, board, again)]
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
    assert board.contents("execute_input")[0]["execution_count"] == counts[1]
    assert board.contents("execute_result")[0]["execution_count"] == counts[1]


def test_a_failing_board_cell_is_counted_like_any_other(notebook):
    board = notebook.run("%%ucore\n1/0")
    host = notebook.run("1")
    assert host.reply["execution_count"] == board.reply["execution_count"] + 1


def test_history_shows_board_cells_as_they_were_written(notebook):
    notebook.run("%%ucore\n'remember me'")
    assert "%%ucore\n'remember me'" in notebook.run("%history -n 1-1000").text()
    assert "remember me" in notebook.run("In[-3]").result
    tail = notebook.ask("history_request", {"hist_access_type": "tail", "n": 5, "output": False, "raw": True})
    assert "%%ucore\n'remember me'" in [entry[2] for entry in tail["history"]]


def test_a_silent_board_cell_leaves_no_trace(notebook):
    before = notebook.run("1").reply["execution_count"]
    outcome = notebook.run("%%ucore\nquiet = 1\nquiet", silent=True, store_history=False)
    assert outcome.types == ["busy", "idle"]
    assert outcome.reply["status"] == "ok"
    assert notebook.run("%%ucore\nquiet").result == "1"
    assert notebook.run("1").reply["execution_count"] == before + 2


def test_a_cell_kept_out_of_history_runs(notebook):
    before = notebook.run("1").reply["execution_count"]
    assert notebook.run("%%ucore\n5", store_history=False).result == "5"
    assert notebook.run("1").reply["execution_count"] == before + 1


@pytest.mark.parametrize("before", ["\n\n", "# a comment\n", "\n# one\n\n  # two\n"])
def test_blank_lines_and_comments_may_stand_before_the_magic(notebook, before):
    outcome = notebook.run(before + "%%ucore\n1 + 1")
    assert outcome.result == "2"
    assert outcome.types == ["busy", "execute_input", "execute_result", "idle"]


def test_an_empty_board_cell_does_nothing(notebook):
    assert notebook.run("%%ucore").types == ["busy", "execute_input", "idle"]
    assert notebook.run("%%ucore\n\n").reply["status"] == "ok"


def test_a_semicolon_keeps_the_result_quiet(notebook):
    assert notebook.run("%%ucore\n1 + 1;").types == ["busy", "execute_input", "idle"]


def test_an_error_is_shown_once_with_the_cells_own_lines(notebook):
    outcome = notebook.run("# first\n%%ucore\ndef divide(n):\n    return 1 / n\n\ndivide(0)")
    assert outcome.types == ["busy", "execute_input", "error", "idle"]
    assert outcome.error == "ZeroDivisionError"
    count = outcome.reply["execution_count"]
    plain = _plain(outcome.traceback)
    assert f"Cell In[{count}], line 6" in plain
    assert "----> 6 divide(0)" in plain
    assert f"Cell In[{count}], line 4, in divide" in plain
    assert "----> 4     return 1 / n" in plain
    assert outcome.reply["status"] == "error"
    assert outcome.reply["traceback"] == outcome.contents("error")[0]["traceback"]


def test_an_error_in_a_function_of_an_earlier_cell_names_that_cell(notebook):
    first = notebook.run("%%ucore\n\n\ndef fail_late():\n    return [][1]")
    second = notebook.run("%%ucore\nfail_late()")
    plain = _plain(second.traceback)
    assert f"Cell In[{second.reply['execution_count']}], line 2" in plain
    assert f"Cell In[{first.reply['execution_count']}], line 5, in fail_late" in plain


def test_a_syntax_error_names_its_line(notebook):
    outcome = notebook.run("%%ucore\nx = 1\ny = = 2")
    assert outcome.error == "SyntaxError"
    assert "line 3" in _plain(outcome.traceback)


def test_unknown_options_are_refused_with_the_known_ones(notebook):
    outcome = notebook.run("%%ucore --speed 3\nprint('must not run')")
    assert outcome.reply["status"] == "error"
    assert outcome.reply["ename"] == "UsageError"
    assert "--speed" in outcome.text("stderr")
    assert "--timeout SECONDS" in outcome.text("stderr")
    assert outcome.text() == ""


def test_the_magic_below_code_says_where_it_belongs(notebook):
    outcome = notebook.run("get_ipython().run_cell_magic('ucore', '', '1')")
    assert "first line" in outcome.text("stderr")


def _finish_behind_a_failure(notebook, magic, *codes):
    """Send a cell that fails only when the other cells wait behind it, and return the outcomes of all."""
    requests = [notebook.send(code, allow_stdin=True) for code in (magic + "input()\n1/0", *codes)]
    notebook.client.get_stdin_msg(timeout=PATIENCE_S)
    notebook.client.input("")
    return notebook.finish(*requests)


def test_an_error_aborts_the_cells_behind_it_on_both_sides(notebook):
    outcomes = _finish_behind_a_failure(notebook, "%%ucore\n", "1", "%%ucore\n2", "3")
    assert [outcome.reply["status"] for outcome in outcomes] == ["error", "aborted", "aborted", "aborted"]
    assert outcomes[2].types == ["busy", "idle"]
    assert notebook.run("%%ucore\n4").result == "4"


def test_an_error_aborts_a_whole_notebook_however_long(notebook):
    requests = [notebook.send(code) for code in ["%%ucore\nimport time\ntime.sleep(1)\n1/0", *["1"] * 500]]
    outcomes = notebook.finish(*requests)
    assert {outcome.reply["status"] for outcome in outcomes[1:]} == {"aborted"}


def test_a_host_error_aborts_board_cells_too(notebook):
    outcomes = _finish_behind_a_failure(notebook, "", "%%ucore\n2", "3")
    assert [outcome.reply["status"] for outcome in outcomes] == ["error", "aborted", "aborted"]


def test_without_stop_on_error_the_queue_goes_on(notebook):
    requests = [notebook.send(code, stop_on_error=False) for code in ("%%ucore\n1/0", "1/0", "%%ucore\n2", "3")]
    outcomes = notebook.finish(*requests)
    assert [outcome.reply["status"] for outcome in outcomes] == ["error", "error", "ok", "ok"]


def test_cells_of_both_kinds_run_in_the_order_they_were_sent(notebook):
    codes = ["order = []", "%%ucore\norder = [1]", "order.append(1)", "%%ucore\norder.append(2)", "order", "%%ucore\norder"]
    outcomes = notebook.finish(*[notebook.send(code) for code in codes])
    assert outcomes[4].result == "[1]"
    assert outcomes[5].result == "[1, 2]"
    counts = [outcome.reply["execution_count"] for outcome in outcomes]
    assert counts == list(range(counts[0], counts[0] + len(codes)))


def test_user_expressions_of_a_board_cell_are_evaluated_on_the_host(notebook):
    outcome = notebook.run("%%ucore\n1", user_expressions={"four": "2 + 2"})
    assert outcome.reply["user_expressions"]["four"]["data"]["text/plain"] == "4"


def test_no_line_comes_after_idle(notebook):
    requests = [notebook.send(f"%%ucore\nprint('line {number}')") for number in range(50)]
    for number, outcome in enumerate(notebook.finish(*requests)):
        assert outcome.types[-1] == "idle"
        assert outcome.text() == f"line {number}\n"


def test_long_output_arrives_whole_and_in_order(notebook):
    outcome = notebook.run("%%ucore\nfor i in range(2000):\n    print(i)")
    assert outcome.text() == "".join(f"{number}\n" for number in range(2000))


def test_what_a_program_writes_to_stdout_itself_is_shown_without_a_newline_too(notebook):
    assert notebook.run("%%ucore\nimport sys\nn = sys.stdout.write('größe')").text() == "größe"


def test_a_cell_of_64_kB_runs(notebook):
    assert notebook.run("%%ucore\n" + "a = 1  # filler\n" * 4000 + "a + 1").result == "2"


def test_a_thread_that_prints_later_prints_below_its_own_cell(notebook):
    starter = notebook.run(
        "%%ucore\nimport _thread\nlate_lock = _thread.allocate_lock()\nlate_lock.acquire()\n"
        "def talk():\n    late_lock.acquire()\n    print('from the thread')\n"
        "_ = _thread.start_new_thread(talk, ())"
    )
    assert starter.reply["status"] == "ok"
    notebook.send("%%ucore\nlate_lock.release()")
    notebook.wait_for_text(starter.request, "from the thread")


def test_a_cell_may_be_saved_on_the_board(notebook):
    notebook.run("%%ucore\nopen = print = False")
    outcome = notebook.run("%%ucore --save saved_cell.py\nnumber = 11\n")
    notebook.run("%%ucore\ndel open, print")
    assert "saved_cell.py" in outcome.text()
    assert notebook.run("%%ucore\nprint(open('saved_cell.py').read())").text() == "number = 11\n\n"


def test_a_cell_as_large_as_cells_may_be_is_saved_byte_for_byte(notebook):
    text = "# '\"\\\n" * 10_000 + "µ" * 2_000
    assert len(text.encode()) == 64_000
    outcome = notebook.run(f"%%ucore --save large.txt\n{text}")
    assert "Saved to large.txt" in outcome.text()
    notebook.run("%%ucore --out saved\nopen('large.txt').read()")
    assert notebook.run("saved").result == repr(text)
    notebook.run("%%ucore\nimport os\nos.remove('large.txt')")


def test_a_file_that_cannot_be_saved_is_an_error_that_names_it(notebook):
    outcome = notebook.run("%%ucore --save no/such/folder.py\nx")
    assert outcome.error == "OSError"
    assert "no/such/folder.py could not be saved" in outcome.traceback


def test_a_cell_that_takes_too_long_is_interrupted(notebook):
    outcome = notebook.run("%%ucore --timeout 0.5\nimport time\nwhile True:\n    time.sleep(0.01)")
    assert outcome.error == "TimeoutError"
    assert "0.5 s" in outcome.traceback
    assert notebook.run("%%ucore\n1").result == "1"


def test_no_raise_shows_the_error_and_goes_on(notebook):
    first, second = notebook.finish(notebook.send("%%ucore --no-raise\n1/0"), notebook.send("%%ucore\n2"))
    assert "ZeroDivisionError" in first.text("stderr") and "----> 2 1/0" in _plain(first.text("stderr"))
    assert first.types == ["busy", "execute_input", "stream", "idle"]
    assert first.reply["status"] == "ok"
    assert second.result == "2"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("print('noise')\n[1, 2.5, {'a': b'x'}]", "[1, 2.5, {'a': b'x'}]"),
        ("print('one')\nprint('two')", "'one\\ntwo\\n'"),
        ("object", "\"<class 'object'>\""),
        ("[1, object]", "\"[1, <class 'object'>]\""),
        ("print('nothing else')", "'nothing else\\n'"),
        ("import array\n[array.array('h'), 0.1 + 0.2, bytearray(b'x')]", "[array('h'), 0.30000000000000004, bytearray(b'x')]"),
    ],
)
def test_a_value_may_go_into_a_host_variable(notebook, body, value):
    outcome = notebook.run(f"%%ucore --out taken\n{body}")
    assert outcome.result is None
    assert notebook.run("taken").result == value


def test_a_value_that_is_too_large_is_cut_visibly_and_captured_by_no_variable(notebook):
    assert notebook.run("%%ucore\n'x' * 150_000").result.endswith("[cut off: too large to be sent whole]")
    notebook.run("caught = 'as it was'")
    outcome = notebook.run("%%ucore --out caught\n['x' * 100_000] * 50")
    assert outcome.error == "ValueError"
    assert "too large" in outcome.traceback
    assert notebook.run("caught").result == "'as it was'"


def test_a_question_mark_after_the_magic_lists_its_options(notebook):
    (page,) = notebook.run("%%ucore?").reply["payload"]
    assert "--timeout SECONDS" in page["data"]["text/plain"]


def _plain(text: str) -> str:
    """Return the text without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


UNPRINTABLE = """%%ucore
class Unprintable(Exception):
    def __str__(self):
        raise TypeError("no text")
raise Unprintable()
"""


def test_an_exception_without_a_text_ends_its_cell(notebook):
    outcome = notebook.run(UNPRINTABLE)
    assert outcome.error == "Unprintable"
    assert "TypeError" in outcome.reply["evalue"]
    assert "line 5" in outcome.traceback
    assert notebook.run("%%ucore\n1").result == "1"


def test_an_enormous_exception_is_cut_in_the_middle(notebook):
    outcome = notebook.run("%%ucore\nraise ValueError('a' + 'x' * 100000 + 'b')")
    assert outcome.error == "ValueError"
    assert outcome.reply["evalue"].startswith("ax") and outcome.reply["evalue"].endswith("xb")
    assert "98002 characters cut out" in outcome.reply["evalue"]


def test_help_on_an_object_without_a_repr_does_not_end_the_agent(notebook):
    notebook.run("%%ucore\nclass Odd:\n    def __repr__(self):\n        raise TypeError('no repr')\nodd = Odd()")
    assert "Nothing is known of odd" in notebook.run("%%ucore\nodd?").text("stderr")
    assert notebook.run("%%ucore\nodd is None").result == "False"  # it was not lost in a restart


def test_a_cell_that_fills_the_memory_to_the_brim_ends_and_the_board_lives(own_notebook):
    own_notebook.run("%%ucore\nimport _thread")
    outcome = own_notebook.run("%%ucore\nprint('first')\nchain = None\nwhile True:\n    chain = (chain,)")
    assert outcome.error == "MemoryError"
    assert outcome.text() == "first\n"
    assert "memory is full" in outcome.reply["evalue"]
    assert own_notebook.run("%%ucore\n1").result == "1"
    assert own_notebook.run("%%ucore\nucore.is_pipe_open('none')").result == "False"


def test_out_keeps_the_repr_of_what_would_show_itself_richly(notebook):
    rich = "class Rich:\n    def _repr_html_(self):\n        return '<b>'\n    def __repr__(self):\n        return 'Rich()'\n"
    outcome = notebook.run(f"%%ucore --out kept\n{rich}Rich()")
    assert outcome.contents("display_data") == []
    assert notebook.run("kept").result == "'Rich()'"


def test_a_tab_may_follow_the_magic(notebook):
    outcome = notebook.run("# a comment\n\n%%ucore\t--out tabbed\n\n6 * 7")
    assert outcome.text("stderr") == ""
    assert notebook.run("tabbed").result == "42"


def test_an_interrupted_cell_tidies_up(notebook):
    request = notebook.send(
        "%%ucore\nimport time\nprint('begun')\ntry:\n    time.sleep(30)\nfinally:\n    time.sleep(0.4)\n    print('tidied up')"
    )
    notebook.wait_for_text(request, "begun")
    notebook.interrupt()
    (outcome,) = notebook.finish(request)
    assert outcome.error == "KeyboardInterrupt"
    assert outcome.text() == "tidied up\n"
