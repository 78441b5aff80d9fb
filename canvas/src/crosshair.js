// What is read below the crosshair: a dot on each line, and a tooltip with the values there.

import { setText } from "./legend.js";
import { breakAt } from "./lines.js";
import { NONE, writeNumber } from "./numbers.js";

const MARGIN_PX = 6; // a value this close to the crosshair is one there

export class Crosshair {
    constructor(make) {
        this.make = make;
        this.tip = make("div", "readout", { "aria-hidden": "true" });
        this.dots = [];
        this.readings = []; // by line: { text, x, low, high }; the text is a dash where there is no value
        this.where = "";
    }

    // Reads what is at `left` (pixels); null for nowhere.
    read({ store, plot, lines, xAxis, scale, limits }, left) {
        this.left = left;
        if (left === null || !store.traces.some((trace) => trace.count)) {
            this.readings = [];
            this.where = this.missing = "";
            return;
        }
        const { newest } = store;
        const perPx = (limits[1] - limits[0]) / plot.over.clientWidth;
        const x = plot.posToVal(left, "x");
        let at = null; // what is read, if it is one position for all
        this.missing = "";
        this.readings = lines.map(({ trace: number, channel }) => {
            const trace = store.traces[number];
            const i = trace.at(x, newest, MARGIN_PX * perPx);
            const gap = breakAt(trace, x, newest, perPx);
            if (gap) this.missing = gap.lost ? `${writeNumber(gap.lost)} ${gap.lost === 1 ? "frame" : "frames"} missing: ${gap.why}` : gap.why;
            const [low, high] = i < 0 ? [NaN, NaN] : [trace.low(i, channel), trace.high(i, channel)];
            if (low !== low) return { text: NONE, x, low, high };
            at ??= trace.x(i, newest);
            return { text: scale.range(low, high), x: trace.x(i, newest), low, high };
        });
        this.where = xAxis.where(store.traces.length > 1 || at === null ? x : at, perPx, limits, newest);
    }

    // Everything that is read, as one line.
    get text() {
        if (!this.where) return "";
        return `${this.where}: ${this.lines.map(({ name }, i) => (this.lines.length > 1 ? `${name} ` : "") + this.readings[i].text).join(", ")}${this.missing ? `; ${this.missing}` : ""}`;
    }

    // Shows it on uPlot's layer over the axes.
    show({ plot, lines, limits }) {
        this.lines = lines;
        const { over } = plot;
        if (this.tip.parentElement !== over) over.append(this.tip);
        this.tip.hidden = !this.readings.length;
        const y = limits.y;
        let used = 0;
        this.readings.forEach(({ x, low, high }, i) => {
            if (lines[i].hidden || low !== low) return;
            for (const value of high === low ? [low] : [low, high]) {
                if (value < y[0] || value > y[1]) continue;
                const dot = (this.dots[used] ??= this.make("div", "dot"));
                if (dot.parentElement !== over) over.append(dot);
                dot.style.transform = `translate(${plot.valToPos(x, "x")}px, ${plot.valToPos(value, "y")}px)`;
                dot.style.background = lines[i].colour;
                dot.hidden = false;
                used += 1;
            }
        });
        for (const dot of this.dots.slice(used)) dot.hidden = true;
        if (this.tip.hidden) return;
        this.#fillTip(lines);
        const right = this.left > over.clientWidth / 2;
        this.tip.style.left = right ? "" : `${this.left + 12}px`;
        this.tip.style.right = right ? `${over.clientWidth - this.left + 12}px` : "";
    }

    #fillTip(lines) {
        const shown = lines.flatMap((line, i) => (line.hidden ? [] : [{ ...line, ...this.readings[i] }]));
        const key = JSON.stringify(shown.map(({ name, colour }) => [name, colour]));
        if (key !== this.key) {
            this.key = key;
            const { make } = this;
            const rows = shown.map(({ name, colour }) => make("div", "tip-row", {}, make("span", "swatch", { style: `background:${colour}` }), make("span", "name", {}, lines.length > 1 ? name : ""), make("span", "tip-value")));
            this.tip.replaceChildren(make("div", "tip-where"), ...rows, make("div", "tip-gap"));
        }
        setText(this.tip.firstChild, this.where);
        shown.forEach(({ text }, i) => setText(this.tip.children[i + 1].lastChild, text));
        setText(this.tip.lastChild, this.missing);
    }
}
