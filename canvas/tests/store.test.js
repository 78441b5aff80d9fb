import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/store.js";

const LOOK = { title: "adc", units: "V", x: "samples", window: 10, names: [["adc"]] };

// A message about one trace of single samples, numbered from `first`.
function message(first, values, more = {}) {
    const part = { first, count: values.length, step: 1, seen: first + values.length, width: 1, newest: 1 };
    const content = { wide: false, x: [0, 9], y: [-1, 1], traces: [part], state: "running", notes: [], rates: [1], ...more };
    return [content, new Uint8Array(new Float32Array(values).buffer)];
}

function started(...values) {
    const store = new Store();
    store.apply(...message(0, values, { look: LOOK }));
    return store;
}

const values = (store) => Array.from({ length: store.traces[0].count }, (_, i) => store.traces[0].low(i, 0));

test("a store without a look waits for a message that has everything", () => {
    const store = new Store();
    assert.equal(store.apply(...message(3, [1, 2])), false);
    assert.equal(store.apply(...message(0, [1, 2, 3], { look: LOOK })), true);
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
    store.apply(...message(0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], { look: LOOK }));
    assert.deepEqual(values(store), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a message that brings the whole window needs nothing before it", () => {
    const store = started(0, 1);
    store.apply(...message(90, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert.equal(store.traces[0].count, 10);
});

test("messages that never came are counted", () => {
    const store = new Store();
    for (const number of [4, 5, 8]) store.apply(...message(0, [1], { number, look: LOOK }));
    assert.equal(store.missed, 2);
});

test("a paused store stands still, but for its own picture in detail, and the end", () => {
    const store = started(0, 1, 2);
    store.paused = true;
    assert.equal(store.apply(...message(3, [3])), false);
    assert.equal(store.apply(...message(0, [0, 1, 2, 3, 4, 5, 6, 7], { frozen: true, look: LOOK })), false); // too far on
    assert.equal(store.apply(...message(0, [9, 9, 9, 9], { frozen: true, look: LOOK })), true);
    assert.deepEqual(values(store), [9, 9, 9, 9]);
    assert.equal(store.apply(...message(0, [1, 2], { state: "stopped", look: LOOK })), true);
});

test("the bin below a position is found by halving", () => {
    const { traces: [trace] } = started(0, 1, 2, 3, 4);
    assert.deepEqual([-5, 0, 1.4, 1.6, 4, 99].map((x) => trace.nearest(x, 0)), [0, 0, 1, 2, 4, 4]);
    assert.deepEqual([-5, 0, 0.5, 4, 4.1].map((x) => trace.find(x, 0)), [0, 0, 1, 4, 5]);
    assert.equal(new Store().apply(...message(0, [], { look: LOOK })), true);
});

test("numbers are read wherever they stand in a buffer", () => {
    const [content, bytes] = message(0, [1.5, 2.5], { look: LOOK });
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    const store = new Store();
    store.apply(content, shifted.subarray(3));
    assert.deepEqual(values(store), [1.5, 2.5]);
});
