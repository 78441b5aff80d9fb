import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/store.js";

const OPTIONS = { title: "adc", units: "V", x: "samples", window: 10, span: null, height: 320, fixed: true, names: [["adc"]] };

// A message about one trace of single samples, numbered from `first`.
function message(first, values, more = {}) {
    const seen = first + values.length;
    const offset = more.offset ?? Math.max(0, seen - 10);
    const part = { first, count: values.length, step: 1, seen, width: 1, newest: 1, oldest: offset, offset, values: values.slice(-1), breaks: more.breaks ?? [] };
    const content = { wide: false, x: [0, 9], y: [-1, 1], traces: [part], state: "running", notes: [], rates: [1], ...more };
    return [content, new Uint8Array(new Float32Array(values).buffer)];
}

function started(...values) {
    const store = new Store();
    store.apply(...message(0, values, { options: OPTIONS }));
    return store;
}

const values = (store) => Array.from({ length: store.traces[0].count }, (_, i) => store.traces[0].low(i, 0));

test("a store without options waits for a message that has everything", () => {
    const store = new Store();
    assert.equal(store.apply(...message(3, [1, 2])), false);
    assert.equal(store.apply(...message(0, [1, 2, 3], { options: OPTIONS })), true);
    assert.deepEqual(values(store), [1, 2, 3]);
});

test("what is new is added, what has changed replaced, what has left the window dropped", () => {
    const store = started(0, 1, 2, 3);
    store.apply(...message(3, [30, 4, 5]));
    assert.deepEqual(values(store), [0, 1, 2, 30, 4, 5]);
    store.apply(...message(6, [6, 7, 8, 9, 10, 11]));
    assert.deepEqual(values(store), [2, 30, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert.equal(store.traces[0].x(0, 0), 0);
    assert.equal(store.traces[0].x(9, 0), 9);
});

test("nothing is shown that does not belong together: after a gap it stands until a whole window comes", () => {
    const store = started(0, 1, 2, 3);
    store.apply(...message(6, [6, 7]));
    assert.deepEqual(values(store), [0, 1, 2, 3]);
    store.apply(...message(8, [8]));
    assert.deepEqual(values(store), [0, 1, 2, 3]);
    assert.equal(store.traces[0].seen, 4);
    store.apply(...message(0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], { options: OPTIONS }));
    assert.deepEqual(values(store), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a message that brings the whole window needs nothing before it", () => {
    const store = started(0, 1);
    store.apply(...message(90, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert.equal(store.traces[0].count, 10);
});

test("messages that never came are counted", () => {
    const store = new Store();
    for (const number of [4, 5, 8]) store.apply(...message(0, [1], { number, options: OPTIONS }));
    assert.equal(store.missed, 2);
});

test("a paused store stands still, but for its own picture in detail, and the end", () => {
    const store = started(0, 1, 2);
    store.paused = true;
    assert.equal(store.apply(...message(3, [3])), false);
    assert.equal(store.apply(...message(0, [0, 1, 2, 3, 4, 5, 6, 7], { frozen: true, options: OPTIONS })), false); // too far on
    assert.equal(store.apply(...message(0, [9, 9, 9, 9], { frozen: true, options: OPTIONS })), true);
    assert.deepEqual(values(store), [9, 9, 9, 9]);
    assert.equal(store.apply(...message(0, [1, 2], { state: "stopped", options: OPTIONS })), true);
});

test("the bin below a position is found by halving", () => {
    const { traces: [trace] } = started(0, 1, 2, 3, 4);
    assert.deepEqual([-5, 0, 1.4, 1.6, 4, 99].map((x) => trace.nearest(x, 0)), [0, 0, 1, 2, 4, 4]);
    assert.deepEqual([-5, 0, 0.5, 4, 4.1].map((x) => trace.find(x, 0)), [0, 0, 1, 4, 5]);
    assert.equal(new Store().apply(...message(0, [], { options: OPTIONS })), true);
});

test("numbers are read wherever they stand in a buffer", () => {
    const [content, bytes] = message(0, [1.5, 2.5], { options: OPTIONS });
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    const store = new Store();
    store.apply(content, shifted.subarray(3));
    assert.deepEqual(values(store), [1.5, 2.5]);
});

const breaks = (store) => store.traces[0].breaks.map(({ row, lost }) => [row, lost]);

test("where something is missing is known as long as it is in the window", () => {
    const store = started(0, 1, 2, 3);
    store.apply(...message(4, [4, 5], { breaks: [[5, 4, 5, 7, "no room"]] }));
    store.apply(...message(5, [5, 6], { breaks: [[5, 4, 5, 9, "no room"]] })); // the same bin, changed
    assert.deepEqual(breaks(store), [[5, 9]]);
    store.apply(...message(7, [7, 8, 9, 10, 11, 12], { breaks: [[12, 11, 12, 1, "no room"]] }));
    assert.deepEqual(breaks(store), [[5, 9], [12, 1]]);
    store.apply(...message(13, [13, 14]));
    assert.deepEqual(breaks(store), [[12, 1]]);
});

test("what is forgotten is gone, and the next sample is the first one", () => {
    const store = started(0, 1, 2);
    store.apply(...message(3, [], { offset: 3 }));
    assert.equal(store.traces[0].count, 0);
    store.apply(...message(3, [3, 4], { offset: 3 }));
    assert.deepEqual(values(store), [3, 4]);
    assert.equal(store.traces[0].x(0, 0), 0);
});

test("there is a value where there are samples, and none beyond them or where something is missing", () => {
    const store = started(0, 1, 2, 3, 4, 5);
    const { traces: [trace] } = store;
    assert.deepEqual([-0.4, 0, 2.4, 5.4].map((x) => trace.at(x, 0, 0.5)), [0, 0, 2, 5]);
    assert.deepEqual([-3, 8].map((x) => trace.at(x, 0, 0.5)), [-1, -1]);
    trace.breaks = [{ row: 3, from: 2, to: 3, lost: 1, why: "" }];
    assert.deepEqual([2, 2.3, 2.7, 3].map((x) => trace.at(x, 0, 0.1)), [2, -1, -1, 3]);
});

test("a store grows with what comes", () => {
    const store = started(0);
    for (let i = 1; i < 100; i++) store.apply(...message(i, [i], { offset: 0 }));
    assert.deepEqual(values(store), Array.from({ length: 100 }, (_, i) => i));
});
