// What the chart says to those who do not see the picture.

import { formatRate, writeNumber } from "./numbers.js";

export function describe(store, scale) {
    const { look } = store;
    const lines = look.names.flatMap((names, i) => names.map((name, channel) => {
        const trace = store.traces[i];
        let low = Infinity;
        let high = -Infinity;
        for (let bin = 0; bin < trace.count; bin++) {
            if (trace.low(bin, channel) < low) low = trace.low(bin, channel);
            if (trace.high(bin, channel) > high) high = trace.high(bin, channel);
        }
        if (low > high) return `${name}: no samples.`;
        const mean = store.stats[i]?.[channel]?.[2];
        const average = mean === undefined ? "" : `, mean ${scale.number(mean)}`;
        return `${name}: from ${scale.number(low)} to ${scale.number(high)}${average}, last ${scale.text(trace.latest[channel] ?? NaN)}.`;
    }));
    const span = store.timed ? `the last ${writeNumber(store.x[1] - store.x[0], 1)} seconds` : `the last ${writeNumber(look.window)} samples`;
    const breaks = store.traces.flatMap((trace) => trace.breaks);
    const lost = breaks.reduce((sum, one) => sum + one.lost, 0);
    const gaps = breaks.length ? ` ${writeNumber(breaks.length)} ${breaks.length === 1 ? "gap" : "gaps"} in it, ${writeNumber(lost)} frames are missing there.` : "";
    return `Line chart of ${span}. ${lines.join(" ")}${gaps}`;
}

// What goes on, beside the notes.
export function describeState(store, single) {
    if (store.paused) return "paused";
    if (store.state !== "running") return store.state;
    const [rate] = store.rates;
    return single && store.traces.length === 1 && rate !== null && rate !== undefined ? `live, ${formatRate(rate)} samples/s` : "live";
}
