"""Files of the notebook's board by `%ucore`, and a `Board` in host cells, through real kernels."""

import pytest
from packageindex import PackageIndex
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
    assert "27  ä b.py" in said(bench, "%ucore ls :/lib")
    assert said(bench, '%ucore cat "/lib/ä b.py"') == "print('from a file')\nx = 5\n"
    assert said(bench, f'%ucore get "/lib/ä b.py" {tmp_path}/back.py') == f"{tmp_path}/back.py\n"
    assert (tmp_path / "back.py").read_bytes() == (tmp_path / "ä b.py").read_bytes()
    assert bench.notebook.run("%%ucore\nimport os\n'ä b.py' in os.listdir('/lib')").result == "True"


def test_folders_are_synced_and_removed(bench, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.py").write_text("1")
    assert "2 would be sent, 0 would be removed" in said(bench, f"%ucore sync {tmp_path} /work --dry-run")
    assert "+ lib/a.py" in said(bench, f"%ucore sync {tmp_path} /work")
    assert "0 sent, 0 removed, 1 as they should be" in said(bench, f"%ucore sync {tmp_path} /work")
    assert said(bench, "%ucore tree /work") == "/work\n└── lib/\n    └── a.py  1\n"
    said(bench, "%ucore mkdir /work/new/deep")
    said(bench, "%ucore cp /work/lib/a.py /work/new")
    said(bench, "%ucore mv /work/new/a.py /work/b.py")
    assert said(bench, "%ucore df").split()[:5] == ["path", "size", "used", "free", "/"]
    said(bench, "%ucore rm -r /work")
    assert "FileNotFoundError" in failed(bench, "%ucore ls /work")


def test_several_files_go_and_come_at_once(bench, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "back").mkdir()
    assert said(bench, f"%ucore put {tmp_path}/a.txt {tmp_path}/b.txt /many/") == "/many/a.txt\n/many/b.txt\n"
    assert said(bench, "%ucore cat /many/a.txt /many/b.txt") == "a.txtb.txt"
    said(bench, f"%ucore get /many/a.txt /many/b.txt {tmp_path}/back")
    assert (tmp_path / "back/b.txt").read_text() == "b.txt"
    said(bench, "%ucore rm -r /many")


def test_packages_are_installed_listed_frozen_into_the_notebook_and_removed(bench, tmp_path):
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver/__init__.py").write_text("version = 3\n")
    said(bench, "%ucore rm -r /lib")
    assert "no packages" in said(bench, "%ucore mip list")
    assert "writing /lib/driver/__init__.py" in said(bench, f"%ucore mip install {tmp_path}/driver")
    assert bench.notebook.run("%%ucore\nimport driver\ndriver.version").result == "3"
    assert said(bench, "%ucore mip list").split()[5:8] == ["driver", "ok", "1"]
    assert "driver --sha256=" in bench.notebook.run("pins = %ucore mip freeze\nprint(pins)").text()
    assert said(bench, "%ucore mip remove driver") == "Removed driver, 1 file.\n"
    bench.notebook.run("import pathlib")
    said(bench, f"pathlib.Path('{tmp_path}/pins.txt').write_text(pins);")
    said(bench, f"%ucore mip install -r {tmp_path}/pins.txt")
    assert "driver" in said(bench, "%ucore mip list")
    said(bench, "%ucore mip remove driver")


def test_packages_of_an_index_are_installed(bench):
    with PackageIndex() as index:
        index.add("pkfar", "1.2", {"pkfar.py": b"x = 1"}, form="py")
        assert "pkfar    1.2      ok     1" in said(bench, f"%ucore mip install --index {index.url} --no-mpy pkfar")
        error, text = failed(bench, f"%ucore mip install --index {index.url} pkfra")
    assert error == "PackageError" and "It has pkfar." in text
    said(bench, "%ucore mip remove pkfar")


def test_who_waits_for_another_notebooks_cell_is_told(bench):
    busy = bench.neighbour.send("%%ucore\nprint('busy')\nwhile True: pass")
    bench.neighbour.wait_for_text(busy, "busy")
    request = bench.notebook.send("%ucore ls /")
    bench.notebook.wait_for_text(request, "Waiting for the board: a notebook")
    bench.neighbour.interrupt()
    bench.neighbour.finish(busy)
    assert bench.notebook.finish(request)[0].error is None


@pytest.mark.parametrize(
    "line, error, words",
    [
        ("%ucore cat /none", "FileNotFoundError", "on the board"),
        ("%ucore put /no/such/file", "FileNotFoundError", "/no/such/file"),
        ("%ucore rm", "UsageError", "[-r] PATH"),
        ("%ucore ls a b c", "UsageError", "unrecognized arguments"),
        ('%ucore cat "open quote', "UsageError", "No closing quotation"),
        ("%ucore sync /no/such/folder", "FileNotFoundError", "/no/such/folder"),
        ("%ucore cat /../x", "UsageError", "leads out of the board's file system."),
        ("%ucore rm ''", "FileNotFoundError", "an empty path"),
        ("%ucore get /boot.py nowhere/", "NotADirectoryError", "nowhere/"),
        ("%ucore mip", "UsageError", "install NAME"),
        ("%ucore mip install", "UsageError", "what is to be installed"),
        ("%ucore mip update", "UsageError", "invalid choice: 'update'"),
        ("%ucore mip install ./no/such", "PackageError", "no/such"),
        ("%ucore mip install -r /no/list.txt", "FileNotFoundError", "/no/list.txt"),
        ("%ucore mip remove nothing", "PackageError", "no package nothing"),
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
