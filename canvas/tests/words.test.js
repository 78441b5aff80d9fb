import assert from "node:assert/strict";
import { test } from "node:test";
import { formatNumber, formatRange, formatRate } from "../src/words.js";

test("numbers are short, and none loses its size", () => {
    const written = [0, 1, -0.5, 0.1 + 0.2, 1234567, 12345678, 0.00001234, -3.4e38].map((value) => formatNumber(value));
    assert.deepEqual(written, ["0", "1", "-0.5", "0.3", "1234570", "1.23457e7", "1.23400e-5", "-3.40000e38"]);
});

test("a bin of many samples is a range, a gap has no value", () => {
    assert.equal(formatRange(1, 2, " V", 4), "1 to 2 V");
    assert.equal(formatRange(1, 1, " V", 4), "1 V");
    assert.equal(formatRange(NaN, NaN, " V", 4), "no value");
});

test("rates are whole numbers where they are large", () => {
    assert.deepEqual([0, 0.1234, 9.96, 150.4].map(formatRate), ["0", "0.12", "10", "150"]);
});
