import assert from "node:assert/strict";
import test from "node:test";

import { Figures } from "../src/figures.js";

const store = (value, state = "running") => ({ state, traces: [{ latest: [value] }], figures: () => [[[value, value, value]]] });

test("figures are read four times a second, and the last ones are asked for again", () => {
    const figures = new Figures();
    assert.equal(figures.update(store(1), 1000), 0);
    assert.equal(figures.update(store(2), 1100), 150);
    assert.deepEqual(figures.of(store(2), 0, 0), [1, 2, 1]); // the newest value is never beyond them
    assert.equal(figures.update(store(2), 1250), 0);
    assert.deepEqual(figures.of(store(2), 0, 0), [2, 2, 2]);
});

test("figures of a chart that stops are the last ones at once", () => {
    const figures = new Figures();
    figures.update(store(1), 1000);
    assert.equal(figures.update(store(2, "stopped"), 1001), 0);
    assert.deepEqual(figures.of(store(2), 0, 0), [2, 2, 2]);
});
