// Plays messages of the kernel's (lines of JSON on stdin) to a store, and says after each what the store has.

import { createInterface } from "node:readline";
import { Store } from "../src/store.js";

const store = new Store();
for await (const line of createInterface({ input: process.stdin })) {
    const { content, buffer } = JSON.parse(line);
    const changed = store.apply(content, new Uint8Array(Buffer.from(buffer, "base64")));
    const traces = store.traces.map((trace) => ({
        seen: trace.seen,
        breaks: trace.breaks.map(({ row }) => row),
        x: Array.from({ length: trace.count }, (_, i) => trace.x(i, store.newest)),
        low: Array.from({ length: trace.count }, (_, i) => Array.from({ length: trace.channels }, (_, channel) => trace.low(i, channel))),
        high: Array.from({ length: trace.count }, (_, i) => Array.from({ length: trace.channels }, (_, channel) => trace.high(i, channel))),
    }));
    // JSON has no NaN.
    console.log(JSON.stringify({ changed, missed: store.missed, traces }, (_, value) => (Number.isNaN(value) ? "nan" : value)));
}
