// Two clicks measure: how far apart they are. The marks stay on what they were set on while the chart moves.

import { formatRate, writeNumber, writeResolved } from "./numbers.js";

const SNAP_PX = 40; // a line this close to the click is meant

export class Measure {
    constructor() {
        this.clear();
    }

    clear() {
        this.marks = []; // { at, y }: a time or the number of a sample, and a value
    }

    // Sets a mark at `left`, `top` (pixels); the third one begins anew. `top` null: on the first line.
    set({ store, plot, readings, lines }, left, top) {
        if (this.marks.length === 2) this.clear();
        let x = plot.posToVal(left, "x");
        let y = top === null ? NaN : plot.posToVal(top, "y");
        let best = top === null ? Infinity : SNAP_PX;
        readings.forEach(({ x: at, low, high }, i) => {
            if (lines[i].hidden || low !== low) return;
            for (const value of [low, high]) {
                const distance = top === null ? 0 : Math.abs(plot.valToPos(value, "y") - top);
                if (distance < best) [best, x, y] = [distance, at, value];
            }
        });
        this.marks.push({ at: store.origin + x, y });
    }

    // What is measured, in words; empty where nothing is.
    text({ store, plot, limits, scale }) {
        if (!this.marks.length) return "";
        if (this.marks.length < 2) return "click a second point to measure";
        const [first, second] = this.marks;
        const dx = second.at - first.at;
        const dy = second.y - first.y;
        const parts = [];
        const perPx = (limits.x[1] - limits.x[0]) / plot.over.clientWidth;
        if (store.timed) {
            parts.push(`Δx ${writeResolved(dx, perPx, "s")}`);
            if (dx) parts.push(`1/Δx ${writeResolved(1 / Math.abs(dx), perPx / dx ** 2, "Hz")}`);
        } else {
            const samples = Math.round(dx);
            parts.push(`Δx ${writeNumber(samples)} ${Math.abs(samples) === 1 ? "sample" : "samples"}`);
            const [rate] = store.rates;
            if (samples && rate) parts.push(`1/Δx ${writeResolved(rate / Math.abs(samples), rate / samples ** 2, "Hz")} at ${formatRate(rate)} samples/s`);
            else if (samples) parts.push(`1/Δx ${writeResolved(1 / Math.abs(samples), 1 / samples ** 2, "")} per sample`);
        }
        if (dy === dy) parts.splice(1, 0, `Δy ${scale.text(dy)}`);
        return parts.join("   ");
    }

    draw(context, { store, plot, box, scale, colour }) {
        if (!this.marks.length) return;
        context.strokeStyle = colour;
        context.lineWidth = scale;
        const points = this.marks.map(({ at, y }) => [plot.valToPos(at - store.origin, "x", true), plot.valToPos(y, "y", true)]);
        context.beginPath();
        for (const [x, y] of points) {
            context.moveTo(x, box.top);
            context.lineTo(x, box.top + box.height);
            context.moveTo(x - 6 * scale, y);
            context.lineTo(x + 6 * scale, y);
        }
        context.stroke();
        if (points.length < 2) return;
        context.setLineDash([4 * scale, 3 * scale]);
        context.beginPath();
        context.moveTo(...points[0]);
        context.lineTo(...points[1]);
        context.stroke();
        context.setLineDash([]);
    }
}
