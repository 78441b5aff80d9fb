"""The canvas in a real JupyterLab in a real Chromium."""

import contextlib
import itertools
import math
import re
import struct
import time

import nbconvert
import nbformat
import pytest
from canvaspage import WIDTH, seen_at, sine, values, wait_for_samples

from ukernel.virtual import firmware

# The picture


def test_the_picture_moves(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    images = set()
    for _ in range(10):
        images.add(notebook.get("ucore.image()"))
        seen = notebook.state()["traces"][0]["seen"]
        notebook.wait(f"ucore.state().traces[0].seen >= {seen + 10}")
    assert len(images) == 10


def test_the_values_in_the_page_are_those_of_the_board(notebook, listener):
    sent = [math.sin(i / 7) * (i % 13) for i in range(500)]
    listener.script = values(*sent)
    notebook.run(1, "chart = live_plot('adc', ylim=None)")
    wait_for_samples(notebook, 500)
    expected = [struct.unpack("<f", struct.pack("<f", value))[0] for value in sent[-WIDTH:]]
    assert notebook.get("ucore.values()") == [[i, value, value] for i, value in enumerate(expected)]


def test_the_pixels_are_where_the_values_belong(notebook, listener):
    listener.script = values(*(math.sin(i * math.pi / 100) for i in range(WIDTH)))
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    columns = seen_at(notebook)
    assert len(columns) > 300
    for x, low, high in columns:
        assert low - 0.03 <= math.sin(x * (WIDTH - 1) * math.pi / 100) <= high + 0.03


def test_a_spike_one_sample_wide_among_a_million_is_on_the_screen(notebook, listener):
    numbers = [0.0] * 1_000_000
    numbers[654_321] = 1.0
    listener.script = values(*numbers)
    notebook.run(1, "chart = live_plot('adc', window=1_000_000)")
    wait_for_samples(notebook, 1_000_000)
    spikes = [(x, high) for x, _low, high in seen_at(notebook) if high > 0.5]
    assert spikes and all(abs(x - 0.654321) < 0.01 for x, _ in spikes)
    assert max(high for _, high in spikes) == pytest.approx(1, abs=0.03)


def test_what_is_not_finite_is_a_gap(notebook, listener):
    numbers = [0.5] * WIDTH
    numbers[60:80] = [math.nan] * 20
    numbers[120:140] = [math.inf] * 20
    listener.script = values(*numbers)
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    positions = [x * (WIDTH - 1) for x, *_ in seen_at(notebook)]
    assert not [x for x in positions if 61 < x < 79 or 121 < x < 139]
    assert [x for x in positions if 81 < x < 119]


def test_a_cell_that_ends_in_a_chart_shows_the_chart_and_nothing_else(notebook, listener):
    listener.script = sine
    notebook.run(1, "live_plot('adc', title='Pin 4')")
    wait_for_samples(notebook, 1)
    _, static_output = notebook.outputs(1)  # of the chart, and of its picture; the handle adds nothing
    assert notebook.get("ucore.views().length") == 1
    assert re.fullmatch('<div data-ucore-static-output="[0-9a-f]+"></div>', static_output["data"]["text/html"])
    assert notebook.page.locator(".jp-Notebook-cell .jp-OutputArea-child:visible").count() == 1


def test_several_channels_have_a_legend_and_can_be_hidden(notebook, listener):
    def script(feed):
        feed.opened()
        for i in itertools.count():
            feed.batch(*(struct.pack("<fff", 1, 0, -1 + 0.1 * math.sin(j)) for j in range(i * 10, i * 10 + 10)))
            time.sleep(0.01)

    listener.script = script
    notebook.run(1, "chart = live_plot('imu', decoder='<fff', labels=['x', 'y', 'z'], units='g', title='Accelerometer')")
    wait_for_samples(notebook, WIDTH)
    legend = notebook.page.locator(".ucore-legend button")
    assert [text.split()[0] for text in legend.all_inner_texts()] == ["x", "y", "z"]
    assert notebook.page.locator(".ucore-legend .ucore-value").first.inner_text() == "1.00 g"
    assert [round(seen_at(notebook, 0, line)[200][1]) for line in (0, 1, 2)] == [1, 0, -1]
    notebook.shoot("channels")
    legend.nth(1).click()
    notebook.wait("ucore.seen(0, 1).every((column) => column === null)")
    assert legend.nth(1).get_attribute("aria-pressed") == "false"


# While the kernel is busy, and when the page comes again


def test_it_moves_while_another_cell_blocks_the_kernel(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc', interval=16)")
    wait_for_samples(notebook, 1)
    notebook.start(2, "busy = True\nwhile busy: pass")
    notebook.wait("ucore.panel().sessionContext.session.kernel.status === 'busy'")
    before = notebook.state()
    notebook.wait(f"ucore.state().drawn >= {before['drawn'] + 100}")
    after = notebook.state()
    assert after["traces"][0]["seen"] > before["traces"][0]["seen"]
    assert notebook.get("window.ucoreDone[2]") is False
    notebook.get("ucore.panel().sessionContext.session.kernel.interrupt()")
    notebook.wait("window.ucoreDone[2]")
    notebook.wait(f"ucore.state().drawn > {after['drawn'] + 10}")


def test_running_the_cell_again_leaves_one_chart(notebook, listener):
    listener.script = sine
    for _ in range(3):
        notebook.run(1, "chart = live_plot('adc')")
        wait_for_samples(notebook, 1)
    notebook.wait("document.querySelectorAll('.ucore-chart').length === 1")
    notebook.run(2, "chart = live_plot('adc')")  # from another cell
    notebook.wait("document.querySelectorAll('.ucore-chart').length === 1")
    wait_for_samples(notebook, 1)
    drawn = notebook.state()["drawn"]
    notebook.wait(f"ucore.state().drawn > {drawn}")


def test_the_page_survives_a_reload(open_notebook, listener):
    listener.script = sine
    notebook = open_notebook(
        "reload", "from ukernel.pipes import live_plot\nchart = live_plot('adc', ylim=(-2, 2))", "chart.data[-1]"
    )
    notebook.run(0)
    wait_for_samples(notebook, WIDTH)
    notebook.save()
    notebook.reload()
    wait_for_samples(notebook, WIDTH)
    state = notebook.state()
    assert state["y"] == [-2, 2] and state["state"] == "running"
    notebook.wait(f"ucore.state().drawn > {state['drawn'] + 5}")
    notebook.run(1)
    assert float(re.search(r"-?\d\.[\de-]+", notebook.text(1))[0]) <= 1


def test_a_chart_that_stops_after_a_reload_stays_and_can_be_zoomed(open_notebook, listener):
    listener.script = values(*(math.sin(i / 500) for i in range(20_000)))
    cell = "from ukernel.pipes import live_plot\nchart = live_plot('adc', window=20_000)"
    notebook = open_notebook("stop-after-reload", cell, "chart.stop()")
    notebook.run(0)
    wait_for_samples(notebook, 20_000)
    notebook.save()
    notebook.reload()
    wait_for_samples(notebook, 20_000)
    notebook.run(1)
    notebook.wait("ucore.state()?.state === 'stopped' && ucore.state().traces[0].step === 1")
    assert "Stopped" in notebook.state()["text"]
    notebook.reload()
    notebook.wait("ucore.state()?.drawn > 0 && ucore.state().state === 'stopped' && ucore.state().traces[0].step === 1")


def test_a_pause_in_one_page_does_not_hold_up_another(open_notebook, browser, lab, listener):
    listener.script = sine
    notebook = open_notebook("two-pages", "from ukernel.pipes import live_plot\nchart = live_plot('adc')")
    notebook.run(0)
    wait_for_samples(notebook, WIDTH)
    notebook.save()
    other = type(notebook)(lab, browser.new_page(), notebook.name).open()
    try:
        wait_for_samples(other, WIDTH)
        notebook.page.get_by_role("button", name="Pause").click()
        notebook.wait("ucore.state().paused")
        drawn = other.state()["drawn"]
        other.wait(f"ucore.state().drawn > {drawn + 100}")
        assert notebook.state()["paused"] and not other.state()["paused"]
    finally:
        other.page.context.close()
    assert other.errors == []


def test_a_chart_that_has_left_the_page_is_not_held_there(notebook, listener):
    listener.script = sine
    keep = "(window.ucoreKept ??= []).push(new WeakRef(ucore.view().root)) && undefined"
    for _ in range(3):
        notebook.run(1, "chart = live_plot('adc')")
        wait_for_samples(notebook, 1)
        notebook.get(keep)
        notebook.run(2, "stop_live()")
        notebook.wait("ucore.state()?.drawn > 0 && ucore.state().state === 'stopped'")
        notebook.get(keep)
    session = notebook.page.context.new_cdp_session(notebook.page)
    for _ in range(20):
        session.send("HeapProfiler.collectGarbage")
        notebook.page.wait_for_timeout(100)
        held = notebook.get("ucoreKept.filter((kept) => kept.deref()).length")
        if held <= 1:  # the one that is there
            break
    session.detach()
    assert held <= 1


# The end


def test_stopping_is_shown_and_the_picture_stays_and_answers(notebook, listener):
    listener.script = values(*(i / WIDTH for i in range(WIDTH)))
    notebook.run(1, "chart = live_plot('adc', units='V')")
    wait_for_samples(notebook, WIDTH)
    notebook.run(2, "stop_live('adc')")
    notebook.wait("ucore.state()?.state === 'stopped' && ucore.outputs(1)[0].data['text/html'] !== undefined")
    notebook.wait("ucore.view().drawn > 0 && ucore.view().store.notes.length > 0")
    assert re.fullmatch(r"Stopped, 200 samples, \d+\.\d s, \d\d:\d\d:\d\d", notebook.page.locator(".ucore-notes").inner_text())
    assert notebook.get("document.querySelectorAll('.ucore-chart').length") == 1
    over = notebook.page.locator(".u-over")
    box = over.bounding_box()
    notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    notebook.wait("/sample \\d+\\s+0\\.\\d+ V/.test(ucore.state().text)")
    assert not notebook.page.get_by_role("button", name="Pause").is_visible()
    notebook.shoot("stopped")


def test_the_end_of_a_pipe_is_shown(notebook, listener):
    listener.script = values(*[0.25] * WIDTH, end="closed")
    notebook.run(1, "chart = live_plot('adc')\nchart.wait(30)")
    notebook.wait("ucore.view()?.drawn > 0")
    assert "Producer closed the pipe" in notebook.page.locator(".ucore-notes").inner_text()
    assert notebook.page.locator(".ucore-note").get_attribute("data-kind") == "info"
    assert len(seen_at(notebook)) > 300


def test_a_rig_goes_on_after_a_reset_with_a_gap_that_says_so(notebook, listener):
    def script(feed):
        feeds.append(feed)
        if len(feeds) == 1:
            feed.opened()
            feed.floats(*[0.25] * 100)
            feed.end("board restarted")

    feeds = []
    listener.script = script
    notebook.run(1, "chart = live_plot('adc', window=200)")
    wait_for_samples(notebook, 100)
    notebook.wait("ucore.state().text.includes('board restarted; waiting for the board to open pipe')")
    assert notebook.state()["state"] == "waiting"
    notebook.shoot("waits-after-a-reset")
    while len(feeds) < 2:
        time.sleep(0.05)
    feeds[1].opened()
    feeds[1].floats(*[0.75] * 100)
    wait_for_samples(notebook, 200)
    notebook.wait("ucore.state().notes.length === 0 && ucore.state().state === 'running'")
    (gap,) = notebook.get("ucore.view().store.traces[0].breaks")
    assert (gap["from"], gap["to"], gap["lost"], gap["why"]) == (99, 100, 0, "the board restarted")
    notebook.wait(
        "document.querySelector('.ucore-stats').textContent === 'min 0.25  max 0.75  mean 0.50'"
    )  # nothing more comes
    box = notebook.page.locator(".u-over").bounding_box()
    notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    notebook.wait("ucore.state().text.includes('the board restarted')")
    notebook.shoot("went-on-after-a-reset")


def test_what_is_lost_and_what_is_waited_for_is_shown(notebook, listener):
    def script(feed):
        if feed.request["pipe"] == "later":
            time.sleep(60)
        feed.opened()
        feed.floats(*[0.5] * 100)
        feed.frame(b"abc")
        feed.notice(lost=7, cause="board")
        feed.floats(*[0.5] * 100)

    listener.script = script
    notebook.run(1, "chart = live_plot(['adc', 'later'])")
    notebook.wait("ucore.state()?.notes.length === 3")
    notebook.wait("document.querySelectorAll('.ucore-note').length === 3")
    text = notebook.page.locator(".ucore-notes").inner_text()
    assert "adc: 7 frames are missing" in text
    assert "adc: not decoded: 1 frame: a frame of 3 bytes" in text
    assert "later: waiting for the board to open pipe 'later'" in text
    notebook.shoot("notes")


def test_where_there_is_no_kernel_any_more_the_picture_is_there(open_notebook, listener, lab):
    listener.script = values(*(math.sin(i / 20) for i in range(WIDTH)), end="closed")
    cell = "from ukernel.pipes import live_plot\nchart = live_plot('adc')\nchart.wait(30)"
    notebook = open_notebook("saved", cell)
    notebook.run(0)
    notebook.wait("ucore.view()?.drawn > 0 && ucore.state().state === 'stopped'")
    saved = notebook.save().cells[0].outputs[0].data
    assert {*saved} - {"image/svg+xml"} == {"image/png", "text/html", "text/plain"}  # by matplotlib, or in vectors, too
    notebook.shut_down()
    notebook.page.goto("about:blank")
    notebook.page.goto(f"{lab.url}doc/tree/saved.ipynb?token={lab.token}")
    notebook.wait("window.ucore && document.querySelector('.ucore-chart, [data-ucore-chart]')")
    assert "Error displaying widget" not in notebook.page.locator("body").inner_text()
    assert notebook.page.locator("[data-ucore-chart] canvas, [data-ucore-chart] img").first.is_visible()
    notebook.shoot("without-kernel")


def test_a_notebook_that_was_saved_while_its_chart_moved_has_a_picture(open_notebook, listener, lab):
    listener.script = sine
    often = "import ukernel.charts.staticoutput\nukernel.charts.staticoutput.INTERVALS_S = (0.5, 1.5)\nfrom ukernel.pipes import live_plot\n"
    notebook = open_notebook("moving", f"{often}chart = live_plot('adc', title='Pin 4')", "chart.stop()")
    notebook.run(0)
    wait_for_samples(notebook, WIDTH)
    notebook.get("ucore.view().root.dataset.mine = 'yes'")
    rows = notebook.page.locator(".jp-OutputArea-child:visible")
    images = set()
    while len(images) < 3:
        notebook.wait("ucore.outputs(0)[1].data['image/png'] !== undefined")
        images.add(str(notebook.outputs(0)[1]["data"]["image/png"]))
        assert rows.count() == 1
    saved = notebook.save()
    # The chart is the one that was there, and goes on.
    drawn = notebook.state()["drawn"]
    notebook.wait(f"ucore.state().drawn > {drawn + 5}")
    assert notebook.get("ucore.view().root.dataset.mine") == "yes"
    notebook.run(1)
    notebook.wait("ucore.state()?.state === 'stopped' && ucore.outputs(0)[0].data['image/png'] !== undefined")
    assert "image/png" not in notebook.outputs(0)[1]["data"] and rows.count() == 1

    # The notebook as it was saved, without a kernel that knows of it; and the same for a stranger.
    notebook.shut_down()
    notebook.page.goto("about:blank")
    notebook.page.goto(f"{lab.url}doc/tree/moving.ipynb?token={lab.token}")
    notebook.page.locator("[data-ucore-static-output] img").wait_for(state="visible")
    assert "from while the chart moved" in notebook.page.locator("[data-ucore-static-output] img").get_attribute("alt")
    notebook.shoot("saved-while-it-moved")
    stranger = open_notebook("stranger-moving", "pass", outputs=saved.cells[0].outputs)
    stranger.page.locator(".jp-OutputArea-output img").wait_for(state="visible")
    body, _ = nbconvert.HTMLExporter().from_notebook_node(saved)
    # By matplotlib, or in vectors where that was not there yet.
    assert re.search('src="(data:image/[^"]+)"', saved.cells[0].outputs[1].data["text/html"])[1] in body


def test_a_notebook_that_is_not_trusted_shows_the_picture(open_notebook, notebook, listener, lab):
    listener.script = values(*(math.sin(i / 20) for i in range(WIDTH)), end="closed")
    notebook.run(1, "chart = live_plot('adc')\nchart.wait(30)")
    notebook.wait("ucore.outputs(1)[0].data['text/html'] !== undefined")
    data = notebook.outputs(1)[0]["data"]
    other = open_notebook("stranger", "pass", outputs=[nbformat.v4.new_output("display_data", data)])
    image = other.page.locator("[data-ucore-chart] img, .jp-OutputArea-output img").first
    image.wait_for(state="visible")
    assert image.evaluate("(image) => image.naturalWidth") > 1000
    assert other.get("document.querySelectorAll('.ucore-chart').length") == 0


def test_a_page_that_nbconvert_has_made_shows_a_chart_that_answers(browser, notebook, listener):
    listener.script = values(*(math.sin(i / 20) for i in range(WIDTH)), end="closed")
    notebook.run(1, "chart = live_plot('adc')\nchart.wait(30)")
    notebook.wait("ucore.outputs(1)[0].data['text/html'] !== undefined")
    body, _ = nbconvert.HTMLExporter().from_notebook_node(notebook.save())
    page = browser.new_page()
    try:
        page.route("**/*", lambda route: route.abort())  # nothing is fetched
        page.set_content(body)
        page.wait_for_function("document.querySelector('[data-ucore-chart]')?.ucoreView?.drawn > 0")
        page.locator(".u-over").hover()
        page.wait_for_function("document.querySelector('.ucore-readout').textContent.startsWith('sample')")
    finally:
        page.context.close()


def test_a_chart_says_when_its_kernel_has_gone_and_the_next_kernel_shows_another(open_notebook, listener):
    listener.script = sine
    notebook = open_notebook("restart", "from ukernel.pipes import live_plot\nchart = live_plot('adc')")
    notebook.run(0)
    wait_for_samples(notebook, WIDTH)
    notebook.get("ucore.panel().sessionContext.session.kernel.restart()")
    # By the front end's own word, not by ten seconds of silence.
    notebook.wait('ucore.state().text.includes("the notebook\'s kernel has ended or restarted")')
    notebook.wait("ucore.ready()")
    notebook.shoot("kernel-gone")
    notebook.run(0)
    wait_for_samples(notebook, WIDTH)
    assert notebook.get("document.querySelectorAll('.ucore-chart').length") == 1


# What one can do with it


def test_a_pause_stands_still_and_going_on_goes_on(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    notebook.page.get_by_role("button", name="Pause").click()
    notebook.wait("ucore.state().paused")
    notebook.run(2, "time.sleep(0.3)")
    seen = notebook.state()["traces"][0]["seen"]
    notebook.run(2, "time.sleep(0.5)")
    assert notebook.state()["traces"][0]["seen"] == seen
    notebook.page.get_by_role("button", name="Resume").click()
    wait_for_samples(notebook, seen + 100)


def test_a_pause_works_while_the_kernel_is_busy(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    notebook.start(2, "time.sleep(2)")
    notebook.wait("ucore.panel().sessionContext.session.kernel.status === 'busy'")
    notebook.page.get_by_role("button", name="Pause").click()
    image = notebook.get("ucore.image()")
    number = notebook.state()["number"]
    notebook.wait(f"ucore.state().number > {number + 5}")  # they come, and are not shown
    assert notebook.get("ucore.image()") == image
    notebook.page.get_by_role("button", name="Resume").click()
    notebook.wait(f"ucore.image() !== {image!r}")
    notebook.wait("window.ucoreDone[2]")


def test_a_selection_zooms_and_brings_the_detail(notebook, listener):
    listener.script = values(*(math.sin(i / 500) for i in range(20_000)))
    notebook.run(1, "chart = live_plot('adc', window=20_000)")
    wait_for_samples(notebook, 20_000)
    assert notebook.state()["traces"][0]["step"] > 10
    box = notebook.page.locator(".u-over").bounding_box()
    notebook.page.mouse.move(box["x"] + 200, box["y"] + 100)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + 220, box["y"] + 102, steps=4)
    notebook.page.mouse.up()
    notebook.wait("ucore.state().zoom !== null && ucore.state().traces[0].step <= 2")
    low, high = notebook.state()["zoom"]["x"]
    assert high - low == pytest.approx(20 / box["width"] * 20_000, rel=0.1)
    for x, bottom, top in seen_at(notebook):
        assert bottom - 0.03 <= math.sin((low + x * (high - low)) / 500) <= top + 0.03
    notebook.page.get_by_role("button", name="Show all").click()
    notebook.wait("ucore.state().zoom === null && ucore.state().traces[0].step > 10")


def test_the_keyboard_pauses_zooms_and_reads(notebook, listener):
    listener.script = values(*(i / WIDTH for i in range(WIDTH)))
    notebook.run(1, "chart = live_plot('adc', units='V')")
    wait_for_samples(notebook, WIDTH)
    notebook.page.locator(".ucore-chart").focus()
    press = notebook.page.keyboard.press
    press("ArrowRight")
    notebook.wait("/sample \\d+: 0\\.\\d+ V/.test(document.querySelector('.ucore-chart > [aria-live]').textContent)")
    press("+")
    notebook.wait("ucore.state().zoom !== null")
    width = notebook.get("ucore.state().zoom.x[1] - ucore.state().zoom.x[0]")
    left = notebook.get("ucore.state().zoom.x[0]")
    press("Shift+ArrowRight")
    notebook.wait(f"ucore.state().zoom.x[0] > {left}")
    assert notebook.get("ucore.state().zoom.x[1] - ucore.state().zoom.x[0]") == pytest.approx(width)
    press("0")
    notebook.wait("ucore.state().zoom === null")
    press("Shift+ArrowRight")  # all of it is there already
    notebook.get("new Promise(requestAnimationFrame)")
    assert notebook.state()["zoom"] is None
    for _ in range(150):  # somebody leans on the key
        press("+")
    notebook.wait("ucore.state().zoom !== null")
    assert notebook.get("ucore.view().plot.scales.x.max - ucore.view().plot.scales.x.min") > 0
    press("0")
    notebook.wait("ucore.state().zoom === null")
    press(" ")
    notebook.wait("ucore.state().paused")
    press("p")
    notebook.wait("!ucore.state().paused")
    # JupyterLab, which has other uses for these keys, has not seen them.
    assert notebook.get("ucore.panel().content.widgets.length") == 4


def test_those_who_do_not_see_it_are_told(notebook, listener):
    listener.script = values(*(i / WIDTH for i in range(WIDTH)))
    notebook.run(1, "chart = live_plot('adc', units='V', title='Pin 4')")
    wait_for_samples(notebook, WIDTH)
    figure = notebook.page.get_by_role("figure", name="Live plot of Pin 4")
    assert figure.get_attribute("tabindex") == "0"
    words = figure.get_attribute("aria-describedby")
    notebook.wait(f"document.getElementById({words!r}).textContent.includes('from 0.00 to ')")
    assert notebook.page.locator(".ucore-notes").get_attribute("role") == "status"


def test_the_dark_theme_is_followed(notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    wait_for_samples(notebook, WIDTH)
    assert notebook.get("ucore.view().theme.dark") is False
    theme = "window.jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {}' }})"
    notebook.get(theme.format("Dark"))
    notebook.wait("ucore.view().theme.dark")
    notebook.wait("getComputedStyle(ucore.view().root).color.match(/\\d+/g).every((part) => part > 200)")
    assert len(seen_at(notebook)) > 300  # in the colours of the dark theme
    notebook.wait("document.getElementById('jupyterlab-splash') === null")
    notebook.shoot("dark")
    notebook.get(theme.format("Light"))
    notebook.wait("!ucore.view().theme.dark")


# Other pages


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_saved_chart_is_at_home_in_a_page_that_knows_nothing_of_jupyter(browser, notebook, listener, scheme):
    listener.script = values(*(math.sin(i / 20) for i in range(WIDTH)), end="closed")
    notebook.run(1, "chart = live_plot('adc')\nchart.wait(30)")
    notebook.wait("ucore.outputs(1)[0].data['text/html'] !== undefined")
    html = notebook.outputs(1)[0]["data"]["text/html"]
    page = browser.new_page(color_scheme=scheme)
    try:
        style = {"light": "", "dark": "background: #1e1e1e; --vscode-editor-foreground: #d4d4d4"}[scheme]
        page.route("**/*", lambda route: route.abort())  # nothing is fetched
        page.set_content(f"<body style='{style}'>{html}{html}</body>")  # twice, as in a second view of an output
        page.wait_for_function("document.querySelectorAll('.ucore-chart canvas').length === 2")
        page.wait_for_function("document.querySelector('[data-ucore-chart]').ucoreView.drawn > 0")
        assert page.evaluate("document.querySelector('[data-ucore-chart]').ucoreView.theme.dark") is (scheme == "dark")
    finally:
        page.context.close()


def test_where_scripts_may_not_run_the_saved_chart_is_its_picture(browser, notebook, listener):
    listener.script = values(*(math.sin(i / 20) for i in range(WIDTH)), end="closed")
    notebook.run(1, "chart = live_plot('adc')\nchart.wait(30)")
    notebook.wait("ucore.outputs(1)[0].data['text/html'] !== undefined")
    page = browser.new_page(java_script_enabled=False)
    try:
        page.set_content(notebook.outputs(1)[0]["data"]["text/html"])
        image = page.locator("img")
        assert image.is_visible() and image.bounding_box()["width"] == 700
        assert image.get_attribute("alt").startswith("Line chart of adc")
        assert "Producer closed the pipe" in image.get_attribute("alt")
    finally:
        page.context.close()


# The whole way, and in company


BOARD = """%%ucore
import struct, time, _thread
pipe = ucore.open_pipe("ramp")
def produce():
    i = 0
    while ucore.is_pipe_open("ramp"):
        pipe.write(struct.pack("<f", (i * 7 % 300) / 100 - 1.5))
        i += 1
        time.sleep_ms(5)
_thread.start_new_thread(produce, ())
"""


def test_a_board_is_seen_from_its_thread_to_the_screen_and_until_it_closes_its_pipe(open_notebook):
    cells = [
        BOARD,
        "from ukernel.pipes import live_plot\nchart = live_plot('ramp')",
        "%%ucore\nucore.close_pipe('ramp')",
        "chart",
    ]
    with contextlib.suppress(firmware.FirmwareError):  # then the board runs on CPython
        firmware.build()
    notebook = open_notebook("board", *cells, kernel="ucore-board")
    notebook.run(0)
    notebook.run(1)
    wait_for_samples(notebook, WIDTH)
    seen = notebook.get("ucore.values().map((row) => row[1])")
    steps = {round((after - before) * 100) % 300 for before, after in itertools.pairwise(seen)}
    assert len(seen) == WIDTH and steps == {7}  # as the board counts, and nothing left out
    notebook.shoot("board")
    notebook.run(2)
    notebook.wait("document.querySelector('.ucore-notes').innerText.startsWith('Producer closed the pipe, ')")
    notebook.run(3)
    assert "the producer closed the pipe" in notebook.text(3)


def test_ten_charts_move_at_once(open_notebook, listener):
    listener.script = sine
    cell = "from ukernel.pipes import live_plot, stop_live\ncharts = [live_plot(f'adc{i}') for i in range(10)]"
    notebook = open_notebook("ten", cell, "stop_live()")
    notebook.run(0)
    notebook.wait("ucore.views().length === 10 && ucore.views().every((view) => view.drawn > 0)")
    before = notebook.get("ucore.views().map((view) => view.drawn)")
    notebook.wait(f"ucore.views().every((view, i) => view.drawn > {before}[i] + 20)")
    notebook.run(1)
    notebook.wait("ucore.views().length === 10 && ucore.views().every((view) => view.store.state === 'stopped')")


def test_two_notebooks_have_charts_of_their_own_of_the_same_pipe(notebook, open_notebook, listener):
    listener.script = sine
    notebook.run(1, "chart = live_plot('adc')")
    other = open_notebook(
        "neighbour", "from ukernel.pipes import live_plot, stop_live\nchart = live_plot('adc')", "stop_live()"
    )
    other.run(0)
    wait_for_samples(other, WIDTH)
    other.run(1)
    other.wait("ucore.state()?.state === 'stopped'")
    drawn = notebook.state()["drawn"]
    notebook.wait(f"ucore.state().drawn > {drawn + 5} && ucore.state().state === 'running'")


def test_under_the_widget_magic_matplotlib_draws_and_moves(open_notebook, listener):
    listener.script = sine
    magic = "%matplotlib widget\nfrom ukernel.pipes import live_plot, stop_live"
    notebook = open_notebook(
        "matplotlib", magic, "live_plot('adc', title='Pin 4')", "import time\ntime.sleep(2)", "stop_live()"
    )
    notebook.run(0)
    notebook.run(1)
    canvas = "document.querySelector('.jupyter-matplotlib-canvas-div canvas')"
    notebook.wait(f"{canvas}?.width > 300")
    notebook.start(2)
    images = "window.images ??= new Set(), window.images.add({0}.toDataURL()), window.images.size"
    notebook.wait(f"({images.format(canvas)}) > 10")
    notebook.wait("window.ucoreDone[2]")
    notebook.run(3)
    notebook.wait("JSON.stringify(ucore.outputs(1)).includes('image/png')")
    notebook.wait(f"{canvas}?.width > 300")
    notebook.shoot("matplotlib")


def test_without_anywidget_the_picture_moves_all_the_same(notebook, listener):
    listener.script = sine
    notebook.run(2, "import ukernel.charts.canvas as canvas\nfind_spec, canvas.find_spec = canvas.find_spec, lambda name: None")
    notebook.run(1, "chart = live_plot('adc')")
    notebook.run(2, "canvas.find_spec = find_spec")
    image = "ucore.panel().node.querySelector('.jp-OutputArea-output img')?.src"
    for _ in range(3):
        before = notebook.get(image)
        notebook.wait(f"{image} && {image} !== {before!r}".replace("None", "undefined"))
    notebook.run(2, "stop_live()")
    wait_for_samples(notebook, WIDTH)  # a picture that can be zoomed


def test_a_page_that_speaks_late_gets_its_chart_after_all(notebook, listener):
    listener.script = sine
    notebook.run(2, "import ukernel.charts.frontendprobe as probe\nsilence, probe.SILENCE_S = probe.SILENCE_S, 0.0")
    notebook.start(1, "chart = live_plot('adc')\ntime.sleep(1)")  # what the page says waits behind the cell
    notebook.wait("window.ucoreDone[1]")
    wait_for_samples(notebook, WIDTH)
    notebook.run(2, "probe.SILENCE_S = silence")
    drawn = notebook.state()["drawn"]
    notebook.wait(f"ucore.state().drawn > {drawn + 10}")
