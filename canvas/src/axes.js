// The axes: what uPlot is told of them, and how positions on the horizontal one are said.

import { decimalsOf, formatClock, formatDay, writeNumber } from "./numbers.js";

const FONT = "12px system-ui, sans-serif";
const AIR = 0.05; // above and below values that an axis follows
const LEAST_AIR = 0.02; // that is left of it before the limits move
const SHRINK_AFTER_MS = 2000; // see Limits in src/ukernel/charts/axis.py
const DECADES = [1, 2, 5];
// Steps of a time axis, in seconds: a watch has other round numbers.
const WATCH = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000];
const TIME_STEPS = [...Array.from({ length: 21 }, (_, i) => DECADES[i % 3] * 10 ** (Math.floor(i / 3) - 7)).map((step) => Number(step.toPrecision(1))), ...WATCH];
const SAMPLE_STEPS = Array.from({ length: 30 }, (_, i) => DECADES[i % 3] * 10 ** Math.floor(i / 3));
// Units of what is seconds ago: the longest one that a span has some of.
const AGO = [
    { least: 3 * 86_400, seconds: 86_400, name: "days", short: "d" },
    { least: 3 * 3600, seconds: 3600, name: "hours", short: "h" },
    { least: 180, seconds: 60, name: "minutes", short: "min" },
    { least: 0.5, seconds: 1, name: "seconds", short: "s" },
    { least: 5e-4, seconds: 1e-3, name: "milliseconds", short: "ms" },
    { least: 0, seconds: 1e-6, name: "microseconds", short: "µs" },
];

// The horizontal axis of a chart. Positions are places in the window, or seconds before the newest sample (negative).
export class XAxis {
    constructor(kind) {
        this.kind = kind; // "samples", "seconds" or "time"
        this.steps = kind === "samples" ? SAMPLE_STEPS : TIME_STEPS;
    }

    unit(span) {
        return AGO.find(({ least }) => span >= least);
    }

    label([low, high], newest) {
        if (this.kind === "samples") return "samples";
        if (this.kind === "seconds") return `${this.unit(high - low).name} ago`;
        if (!Number.isFinite(newest)) return "time";
        const [first, last] = [formatDay(newest + low), formatDay(newest + high)];
        return first === last ? first : `${first} to ${last}`;
    }

    splits([low, high], step, newest) {
        // Of the day: steps are counted from midnight, as a watch does.
        const origin = this.kind === "time" && Number.isFinite(newest) ? midnight(newest) - newest : 0;
        const found = [];
        const first = Math.ceil((low - origin) / step - 1e-9);
        const last = Math.floor((high - origin) / step + 1e-9);
        for (let i = first; i <= last; i++) found.push(origin + i * step);
        return found;
    }

    ticks(splits, step, [low, high], newest) {
        if (this.kind === "samples") return splits.map((value) => writeNumber(value));
        if (this.kind === "time") {
            if (!Number.isFinite(newest)) return splits.map(() => "");
            const decimals = step < 1 ? decimalsOf(step) : 0;
            return splits.map((value) => formatClock(newest + value, decimals, step < 60));
        }
        const { seconds } = this.unit(high - low);
        const decimals = decimalsOf(step / seconds);
        return splits.map((value) => writeNumber(-value / seconds, decimals));
    }

    // A position in words; `resolution` is what a pixel is worth.
    where(x, resolution, [low, high], newest) {
        if (this.kind === "samples") return `sample ${writeNumber(Math.round(x))}`;
        const decimals = (unit) => Math.min(Math.max(Math.ceil(-Math.log10(resolution / unit)), 0), 9);
        if (this.kind === "time") return Number.isFinite(newest) ? formatClock(newest + x, Math.min(decimals(1), 6)) : "";
        const { seconds, short } = this.unit(high - low);
        return `${writeNumber(-x / seconds, decimals(seconds))} ${short} ago`;
    }
}

function midnight(seconds) {
    return new Date(seconds * 1000).setHours(0, 0, 0, 0) / 1000;
}

// Limits that follow values, as the kernel's do where it is given none.
export class Follower {
    constructor() {
        this.limits = null;
        this.smallSince = Infinity;
    }

    fit(low, high, now) {
        if (!(low <= high)) return this.limits;
        const [bottom, top] = this.limits ?? [Infinity, -Infinity];
        const small = high - low < (top - bottom) / 3;
        this.smallSince = small ? Math.min(this.smallSince, now) : Infinity;
        const least = LEAST_AIR * (high - low);
        if (!(bottom <= low - least && high + least <= top) || now - this.smallSince >= SHRINK_AFTER_MS) {
            const largest = Math.max(Math.abs(low), Math.abs(high));
            const room = (high - low > 1e-9 * largest ? AIR * (high - low) : 0.1 * largest) || 1;
            this.limits = [low - room, high + room];
            this.smallSince = Infinity;
        }
        return this.limits;
    }
}

// uPlot's options. `view` has limits(axis), theme, store, xAxis and scale.
export function plotOptions(view, uPlot, size, hooks) {
    const axis = (more) => ({
        font: FONT,
        labelFont: FONT,
        stroke: () => view.theme.text,
        grid: { stroke: () => view.theme.grid, width: 1 },
        ticks: { stroke: () => view.theme.grid, width: 1, size: 5 },
        border: { show: true, stroke: () => view.theme.frame, width: 1 },
        labelGap: 0,
        ...more,
    });
    return {
        ...size,
        padding: [24, 18, 0, 4], // above the axes stand the units
        series: [{}],
        legend: { show: false },
        scales: {
            x: { time: false, auto: false, range: () => view.limits("x") },
            y: { auto: false, range: () => view.limits("y") },
        },
        axes: [
            axis({
                size: 30,
                labelSize: 18,
                label: () => view.xAxis.label(view.limits("x"), view.store.newest),
                space: view.xAxis.kind === "time" ? 90 : 60,
                incrs: view.xAxis.steps,
                splits: (plot, index, low, high, step) => view.xAxis.splits([low, high], step, view.store.newest),
                values: (plot, splits, index, space, step) => view.xAxis.ticks(splits, step, view.limits("x"), view.store.newest),
            }),
            axis({
                scale: "y",
                size: (plot, values, index) => roomFor(plot, values, index, uPlot),
                values: (plot, splits, index, space, step) => splits.map((value) => view.scale.tick(value, step)),
            }),
        ],
        cursor: {
            points: { show: false },
            drag: { x: true, y: true, uni: 30, dist: 4, setScale: false },
            bind: { dblclick: () => () => view.showAll() },
        },
        hooks,
    };
}

// Room for the longest label of the y axis, and never less than before: the axes must not jump.
function roomFor(plot, values, index, uPlot) {
    const { ctx } = plot;
    const axis = plot.axes[index];
    ctx.save();
    ctx.font = axis.font[0];
    const longest = Math.max(0, ...(values ?? []).map((value) => ctx.measureText(value).width));
    ctx.restore();
    const size = Math.ceil(longest / uPlot.pxRatio) + 16;
    return (axis.ucoreSize = Math.max(axis.ucoreSize ?? 52, size));
}

// The units stand above the axis.
export function drawUnits(plot, text, colour, uPlot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.font = FONT.replace("12px", `${12 * uPlot.pxRatio}px`);
    ctx.fillStyle = colour;
    ctx.textBaseline = "bottom";
    const { width } = ctx.measureText(text);
    ctx.textAlign = "left";
    // Its end is where the labels end, unless that is off the picture.
    const left = Math.max(4 * uPlot.pxRatio, bbox.left - 10 * uPlot.pxRatio - width);
    ctx.fillText(text, left, bbox.top - 8 * uPlot.pxRatio);
    ctx.restore();
}
