"""The picture that a notebook keeps: drawn with matplotlib and without, and what nbclient and nbconvert make of it."""

import base64
import io
import re
import sys
import time
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from fakelistener import FakeListener, constant, sine
from PIL import Image
from stilltrace import StillTrace

from ukernel import imports
from ukernel.charts.canvas import encode
from ukernel.charts.picture import COLOURS, Painter, mime_bundle
from ukernel.charts.png import Png, encode_png
from ukernel.charts.scene import ChartOptions, Scene
from ukernel.charts.trace import Note

SET_UP = "from ukernel.pipes import live_plot, stop_live"
VIEW = "application/vnd.jupyter.widget-view+json"


def scene_of(values, size=200, **options):
    trace = StillTrace("adc", size)
    trace.window.add(np.asarray(values, float), 0.0)
    scene = Scene([trace], ChartOptions("adc", size, **options), 1000)
    scene.update()
    return scene


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def line_of(image):
    """Where the first line is."""
    return (abs(image - tuple(bytes.fromhex(COLOURS[0][1:]))).sum(axis=2)) < 40


@pytest.fixture(params=["matplotlib", "alone"])
def painters(request, monkeypatch):
    """Paints with matplotlib, and where there is none."""
    if request.param == "alone":
        for module in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    return request.param


def test_the_line_is_where_the_values_are(painters):
    image = pixels(Painter(scene_of([0.25] * 200, ylim=(0.0, 1.0))).paint())
    line = line_of(image)
    rows = np.flatnonzero(line.sum(axis=1) > image.shape[1] / 2)
    top, bottom = {"matplotlib": (0.10, 0.85), "alone": (36 / 350, 306 / 350)}[painters]
    assert abs(rows.mean() / len(image) - (top + 0.75 * (bottom - top))) < 0.01


def test_a_spike_among_a_hundred_thousand_samples_is_in_the_picture(painters):
    values = np.zeros(100_000)
    values[54_321] = 1
    line = line_of(pixels(Painter(scene_of(values, size=100_000)).paint()))
    heights = [np.ptp(np.flatnonzero(column)) if column.any() else 0 for column in line.T]
    assert max(heights) > len(line) / 4
    assert abs(np.argmax(heights) / len(heights) - 0.54) < 0.06


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [np.nan] * 50, [1e299, -1e299], [np.inf, 0, 1], [1e9, 1e9 + 1e-7]],
    ids=lambda values: str(values)[:30],
)
def test_whatever_the_values_there_is_a_picture(painters, values):
    assert pixels(Painter(scene_of(values, ylim=None)).paint()).shape[2] == 3


def test_a_title_with_dollar_signs_is_a_title():
    trace = StillTrace("$\\foo$", 10)
    scene = Scene([trace], ChartOptions("cost: $\\foo$", 10, units="$\\bar$", labels=("$\\lab$",)), 1000)
    trace.window.add(np.arange(10.0), 0.0)
    scene.update()
    painter = Painter(scene)
    painter.paint()
    assert painter._canvas is not None


def test_what_matplotlib_cannot_draw_is_drawn_without_it():
    painter = Painter(scene_of([0.5] * 200))
    painter._canvas.draw = lambda: 1 / 0
    assert line_of(pixels(painter.paint())).sum() > 100


def test_several_lines_have_several_colours(painters):
    trace = StillTrace("imu", 100)
    trace.window.add(np.array([[0.5, -0.5]] * 100), 0.0)
    scene = Scene([trace], ChartOptions("imu", 100, (-1.0, 1.0)), 1000)
    scene.update()
    image = pixels(Painter(scene).paint())
    assert line_of(image).sum() > 500
    assert (abs(image - tuple(bytes.fromhex(COLOURS[1][1:]))).sum(axis=2) < 40).sum() > 500


def test_what_is_missing_is_shaded_and_no_line_runs_through_it(painters):
    trace = StillTrace("adc", 1000)
    trace.window.add(np.zeros(10), np.arange(10.0))
    trace.window.add(np.ones(10), np.arange(20.0, 30.0), [(0, 1000, "no room")])
    scene = Scene([trace], ChartOptions("adc", 1000, (-1.0, 2.0), x="seconds"), 1000)
    scene.update()
    image = pixels(Painter(scene).paint())
    found = line_of(image)
    columns = np.flatnonzero(found.any(axis=0))
    first, last = columns[0], columns[-1]
    middle = slice(first + (last - first) * 10 // 29, first + (last - first) * 19 // 29)
    assert not found[:, middle].any() and found[:, : first + 20].any() and found[:, last - 20 :].any()
    shade = np.median(image[len(image) // 3 : len(image) // 2, middle].reshape(-1, 3), axis=0)
    assert shade[0] > shade[2] + 15  # not grey


@pytest.fixture
def alone(monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_without_matplotlib_the_picture_has_letters_all_the_same(alone):
    trace = StillTrace("imu", 100)
    trace.window.add(np.array([[0.5, -0.5]] * 100), 0.0)
    trace.notes = lambda: [Note("12 frames are missing", "warning")]
    scene = Scene([trace], ChartOptions("Motion < 3 \x00", 100, (-0.4, 1.0), ("x & y",), units="g"), 1000)
    scene.update()
    data = mime_bundle(scene, Painter(scene))
    texts = [text.text for text in ElementTree.fromstring(data["image/svg+xml"]).iter("{http://www.w3.org/2000/svg}text")]
    for text in (
        "Motion < 3 \N{REPLACEMENT CHARACTER}",
        "x & y",
        "imu[1]",
        "g",
        "samples",
        "0.5",
        "80",
        "12 frames are missing",
    ):
        assert text in texts
    assert any(text.startswith("▼ values down to −0.5") for text in texts)
    assert base64.b64encode(data["image/svg+xml"].encode()).decode() in data["text/html"]
    # Said once: in the picture, and in the words for those who do not see it.
    assert re.sub('src="[^"]*"', "", data["text/html"]).count("12 frames are missing") == 1


def ink_of(image, top, bottom, left=0.0, right=1.0):
    """How much of a part of the picture, in pixels of the page, is dark: letters."""
    scale = image.shape[1] / 700
    part = image[int(top * scale) : int(bottom * scale), int(left * scale) : int(right * scale) or None]
    return (part.sum(axis=2) < 400).mean()


def test_without_matplotlib_the_png_has_title_names_units_numbers_and_notes_too(alone):
    trace = StillTrace("imu", 100)
    trace.window.add(np.array([[0.5, -0.5]] * 100), 0.0)
    options = ChartOptions("Motion", 100, (-1.0, 1.0), ("x & y",), units="g")
    scene = Scene([trace], options, 1000)
    scene.update()
    bare = pixels(Painter(scene).paint())
    assert bare.shape == (700, 1400, 3)
    for name, *place in (
        ("title", 8, 26, 76, 200),
        ("names", 34, 50, 98, 250),
        ("units", 36, 54, 50, 70),
        ("numbers of the values", 60, 300, 0, 70),
        ("numbers of the samples", 312, 326, 76, 700),
        ("what the axis is", 330, 345, 76, 200),
    ):
        assert ink_of(bare, *place) > 0.005, name
    trace.notes = lambda: [Note("12 frames are missing", "warning")]
    noted = pixels(Painter(scene).paint())
    assert ink_of(noted, 334, 350, 76, 400) > 0.02 and not ink_of(bare, 346, 350)


def test_the_pictures_are_as_high_as_the_chart_and_higher_where_names_and_notes_need_it(alone):
    def sizes(channels, **options):
        trace = StillTrace("imu", 100)
        trace.window.add(np.zeros((100, channels)), 0.0)
        scene = Scene([trace], ChartOptions("imu", 100, **options), 1000)
        scene.update()
        painter = Painter(scene)
        return pixels(painter.paint()).shape[0] / 2, int(ElementTree.fromstring(painter.paint_vectors()).get("height"))

    assert sizes(1, height=640) == (700, 700)
    assert sizes(1, height=160) == (175, 175)
    high, same = sizes(64, height=160)
    assert high == same > 300


def test_a_small_png_is_the_same_at_half_the_size(alone):
    scene = scene_of(np.sin(np.arange(200) / 20))
    small, large = (pixels(Painter(scene, scale).paint()) for scale in (1, 2))
    assert small.shape == (350, 700, 3)
    assert abs(small - large.reshape(350, 2, 700, 2, 3).mean(axis=(1, 3))).max() <= 1


@pytest.mark.parametrize("text", ["温度 \x00 \n\t", "x" * 500, "word " * 200, "", "🙂"], ids=lambda text: repr(text)[:12])
def test_whatever_is_to_be_written_there_are_pictures(alone, text):
    trace = StillTrace("imu", 100)
    trace.window.add(np.array([[5.0, -5.0]] * 100), 0.0)
    trace.notes = lambda: [Note(text, "warning")]
    scene = Scene([trace], ChartOptions(text, 100, (-1.0, 1.0), (text, text), units=text), 1000)
    scene.update()
    painter = Painter(scene)
    assert pixels(painter.paint()).shape[1] == 1400
    ElementTree.fromstring(painter.paint_vectors())


def test_a_lone_sample_is_a_dot(alone):
    assert 4 <= line_of(pixels(Painter(scene_of([np.nan] * 50 + [0.5] + [np.nan] * 50)).paint())).sum() <= 40


@pytest.mark.parametrize("values", [[], [1.0], [np.nan] * 50, [1e299, -1e299], [np.inf, 0, 1], [1e9, 1e9 + 1e-7]], ids=str)
@pytest.mark.parametrize("x", ["samples", "seconds", "time"])
def test_whatever_the_values_there_are_vectors(alone, values, x):
    svg = Painter(scene_of(values, ylim=None, x=x)).paint_vectors()
    ElementTree.fromstring(svg)
    assert "nan" not in svg and "inf" not in svg


def test_a_line_of_vectors_is_where_its_values_are(alone):
    svg = Painter(scene_of([0.0, 1.0, np.nan, 0.5], size=4, ylim=(0.0, 1.0))).paint_vectors()
    (path,) = [
        one.get("d") for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path") if one.get("clip-path")
    ]
    assert re.fullmatch(r"M76\.0 306\.0h0L280\.0 36\.0M688\.0 171\.0h0", path)


def test_a_painter_that_began_without_matplotlib_is_outdone_once_there_is_one(monkeypatch):
    monkeypatch.setattr(imports, "load_matplotlib", lambda: False)
    plain = Painter(scene_of([0.5] * 20))
    assert plain.paint_vectors() and not plain.is_outdone()
    monkeypatch.undo()
    assert plain.is_outdone()
    better = Painter(scene_of([0.5] * 20))
    assert not better.is_outdone() and not better.paint_vectors()


def test_a_chart_that_stops_before_matplotlib_is_there_is_painted_again_between_two_cells(page, listener):
    listener.script = constant(1, 2, end="closed")
    page.run("import sys\nfrom ukernel import imports\nwas = 'matplotlib' in sys.modules")
    assert page.value("was") == "False"
    page.run("plot = live_plot('adc')\nplot.wait(30)")
    data = page.update(lambda data: "image/png" in data and "image/svg+xml" not in data)
    assert "ucoreChart.mount(" in data["text/html"]
    assert page.value("imports.is_matplotlib_loaded(), plot.canvas._scene.traces") == "(True, [])"


def test_a_png_is_one():
    image = np.random.default_rng(1).integers(0, 255, (20, 30, 4), np.uint8)
    for channels in (3, 4):
        with Image.open(io.BytesIO(encode_png(image[..., :channels]))) as read:
            assert np.array_equal(np.asarray(read), image[..., :channels])
    assert repr(Png(b"1234")) == "<PNG picture, 4 bytes>"


def test_html_carries_whatever_it_is_titled():
    title = '</script><script>alert("!")</script>'
    trace = StillTrace("adc", 10)
    trace.window.add(np.arange(10.0), 0.0)
    scene = Scene([trace], ChartOptions(title, 10), 1000)
    scene.update()
    html = mime_bundle(scene, Painter(scene), encode(scene))["text/html"]
    assert html.count("</script") == 1 and "alert(&quot;" in html


# What is saved


def validate(notebook):
    import nbformat  # takes seconds, and every worker imports every file of tests

    nbformat.validate(notebook)


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs a notebook of these cells under nbclient."""
    import nbclient
    import nbformat

    monkeypatch.setenv("UCORE_STATE_PATH", str(tmp_path / "state.json"))
    fake = FakeListener(tmp_path / "state.json")

    def execute(*cells, script=None):
        fake.script = script or constant(*[0.5] * 200, end="closed")
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
        return notebook

    yield execute
    fake.close()


PLOT = "from ukernel.pipes import live_plot, stop_live\nimport time\nchart = live_plot('adc', title='Pin 4')"


@pytest.mark.parametrize(
    "later",
    [["chart.wait(30)"], ["await chart.wait(30)"], ["time.sleep(1)", "pass"]],
    ids=str,
)
def test_a_notebook_that_nbclient_runs_keeps_the_last_picture(execute, later):
    notebook = execute(PLOT, *later)
    data = notebook.cells[0].outputs[0].data
    assert set(data) == {"image/png", "text/html", "text/plain"}
    assert line_of(pixels(base64.b64decode(data["image/png"]))).sum() > 500
    assert "Producer closed the pipe" in data["text/html"]
    validate(notebook)


def test_a_chart_that_is_stopped_in_a_later_cell_keeps_its_picture_too(execute):
    notebook = execute(PLOT, "time.sleep(0.2)", "stop_live()", script=sine)
    assert "image/png" in notebook.cells[0].outputs[0].data


def half_then_lower(feed):
    """200 values of 0.5 and, when the notebook is somewhere in its second cell, 200 of -0.5; never ends."""
    feed.opened()
    feed.floats(*[0.5] * 200)
    time.sleep(0.5)
    feed.floats(*[-0.5] * 200)


def test_a_chart_that_nobody_stops_is_saved_as_it_was_at_the_end_of_the_last_cell(execute):
    notebook = execute(PLOT, "while chart.data[-1] > 0: time.sleep(0.01)", script=half_then_lower)
    (output,) = notebook.cells[0].outputs
    assert set(output.data) == {"image/png", "text/html", "text/plain"}
    line = line_of(pixels(base64.b64decode(output.data["image/png"])))
    rows = np.flatnonzero(line.sum(axis=1) > line.shape[1] / 2)
    assert rows.size and rows.min() > len(line) / 2  # nothing of the first values
    assert "from while the chart moved" in output.data["text/html"]
    assert "widgets" not in notebook.metadata  # else nbconvert would show an empty widget
    validate(notebook)


def test_a_chart_in_the_last_cell_has_samples_to_show(execute):
    notebook = execute(PLOT, script=lambda feed: constant(*[0.5] * 200)(feed))
    data = notebook.cells[0].outputs[0].data
    assert line_of(pixels(base64.b64decode(data["image/png"]))).sum() > 500


def test_several_charts_that_nobody_stops_are_all_saved(execute):
    notebook = execute(
        f"{PLOT}\nother = live_plot('other')",
        "live_plot('adc'); pass",  # in place of the first one
        "1 + 1",
        script=lambda feed: constant(*[0.5] * 200)(feed),
    )
    (replaced, kept), (new,) = notebook.cells[0].outputs, notebook.cells[1].outputs
    assert replaced.data == {} and "image/png" in kept.data and "image/png" in new.data
    assert notebook.cells[2].outputs[0].data["text/plain"] == "2"


def test_a_chart_under_the_widget_magic_that_nobody_stops_is_saved_too(execute):
    notebook = execute(f"%matplotlib widget\n{PLOT}", "while chart.data[-1] > 0: time.sleep(0.01)", script=half_then_lower)
    image = pixels(base64.b64decode(notebook.cells[0].outputs[0].data["image/png"]))
    blue = abs(image - (0x1F, 0x77, 0xB4)).sum(axis=2) < 60
    rows = np.flatnonzero(blue.sum(axis=1) > image.shape[1] / 2)
    assert rows.size and rows.min() > len(image) / 2


@pytest.mark.parametrize("format", ["html", "markdown", "notebook"])
def test_nbconvert_shows_the_picture(execute, format):
    import nbconvert

    notebook = execute(PLOT, "chart.wait(30)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbconvert's own
        body, resources = nbconvert.get_exporter(format)().from_notebook_node(notebook)
    if format == "markdown":
        assert "<img" in body or resources["outputs"]
    else:
        assert notebook.cells[0].outputs[0].data["image/png"][:1000] in body.replace("\\n", "")
        assert "ucoreChart.mount(" in body
