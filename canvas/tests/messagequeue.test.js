import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageQueue } from "../src/messagequeue.js";

// A queue and the screen's pictures, which come when they are called.
function makeQueue() {
    const applied = [];
    const frames = [];
    let shown = 0;
    const queue = new MessageQueue((message) => applied.push(message), () => (shown += 1), (draw) => frames.push(draw));
    const frame = () => {
        for (const draw of frames.splice(0)) draw();
        return { applied: applied.splice(0), shown };
    };
    return { queue, frame, frames, applied };
}

test("two messages for one picture are two pictures", () => {
    const { queue, frame, frames } = makeQueue();
    queue.add(1);
    queue.add(2);
    assert.deepEqual(frame(), { applied: [1], shown: 1 });
    assert.deepEqual(frame(), { applied: [2], shown: 2 });
    assert.equal(frames.length, 0);
});

test("where many wait, all are for the next picture", () => {
    const { queue, frame } = makeQueue();
    for (const message of [1, 2, 3, 4, 5]) queue.add(message);
    assert.deepEqual(frame(), { applied: [1, 2, 3, 4, 5], shown: 1 });
});

test("a hidden page, which draws nothing, collects nothing", () => {
    const { queue, applied } = makeQueue();
    for (let message = 0; message < 1000; message++) queue.add(message);
    assert.ok(queue.waiting.length < 10);
    assert.deepEqual(applied.slice(0, 3), [0, 1, 2]);
});

test("a closed queue shows nothing", () => {
    const { queue, frame } = makeQueue();
    queue.add(1);
    queue.close();
    assert.deepEqual(frame(), { applied: [], shown: 0 });
});
