// One chart in the page: uPlot's axes, crosshair and zoom; our lines; and around them title, legend, notes and buttons.

import uPlot from "uplot";
import plotStyle from "uplot/dist/uPlot.min.css";
import { drawTrace } from "./lines.js";
import ownStyle from "./style.css";
import { readTheme, watchTheme } from "./theme.js";
import { describe, formatNumber, formatRange, formatRate } from "./words.js";

const WORDS_MS = 2000; // between two texts for those who do not see the picture
const ZOOM_STEP = 1.5;
const PAN_STEP = 0.2;
const LEAST_SPAN = 1e-12; // of an axis, in its values: where numbers are hardly apart uPlot looks for ticks for ever
const SILENT = { kind: "warning", text: "nothing has been heard from the notebook's kernel for a while: it may have ended or restarted" };
const KEYS = "Space pauses, + and − zoom, 0 shows everything, ← and → move the crosshair, with Shift the picture.";

// What `View` needs from whoever owns the store: told of the width in pixels that is worth sending, and of a pause.
// Both may be left out, for a chart that does not move any more. `twin`: the picture of this chart that is in the notebook
// for those who open it without a kernel; it has an output of its own, and is hidden while the chart itself is there.
export class View {
    constructor(element, store, { onColumns = () => {}, onPause = null, twin = null } = {}) {
        this.store = store;
        this.drawn = 0; // pictures
        this.zoom = null; // limits {x, y} that somebody has chosen; a missing one is the chart's own
        this.hidden = []; // lines, by trace and channel
        this.onColumns = onColumns;
        this.onPause = onPause;
        this.#build(element, twin && `[data-ucore-twin="${twin}"]`);
        this.theme = null; // colours; known once the chart is on the page
        this.plot = null; // made when it is known what it is to look like
        this.sizes = new ResizeObserver(() => this.#fit());
        this.sizes.observe(this.parts.plot);
        this.#fit();
    }

    // Shows what the store has before the next picture of the screen, however often it is asked to.
    update() {
        this.frame ??= requestAnimationFrame(() => {
            this.frame = null;
            this.show();
        });
    }

    destroy() {
        cancelAnimationFrame(this.frame);
        clearTimeout(this.columnsTimer);
        this.sizes.disconnect();
        this.unwatch?.();
        this.plot?.destroy();
        this.root.remove();
    }

    #build(element, twin) {
        const make = (tag, name, attributes = {}, ...children) => {
            const made = document.createElement(tag);
            if (name) made.className = `ucore-${name}`;
            for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
            made.append(...children);
            return made;
        };
        const button = (text, action) => {
            const made = make("button", "", { type: "button" }, text);
            made.addEventListener("click", action);
            return made;
        };
        const parts = {
            title: make("span", "title"),
            rate: make("span", "rate"),
            readout: make("span", "readout"),
            reset: button("Show all", () => this.#setZoom(null)),
            pause: button("Pause", () => this.pause(!this.store.paused)),
            legend: make("div", "legend"),
            plot: make("div", "plot"),
            notes: make("div", "notes", { role: "status" }),
            spoken: make("div", "words", { "aria-live": "polite" }),
            words: make("div", "words"),
        };
        parts.words.id = `ucore-${Math.random().toString(36).slice(2)}`;
        const style = make("style", "", {}, plotStyle, ownStyle, twin ? `${twin}, .jp-OutputArea-child:has(${twin}) { display: none; }` : "");
        const head = make("div", "head", {}, parts.title, parts.rate, parts.readout, make("div", "tools", {}, parts.reset, parts.pause));
        this.root = make(
            "div",
            "chart",
            // Otherwise JupyterLab takes letters and arrows for its own.
            { tabindex: 0, role: "figure", "aria-describedby": parts.words.id, "data-lm-suppress-shortcuts": "true", title: "" },
            style, head, parts.legend, parts.plot, parts.notes, parts.spoken, parts.words,
        );
        this.root.addEventListener("keydown", (event) => this.#press(event));
        parts.pause.hidden = !this.onPause;
        parts.reset.hidden = true;
        this.parts = parts;
        this.make = make;
        element.replaceChildren(this.root);
    }

    #options() {
        const { look } = this.store;
        const { clientWidth: width, clientHeight: height } = this.parts.plot;
        const axis = (more) => ({
            font: "12px system-ui, sans-serif",
            labelFont: "12px system-ui, sans-serif",
            stroke: () => this.theme.text,
            grid: { stroke: () => this.theme.grid, width: 1 },
            ticks: { stroke: () => this.theme.grid, width: 1, size: 5 },
            border: { show: true, stroke: () => this.theme.frame, width: 1 },
            labelGap: 0,
            ...more,
        });
        return {
            width: Math.max(width, 100),
            height: Math.max(height, 100),
            padding: [10, 16, 0, 4],
            series: [{}],
            legend: { show: false },
            scales: {
                x: { time: false, auto: false, range: () => this.#limits("x") },
                y: { auto: false, range: () => this.#limits("y") },
            },
            axes: [
                axis({ label: look.x, labelSize: 18, size: 32 }),
                axis({ scale: "y", size: sizeOfLabels, ...(look.units && { label: look.units, labelSize: 18 }) }),
            ],
            cursor: {
                points: { show: false },
                drag: { x: true, y: true, uni: 30, dist: 4, setScale: false },
                bind: { dblclick: () => () => this.#setZoom(null) },
            },
            hooks: {
                draw: [() => this.#drawLines()],
                setCursor: [() => this.#readOut()],
                setSelect: [() => this.#zoomToSelection()],
            },
        };
    }

    #limits(axis) {
        const [low, high] = this.zoom?.[axis] ?? this.store[axis];
        const least = Math.max(...[low, high, ...this.store[axis]].map(Math.abs)) * LEAST_SPAN || 1;
        if (high - low >= least) return [low, high];
        const middle = (low + high) / 2;
        return [middle - least / 2, middle + least / 2];
    }

    // Shows what the store has, now.
    show() {
        const { store, parts } = this;
        if (!store.look || !this.root.isConnected) return; // once it is on the page, its size changes, and that calls
        this.theme ??= readTheme(this.root);
        this.#name();
        if (!this.plot) {
            this.plot = new uPlot(this.#options(), [[0, 1]], parts.plot);
            this.#askForColumns();
        }
        const { plot } = this;
        const [x, y] = [this.#limits("x"), this.#limits("y")];
        plot.batch(() => {
            plot.setScale("x", { min: x[0], max: x[1] });
            plot.setScale("y", { min: y[0], max: y[1] });
        });
        this.#say();
        this.#readOut();
        parts.reset.hidden = !this.zoom;
        parts.pause.textContent = store.paused ? "Go on" : "Pause";
        parts.pause.hidden = !this.onPause || store.state === "stopped";
        this.root.dataset.state = store.paused && store.state !== "stopped" ? "paused" : store.state;
        this.drawn += 1;
    }

    // Title, legend and colours, which change only when a line appears.
    #name() {
        const { look } = this.store;
        const key = JSON.stringify([look, this.theme.dark]);
        if (key === this.named) return;
        this.named = key;
        const { parts, make } = this;
        parts.title.textContent = look.title;
        this.root.setAttribute("aria-label", `Live plot of ${look.title}. ${KEYS}`);
        let number = 0;
        this.lines = look.names.map((names) => names.map((name) => ({ name, colour: this.theme.lines[number++ % this.theme.lines.length] })));
        this.hidden = look.names.map((names, i) => names.map((_, channel) => this.hidden[i]?.[channel] ?? false));
        const one = number <= 1 && look.names.flat().every((name) => name === look.title);
        parts.legend.hidden = one;
        this.values = [];
        const entries = this.lines.flatMap((lines, i) => lines.map(({ name, colour }, channel) => {
            const value = make("span", "value");
            const swatch = make("span", "swatch", { style: `background:${colour}` });
            const entry = make("button", "", { type: "button", "aria-pressed": !this.hidden[i][channel], title: "Show or hide this line" }, swatch, name, value);
            entry.addEventListener("click", () => {
                this.hidden[i][channel] = !this.hidden[i][channel];
                entry.setAttribute("aria-pressed", !this.hidden[i][channel]);
                this.update();
            });
            this.values.push(value);
            return entry;
        }));
        parts.legend.replaceChildren(...entries);
        this.isOne = one;
    }

    #drawLines() {
        const { store, plot } = this;
        if (!plot) return; // uPlot's first drawing, still in its constructor
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        const { newest } = store;
        const axes = { box: bbox, x: this.#limits("x"), y: this.#limits("y"), scale: uPlot.pxRatio };
        store.traces.forEach((trace, i) => {
            drawTrace(ctx, trace, newest, { ...axes, colours: this.lines[i].map((line) => line.colour), hidden: this.hidden[i] });
        });
        ctx.restore();
    }

    #say() {
        const { store, parts, make } = this;
        const rates = store.rates.filter((rate) => rate !== null);
        const total = rates.reduce((sum, rate) => sum + rate, 0);
        parts.rate.textContent = store.state === "running" && rates.length ? `${formatRate(total)} samples/s` : "";
        const notes = store.silent ? [...store.notes, SILENT] : store.notes;
        const noted = JSON.stringify(notes);
        if (noted !== this.noted) {
            this.noted = noted;
            parts.notes.replaceChildren(...notes.map((note) => make("div", "note", { "data-kind": note.kind }, note.text)));
        }
        const now = performance.now();
        if (!(now - this.worded < WORDS_MS) || store.state === "stopped") {
            this.worded = now;
            parts.words.textContent = describe(store);
        }
    }

    // The values below the crosshair.
    #readOut() {
        const { store, plot, parts } = this;
        if (!plot) return;
        const { left } = plot.cursor;
        const inside = left >= 0 && store.traces.some((trace) => trace.count);
        const { newest, look } = store;
        const x = inside ? plot.posToVal(left, "x") : 0;
        const units = look.units && ` ${look.units}`;
        let number = 0;
        let at = x; // the position of what is read
        const read = [];
        store.traces.forEach((trace, first) => {
            const i = inside ? trace.nearest(x, newest) : trace.count - 1;
            if (first === 0 && i >= 0) at = trace.x(i, newest);
            for (let channel = 0; channel < trace.channels; channel++) {
                const digits = inside ? 6 : 4; // those of a moving value nobody can read
                const text = i < 0 ? "" : formatRange(trace.low(i, channel), trace.high(i, channel), units, digits);
                if (this.values[number]) this.values[number].textContent = this.isOne ? "" : text;
                read.push(text);
                number += 1;
            }
        });
        const where = look.x === "seconds" ? `${formatNumber(at, 4)} s` : `sample ${Math.round(at).toLocaleString()}`;
        parts.readout.textContent = [inside && where, this.isOne && read.join(", ")].filter(Boolean).join(": ");
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
        this.#setZoom(zoom);
    }

    #setZoom(zoom) {
        this.zoom = zoom;
        this.#askForColumns();
        this.update();
    }

    pause(paused) {
        if (!this.onPause || this.store.state === "stopped") return;
        this.store.paused = paused;
        this.onPause(paused);
        this.parts.spoken.textContent = paused ? "Paused." : "Going on.";
        this.update();
    }

    #press(event) {
        if (event.ctrlKey || event.metaKey || event.altKey || !this.plot) return;
        const onButton = event.target instanceof HTMLButtonElement;
        const actions = {
            " ": () => this.pause(!this.store.paused),
            p: () => this.pause(!this.store.paused),
            "+": () => this.#zoomBy(1 / ZOOM_STEP),
            "=": () => this.#zoomBy(1 / ZOOM_STEP),
            "-": () => this.#zoomBy(ZOOM_STEP),
            0: () => this.#setZoom(null),
            Escape: () => this.#setZoom(null),
            ArrowLeft: () => (event.shiftKey ? this.#pan(-PAN_STEP) : this.#moveCrosshair(-1)),
            ArrowRight: () => (event.shiftKey ? this.#pan(PAN_STEP) : this.#moveCrosshair(1)),
        };
        const action = actions[event.key];
        if (!action || (onButton && event.key === " ")) return;
        event.preventDefault();
        event.stopPropagation();
        action();
    }

    #zoomBy(factor) {
        const [low, high] = this.#limits("x");
        const { left } = this.plot.cursor;
        const middle = left >= 0 ? this.plot.posToVal(left, "x") : (low + high) / 2;
        const [first, last] = this.store.x;
        const x = [Math.max(first, middle - (middle - low) * factor), Math.min(last, middle + (high - middle) * factor)];
        this.#setZoom(x[0] <= first && x[1] >= last ? (this.zoom?.y ? { y: this.zoom.y } : null) : { ...this.zoom, x });
    }

    #pan(part) {
        if (!this.zoom?.x) return; // all of it is there
        const [low, high] = this.#limits("x");
        const [first, last] = this.store.x;
        const by = Math.min(Math.max(part * (high - low), first - low), last - high);
        this.#setZoom({ ...this.zoom, x: [low + by, high + by] });
    }

    #moveCrosshair(steps) {
        const { plot } = this;
        const width = plot.over.clientWidth;
        const left = plot.cursor.left >= 0 ? plot.cursor.left + (steps * width) / 50 : width / 2;
        plot.setCursor({ left: Math.min(Math.max(left, 0), width), top: plot.over.clientHeight / 2 });
        this.#readOut();
        this.parts.spoken.textContent = this.parts.readout.textContent + this.values.map((value) => ` ${value.textContent}`).join("");
    }

    // Tells how many columns of pixels the whole window would have, as far as one looks at it now.
    #askForColumns() {
        const [low, high] = this.#limits("x");
        const [first, last] = this.store.x;
        if (!this.plot) return;
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
        const { clientWidth: width, clientHeight: height } = this.parts.plot;
        if (width < 50 || height < 50) return; // not on the page, or hidden
        if (this.plot && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
        this.#askForColumns();
        this.update();
    }

    #setTheme() {
        if (!this.root.isConnected) return;
        this.theme = readTheme(this.root);
        this.update();
    }
}

// Room for the longest label of the y axis, and never less than before: the axes must not jump.
function sizeOfLabels(plot, values, axis) {
    const { ctx } = plot;
    ctx.save();
    ctx.font = plot.axes[axis].font[0];
    const longest = Math.max(0, ...(values ?? []).map((value) => ctx.measureText(value).width));
    ctx.restore();
    const size = Math.ceil(longest / uPlot.pxRatio) + 16;
    return (plot.axes[axis].ucoreSize = Math.max(plot.axes[axis].ucoreSize ?? 44, size));
}
