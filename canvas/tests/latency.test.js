import assert from "node:assert/strict";
import { test } from "node:test";
import { Latency } from "../src/latency.js";

test("only messages that are late for a while are worth a hint, and another one when they come later still", () => {
    let now = 0;
    let hints = 0;
    const latency = new Latency(() => (hints += 1), () => now);
    const play = (seconds, late) => {
        for (let i = 0; i < seconds * 10; i++) {
            now += 100;
            latency.note(now / 1000 + 5 - late); // the kernel's clock is another one
        }
    };
    play(5, 0);
    play(0.5, 2);
    play(1, 0);
    assert.equal(hints, 0);
    play(3, 2); // it may be that a clock has jumped
    assert.equal(hints, 1);
    play(3, 4);
    assert.equal(hints, 2);
    play(3, 0);
    play(3, 1);
    assert.equal(hints, 3);
});
