// One chart in the page: uPlot's axes and zoom; our lines; and around them title, newest value, buttons, legend and notes.

import uPlot from "uplot";
import { drawUnits, Follower, plotOptions, XAxis } from "./axes.js";
import { Crosshair } from "./crosshair.js";
import { Figures } from "./figures.js";
import { Frame, make } from "./frame.js";
import { Keys } from "./keys.js";
import { Legend, setText } from "./legend.js";
import { drawBands, drawTrace } from "./lines.js";
import { Measure } from "./measure.js";
import { Scale } from "./numbers.js";
import { readTheme, watchTheme } from "./theme.js";
import { Toolbar } from "./toolbar.js";

const LEAST_SPAN = 1e-12; // of an axis, in its values: where numbers are hardly apart uPlot looks for ticks for ever
const CLICK_PX = 4; // a mouse that moved further has dragged

// What `View` needs from whoever owns the store: told of the width in pixels that is worth sending, of a pause, and that what is
// shown is to be forgotten. All may be left out, for a chart that does not move any more. `staticOutput`: the picture of this chart that is
// in the notebook for those who open it without a kernel; it has an output of its own, and is hidden while the chart itself is there.
// `state`: what somebody has chosen in this chart, for the one that takes its place (an object, which is kept up to date).
export class View {
    constructor(element, store, { onColumns = () => {}, onPause = null, onClear = null, staticOutput = null, state = {} } = {}) {
        this.store = store;
        this.drawn = 0; // pictures
        this.state = state;
        this.zoom = state.zoom ?? null; // limits {x, y} that somebody has chosen; a missing one is the chart's own
        this.hidden = state.hidden ?? []; // lines, by trace and channel
        this.follower = state.follows ? new Follower() : null; // of the y axis, where the page and not the kernel sets its limits
        this.extent = [Infinity, -Infinity]; // lowest and highest value that was drawn
        this.figures = new Figures();
        this.lines = []; // { trace, channel, name, colour, hidden }
        Object.assign(this, { onColumns, onPause, onClear, measure: new Measure() });
        this.legend = new Legend(make);
        this.crosshair = new Crosshair(make);
        this.toolbar = new Toolbar(make, this);
        this.frame = new Frame(element, [this.toolbar.root, this.legend.root], staticOutput && `[data-ucore-static-output="${staticOutput}"]`);
        this.root = this.frame.root;
        this.root.addEventListener("keydown", new Keys(this).press);
        this.theme = null; // colours; known once the chart is on the page
        this.plot = null; // made when it is known what it is to look like
        this.sizes = new ResizeObserver(() => this.#fit());
        this.sizes.observe(this.frame.parts.plot);
        this.#fit();
    }

    // Shows what the store has before the next picture of the screen, however often it is asked to.
    update() {
        this.request ??= requestAnimationFrame(() => {
            this.request = null;
            this.show();
        });
    }

    destroy() {
        cancelAnimationFrame(this.request);
        clearTimeout(this.columnsTimer);
        clearTimeout(this.figuresTimer);
        this.sizes.disconnect();
        this.unwatch?.();
        this.plot?.destroy();
        this.root.remove();
    }

    // The limits of an axis, as they are shown.
    limits(axis) {
        const [low, high] = this.zoom?.[axis] ?? (axis === "y" ? this.follower?.limits : null) ?? this.store[axis];
        const least = Math.max(...[low, high, ...this.store[axis]].map(Math.abs)) * LEAST_SPAN || 1;
        if (high - low >= least) return [low, high];
        const middle = (low + high) / 2;
        return [middle - least / 2, middle + least / 2];
    }

    // Shows what the store has, now.
    show() {
        const { store } = this;
        if (!store.options || !this.root.isConnected) return; // once it is on the page, its size changes, and that calls
        this.theme ??= readTheme(this.root);
        this.#name();
        const [x, y] = [this.limits("x"), this.limits("y")];
        this.scale = new Scale(...y, store.options.units);
        if (!this.plot) this.#makePlot();
        this.plot.batch(() => {
            this.plot.setScale("x", { min: x[0], max: x[1] });
            this.plot.setScale("y", { min: y[0], max: y[1] });
        });
        const rest = this.figures.update(store, performance.now());
        clearTimeout(this.figuresTimer);
        if (rest) this.figuresTimer = setTimeout(() => this.update(), rest); // where no other picture comes
        this.frame.say(this);
        this.readOut();
        this.toolbar.show();
        this.drawn += 1;
    }

    #makePlot() {
        const { store } = this;
        const { parts } = this.frame;
        parts.plot.style.height ||= `${this.state.height ?? store.options.height}px`;
        const { clientWidth, clientHeight } = parts.plot;
        this.xAxis = new XAxis(store.options.x);
        const size = { width: Math.max(clientWidth, 100), height: Math.max(clientHeight, 100) };
        this.plot = new uPlot(plotOptions(this, uPlot, size, {
            draw: [() => this.#draw()],
            setCursor: [() => this.readOut()],
            setSelect: [() => this.#zoomToSelection()],
        }), [[0, 1]], parts.plot);
        const { over } = this.plot;
        over.append(parts.above, parts.below, parts.measured);
        let pressed = null;
        over.addEventListener("mousedown", (event) => { pressed = event; });
        over.addEventListener("click", (event) => {
            const moved = pressed ? Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) : 0;
            if (moved < CLICK_PX) this.mark(event.offsetX, event.offsetY);
        });
        this.#askForColumns();
    }

    // Title, legend and colours, which change only when a line appears.
    #name() {
        const { options } = this.store;
        const key = JSON.stringify([options, this.theme.dark]);
        if (key === this.named) return;
        this.named = key;
        this.hidden = options.names.map((names, i) => names.map((_, channel) => this.hidden[i]?.[channel] ?? false));
        const colours = this.theme.lines;
        this.lines = options.names.flatMap((names, trace) => names.map((name, channel) => ({ trace, channel, name })))
            .map((line, i) => ({ ...line, colour: colours[i % colours.length], hidden: this.hidden[line.trace][line.channel] }));
        this.isOne = this.lines.length <= 1;
        this.legend.root.hidden = this.isOne;
        this.frame.name(options.title, this.isOne ? this.lines[0]?.colour ?? "" : null);
        this.legend.name(this.lines, (line) => this.#toggle(line));
    }

    #toggle(line) {
        line.hidden = this.hidden[line.trace][line.channel] = !line.hidden;
        this.state.hidden = this.hidden;
        this.update();
        return line.hidden;
    }

    #draw() {
        const { store, plot, theme } = this;
        if (!plot) return; // uPlot's first drawing, still in its constructor
        const { ctx, bbox: box } = plot;
        const scale = uPlot.pxRatio;
        drawUnits(plot, this.scale.units, theme.text, uPlot);
        ctx.save();
        ctx.beginPath();
        ctx.rect(box.left, box.top, box.width, box.height);
        ctx.clip();
        const { newest } = store;
        const axes = { box, x: this.limits("x"), y: this.limits("y"), scale };
        for (const trace of store.traces) drawBands(ctx, trace, newest, { ...axes, colour: theme.band });
        this.extent = [Infinity, -Infinity];
        store.traces.forEach((trace, i) => {
            const colours = this.lines.filter((line) => line.trace === i).map(({ colour }) => colour);
            const [low, high] = drawTrace(ctx, trace, newest, { ...axes, colours, hidden: this.hidden[i] });
            this.extent = [Math.min(this.extent[0], low), Math.max(this.extent[1], high)];
        });
        this.measure.draw(ctx, { store, plot, box, scale, colour: theme.text });
        ctx.restore();
        if (this.follower) {
            const before = this.follower.limits;
            if (this.follower.fit(...this.extent, performance.now()) !== before) this.update();
        }
        this.frame.pointOff(this, axes.y);
    }

    // The values below the crosshair, and without one the newest ones.
    readOut() {
        const { store, plot, lines, scale, xAxis, crosshair } = this;
        if (!plot) return;
        const limits = { x: this.limits("x"), y: this.limits("y") };
        const { left } = plot.cursor;
        crosshair.read({ store, plot, lines, xAxis, scale, limits: limits.x }, left >= 0 ? left : null);
        crosshair.show({ plot, lines, limits });
        setText(this.frame.parts.measured, this.measure.text({ store, plot, limits, scale }));
        if (this.isOne) return;
        const { readings } = crosshair;
        const values = lines.map(({ trace, channel }, i) => {
            if (readings.length) return readings[i].text;
            const { count, latest } = store.traces[trace];
            return count ? scale.text(latest[channel] ?? NaN) : "";
        });
        const stats = lines.map(({ trace, channel }) => this.figures.of(store, trace, channel));
        const rates = lines.map(({ trace }) => (store.state === "stopped" ? null : store.rates[trace] ?? null));
        this.legend.show(values, stats, rates, scale, readings.length ? crosshair.where : "newest");
    }

    // Sets a mark for a measurement; `top` null: on the first line.
    mark(left, top) {
        const { store, plot, lines, crosshair } = this;
        if (!store.traces.some((trace) => trace.count)) return;
        this.readOut();
        this.measure.set({ store, plot, lines, readings: crosshair.readings }, left, top);
        this.readOut();
        this.speak(this.frame.parts.measured.textContent);
        this.update();
    }

    #zoomToSelection() {
        const { plot } = this;
        const { left, top, width, height } = plot.select;
        if (width <= 0 || height <= 0) return;
        const { over } = plot;
        const zoom = { ...this.zoom };
        // A selection as wide as the axes is one of the other direction only.
        if (width < over.clientWidth - 1) zoom.x = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
        if (height < over.clientHeight - 1) zoom.y = [plot.posToVal(top + height, "y"), plot.posToVal(top, "y")];
        plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        this.setZoom(zoom);
    }

    setZoom(zoom) {
        this.zoom = this.state.zoom = zoom;
        this.#askForColumns();
        this.update();
    }

    showAll() {
        this.measure.clear();
        this.setZoom(null);
    }

    // Whether the y axis shows all values there are.
    get follows() {
        return !this.zoom?.y && (Boolean(this.follower) || this.store.options?.fixed === false);
    }

    // The y axis follows the values from now on; where it does, and the kernel has limits for it, it has those again.
    autoscale() {
        const follows = this.follows;
        if (this.zoom?.y) this.setZoom(this.zoom.x ? { x: this.zoom.x } : null);
        this.follower = !follows && this.store.options.fixed ? new Follower() : null;
        this.state.follows = Boolean(this.follower);
        this.update();
    }

    pause(paused) {
        if (!this.onPause || this.store.state === "stopped") return;
        this.store.paused = paused;
        this.onPause(paused);
        this.speak(paused ? "Paused." : "Going on.");
        this.update();
    }

    clear() {
        if (!this.onClear || this.store.state === "stopped") return;
        if (this.store.paused) this.pause(false);
        this.measure.clear();
        this.onClear();
        this.speak("Cleared.");
    }

    speak(text) {
        this.frame.parts.spoken.textContent = text;
    }

    // Tells how many columns of pixels the whole window would have, as far as one looks at it now.
    #askForColumns() {
        if (!this.plot) return;
        const [low, high] = this.limits("x");
        const [first, last] = this.store.x;
        const columns = Math.ceil((this.plot.bbox.width * (last - first)) / (high - low) / 128) * 128;
        if (columns === this.columns || !(columns > 0)) return;
        clearTimeout(this.columnsTimer);
        this.columnsTimer = setTimeout(() => this.onColumns((this.columns = columns)), 250);
    }

    // Called when the size changes, so also when the chart comes on to the page, and when it is taken off.
    #fit() {
        if (!this.root.isConnected) {
            // The page would hold them, and so the chart, for ever.
            this.unwatch?.();
            this.plot?.destroy();
            this.unwatch = this.plot = null;
            return;
        }
        this.unwatch ??= watchTheme(() => this.#setTheme());
        const { clientWidth: width, clientHeight: height } = this.frame.parts.plot;
        if (width < 50 || height < 50) return; // not on the page, or hidden
        if (this.plot && (width !== this.plot.width || height !== this.plot.height)) {
            this.state.height = height;
            this.plot.setSize({ width, height });
        }
        this.#askForColumns();
        this.update();
    }

    #setTheme() {
        if (!this.root.isConnected) return;
        this.theme = readTheme(this.root);
        this.update();
    }
}
