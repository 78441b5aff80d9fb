import assert from "node:assert/strict";
import { test } from "node:test";
import { Arrivals, Inbox } from "../src/inbox.js";

// An inbox and the screen's pictures, which come when they are called.
function makeInbox() {
    const applied = [];
    const frames = [];
    let shown = 0;
    const inbox = new Inbox((message) => applied.push(message), () => (shown += 1), (draw) => frames.push(draw));
    const frame = () => {
        for (const draw of frames.splice(0)) draw();
        return { applied: applied.splice(0), shown };
    };
    return { inbox, frame, frames, applied };
}

test("two messages for one picture are two pictures", () => {
    const { inbox, frame, frames } = makeInbox();
    inbox.add(1);
    inbox.add(2);
    assert.deepEqual(frame(), { applied: [1], shown: 1 });
    assert.deepEqual(frame(), { applied: [2], shown: 2 });
    assert.equal(frames.length, 0);
});

test("where many wait, all are for the next picture", () => {
    const { inbox, frame } = makeInbox();
    for (const message of [1, 2, 3, 4, 5]) inbox.add(message);
    assert.deepEqual(frame(), { applied: [1, 2, 3, 4, 5], shown: 1 });
});

test("a hidden page, which draws nothing, collects nothing", () => {
    const { inbox, applied } = makeInbox();
    for (let message = 0; message < 1000; message++) inbox.add(message);
    assert.ok(inbox.waiting.length < 10);
    assert.deepEqual(applied.slice(0, 3), [0, 1, 2]);
});

test("a closed inbox shows nothing", () => {
    const { inbox, frame } = makeInbox();
    inbox.add(1);
    inbox.close();
    assert.deepEqual(frame(), { applied: [], shown: 0 });
});

test("only messages that are late for a while are worth a hint, and another one when they come later still", () => {
    let now = 0;
    let hints = 0;
    const arrivals = new Arrivals(() => (hints += 1), () => now);
    const play = (seconds, late) => {
        for (let i = 0; i < seconds * 10; i++) {
            now += 100;
            arrivals.note(now / 1000 + 5 - late); // the kernel's clock is another one
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
