"""Files of the notebook's board by `%ucore`, and a `Board` in host cells, through real kernels."""

import pytest
from workbench import Workbench

pytestmark = pytest.mark.micropython


@pytest.fixture(scope="module")
def bench(tmp_path_factory, micropython):
    with Workbench("micropython", tmp_path_factory.mktemp("bench")) as bench:
        yield bench


def said(bench, code):
    outcome = bench.notebook.run(code)
    assert outcome.error is None, outcome.traceback
    return outcome.text()


def failed(bench, code):
    outcome = bench.notebook.run(code)
    assert outcome.reply["status"] == "error"
    return outcome.reply["ename"], outcome.traceback + outcome.text("stderr")


def test_a_file_goes_to_the_board_is_seen_there_and_comes_back(bench, tmp_path):
    (tmp_path / "ä b.py").write_text("print('from a file')\nx = 5\n")
    assert said(bench, f'%ucore put "{tmp_path}/ä b.py" /lib/') == "/lib/ä b.py\n"
    assert "27  ä b.py" in said(bench, "%ucore ls /lib")
    assert said(bench, '%ucore cat "/lib/ä b.py"') == "print('from a file')\nx = 5\n"
    assert said(bench, f'%ucore get "/lib/ä b.py" {tmp_path}/back.py') == f"{tmp_path}/back.py\n"
    assert (tmp_path / "back.py").read_bytes() == (tmp_path / "ä b.py").read_bytes()
    assert bench.notebook.run("%%ucore\nimport os\n'ä b.py' in os.listdir('/lib')").result == "True"


def test_folders_are_synced_and_removed(bench, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.py").write_text("1")
    assert "2 sent, 0 removed" in said(bench, f"%ucore sync {tmp_path} /work --dry-run")
    assert "+ lib/a.py" in said(bench, f"%ucore sync {tmp_path} /work")
    assert "0 sent, 0 removed, 1 as they were" in said(bench, f"%ucore sync {tmp_path} /work")
    assert said(bench, "%ucore tree /work") == "lib/\n    a.py  1\n"
    said(bench, "%ucore mkdir /work/new/deep")
    said(bench, "%ucore cp /work/lib/a.py /work/new")
    said(bench, "%ucore mv /work/new/a.py /work/b.py")
    assert "bytes free" in said(bench, "%ucore df")
    said(bench, "%ucore rm -r /work")
    assert "FileNotFoundError" in failed(bench, "%ucore ls /work")


@pytest.mark.parametrize(
    "line, error, words",
    [
        ("%ucore cat /none", "FileNotFoundError", "on the board"),
        ("%ucore put /no/such/file", "FileNotFoundError", "/no/such/file"),
        ("%ucore rm", "UsageError", "[-r] PATH"),
        ("%ucore ls a b c", "UsageError", "unrecognized arguments"),
        ('%ucore cat "open quote', "UsageError", "No closing quotation"),
        ("%ucore sync /no/such/folder", "FileNotFoundError", "/no/such/folder"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(bench, line, error, words):
    found, text = failed(bench, line)
    assert found == error
    assert words in text


def test_a_host_cell_uses_the_board_of_its_notebook(bench):
    bench.notebook.run("%%ucore\nshared = 41")
    bench.notebook.run("from ukernel.boards import connect\nboard = connect()")
    assert bench.notebook.run("board.eval('shared') + 1").result == "42"
    outcome = bench.notebook.run("board.run('print(shared)\\nshared')")
    assert (outcome.text(), outcome.result) == ("41\n", "41")
    define = "@board.function\ndef triple(x):\n    return 3 * x\ntriple(shared_here)"
    bench.notebook.run("shared_here = 5")
    assert bench.notebook.run(define).result == "15"


def test_an_error_of_a_function_names_the_line_of_its_cell(bench):
    bench.notebook.run("from ukernel.boards import connect\nboard = connect()")
    outcome = bench.notebook.run("@board.function\ndef fails(x):\n    return x / 0\nfails(1)")
    assert outcome.error == "BoardCodeError"
    assert "ZeroDivisionError: divide by zero" in outcome.traceback
    assert "return x / 0" in outcome.traceback


def test_an_interrupt_of_the_host_cell_stops_the_board(bench):
    bench.notebook.run("from ukernel.boards import connect\nboard = connect()")
    request = bench.notebook.send("print('started')\nboard.run('while True: pass')")
    bench.notebook.wait_for_text(request, "started")
    bench.notebook.interrupt()
    assert bench.notebook.finish(request)[0].error == "KeyboardInterrupt"
    assert bench.notebook.run("board.eval('1 + 1')").result == "2"


def test_a_reset_by_the_notebook_does_not_mind_its_own_host_cells(bench):
    bench.notebook.run("from ukernel.boards import connect\nboard = connect()\nboard.eval('1')")
    error, text = failed(bench, "%ucore reset")  # there is another notebook
    assert error == "BoardBusyError"
    assert "used by a notebook" in text and "program" not in text and "host cell" not in text
    assert "has restarted" in said(bench, "%ucore reset --force")
    assert bench.notebook.run("board.eval('2')").result == "2"
