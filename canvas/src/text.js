// What the chart says to those who do not see the picture.

import { formatRate, writeNumber } from "./numbers.js";

export function describe(store, scale, figures) {
    const { options } = store;
    const lines = options.names.flatMap((names, i) => names.map((name, channel) => {
        const found = figures[i]?.[channel];
        if (!found) return `${name}: no samples.`;
        const [low, high, mean] = found.map((value) => scale.number(value));
        return `${name}: from ${low} to ${high}, mean ${mean}, last ${scale.text(store.traces[i].latest[channel] ?? NaN)}.`;
    }));
    const span = store.timed ? `the last ${writeNumber(store.x[1] - store.x[0], 1)} seconds` : `the last ${writeNumber(options.window)} samples`;
    const breaks = store.traces.flatMap((trace) => trace.breaks);
    const lost = breaks.reduce((sum, one) => sum + one.lost, 0);
    const gaps = breaks.length ? ` ${writeNumber(breaks.length)} ${breaks.length === 1 ? "gap" : "gaps"} in it, ${writeNumber(lost)} frames are missing there.` : "";
    return `Line chart of ${span}. ${lines.join(" ")}${gaps}`;
}

// What goes on, beside the notes.
export function describeState(store, single) {
    if (store.gone) return "ended";
    if (store.paused) return "paused";
    if (store.state !== "running") return store.state;
    const [rate] = store.rates;
    return single && store.traces.length === 1 && rate !== null && rate !== undefined ? `live, ${formatRate(rate)} samples/s` : "live";
}
