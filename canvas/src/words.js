// What the chart says: numbers, and the picture in words.

export function formatNumber(value, digits = 6) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e7 || size < 1e-4) return value.toExponential(digits - 1).replace("e+", "e");
    return String(Number(value.toPrecision(digits)));
}

export function formatRange(low, high, units, digits) {
    if (low !== low) return "no value";
    const [first, last] = [formatNumber(low, digits), formatNumber(high, digits)];
    return (first === last ? first : `${first} to ${last}`) + units;
}

export function formatRate(rate) {
    return rate >= 100 ? Math.round(rate).toLocaleString() : String(Number(rate.toPrecision(2)));
}

export function describe(store) {
    const { look, newest } = store;
    const lines = look.names.flatMap((names, i) => names.map((name, channel) => {
        const trace = store.traces[i];
        let low = Infinity;
        let high = -Infinity;
        for (let bin = 0; bin < trace.count; bin++) {
            if (trace.low(bin, channel) < low) low = trace.low(bin, channel);
            if (trace.high(bin, channel) > high) high = trace.high(bin, channel);
        }
        if (low > high) return `${name}: no samples.`;
        const last = formatNumber(trace.high(trace.count - 1, channel));
        return `${name}: from ${formatNumber(low)} to ${formatNumber(high)}, last ${last} ${look.units}`.trim() + ".";
    }));
    const span = look.x === "seconds" ? `the last ${formatNumber(store.x[1] - store.x[0])} seconds` : `the last ${look.window.toLocaleString()} samples`;
    return `Line chart of ${span}. ${lines.join(" ")}`;
}
