import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Follower, XAxis } from "../src/axes.js";
import { writeCsv } from "../src/export.js";
import { formatClock, formatRate, Scale, writeNumber, writeResolved } from "../src/numbers.js";

const CASES = JSON.parse(readFileSync(new URL("numbers.json", import.meta.url)));

for (const { axis, units, label, number, step, ticks } of CASES) {
    test(`numbers of an axis ${axis} ${units} have the digits that it resolves`, () => {
        const scale = new Scale(...axis, units);
        assert.equal(scale.units, label);
        for (const [value, text] of Object.entries(number)) assert.equal(scale.number(Number(value)), text);
        for (const [value, text] of Object.entries(ticks)) assert.equal(scale.tick(Number(value), step), text);
    });
}

test("a bin of many samples is a range where the axis tells them apart, a gap has a dash", () => {
    const scale = new Scale(-1, 1, "V");
    assert.equal(scale.range(0.1, 0.5), "0.100 to 0.500 V");
    assert.equal(scale.range(0.1, 0.1001), "0.100 V");
    assert.equal(scale.text(NaN), "–");
});

test("numbers are grouped, and no zero is negative", () => {
    assert.deepEqual([1234567, -1234.5, -0.001, 999].map((value) => writeNumber(value, 1)), ["1,234,567.0", "−1,234.5", "0.0", "999.0"]);
});

test("rates are whole numbers where they are large", () => {
    assert.deepEqual([0, 0.1234, 9.96, 150.4, 100000].map(formatRate), ["0", "0.12", "10", "150", "100,000"]);
});

test("what is measured has the digits that a pixel resolves", () => {
    assert.equal(writeResolved(0.0123456, 0.0001, "s"), "12.3 ms");
    assert.equal(writeResolved(-2.5, 0.01, "s"), "−2.50 s");
    assert.equal(writeResolved(81.3333, 0.5, "Hz"), "81.3 Hz");
});

test("the axis of time says how long ago, in the unit that fits", () => {
    const axis = new XAxis("seconds");
    assert.deepEqual([0.01, 20, 300, 7200, 86400, 1e6].map((span) => axis.label([-span, 0], 0)), ["milliseconds ago", "seconds ago", "minutes ago", "minutes ago", "hours ago", "days ago"]);
    assert.deepEqual(axis.ticks(axis.splits([-20, 0], 5, 0), 5, [-20, 0], 0), ["20", "15", "10", "5", "0"]);
    assert.deepEqual(axis.ticks([-600, -300, 0], 300, [-600, 0], 0), ["10", "5", "0"]);
    assert.equal(axis.where(-7.262, 0.02, [-20, 0], 0), "7.26 s ago");
});

test("the axis of the time of day has a watch's round numbers", () => {
    const axis = new XAxis("time");
    const newest = new Date(2026, 10, 27, 14, 2, 7, 500).getTime() / 1000;
    assert.deepEqual(axis.ticks(axis.splits([-20, 0], 5, newest), 5, [-20, 0], newest), ["14:01:50", "14:01:55", "14:02:00", "14:02:05"]);
    assert.deepEqual(axis.ticks(axis.splits([-7200, 0], 3600, newest), 3600, [-7200, 0], newest), ["13:00", "14:00"]);
    assert.equal(axis.where(-0.25, 0.01, [-20, 0], newest), "14:02:07.25");
    assert.equal(axis.label([-20, 0], newest), "27 Nov 2026");
    assert.equal(formatClock(newest + 0.4996, 0), "14:02:08");
});

test("limits that follow have a little air, and shrink late", () => {
    const follower = new Follower();
    assert.deepEqual(follower.fit(-1, 1, 0), [-1.1, 1.1]);
    assert.deepEqual(follower.fit(-0.1, 0.1, 1000), [-1.1, 1.1]);
    assert.ok(follower.fit(-0.1, 0.1, 3100)[1] < 0.2);
    assert.deepEqual(new Follower().fit(Infinity, -Infinity, 0), null);
});

test("a table has a column of positions for each pipe, and an empty row where something is missing", () => {
    const trace = (count, breaks) => ({ step: 1, count, first: 10, offset: 10, start: 0, breaks, x: (i) => i, low: (i) => (i === 1 ? NaN : i / 2) });
    const store = { timed: false, options: { units: "V", names: [["a"], ['b "x", y']] }, traces: [trace(3, [{ row: 12 }]), trace(1, [])] };
    assert.equal(writeCsv(store), 'sample,a (V),sample,"b ""x"", y (V)"\r\n10,0,10,0\r\n11,,,\r\n,,,\r\n12,1,,\r\n');
});
