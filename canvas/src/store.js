// What the kernel has sent: for each trace the bins of its window. Knows nothing of pixels.
//
// A bin is `step` samples: their value, where step is 1, else their lowest and their highest value, channel by channel
// (`width` numbers in all). Bins are numbered from the first sample ever, so a message says exactly where it belongs.

const GREW = 2; // room for twice the bins of a window: they move once in a while, not at every message

export class Store {
    constructor() {
        this.traces = [];
        this.look = null; // title, units, x, window, names; null until something whole has come
        this.state = "waiting";
        this.notes = [];
        this.rates = [];
        this.x = [0, 1];
        this.y = [-1, 1];
        this.number = -1; // of the last message
        this.missed = 0; // messages that never came
        this.paused = false;
        this.silent = false; // nothing has come for long
    }

    // Takes in a message. Returns whether there is anything new to see.
    apply(content, bytes) {
        if (content.number > this.number + 1 && this.number >= 0) this.missed += content.number - this.number - 1;
        this.number = content.number ?? this.number;
        if (this.paused && content.state !== "stopped" && !(content.frozen && this.#isNear(content))) return false;
        if (content.look) {
            this.look = content.look;
            if (content.traces.length !== this.traces.length) this.traces = content.traces.map(() => new Trace());
        }
        if (!this.look) return false; // what came before is needed; the next whole message has it
        Object.assign(this, { state: content.state, notes: content.notes, rates: content.rates, x: content.x, y: content.y });
        const numbers = new Numbers(bytes, content.wide);
        const timed = this.look.x === "seconds";
        const times = content.traces.map((part) => (timed ? numbers.take(part.count, true) : null));
        content.traces.forEach((part, i) => {
            this.traces[i].take(part, times[i], numbers.take(part.count * part.width), this.look.window);
        });
        return true;
    }

    // When the newest sample of all was taken, in the kernel's seconds.
    get newest() {
        return Math.max(...this.traces.map((trace) => trace.newest));
    }

    // Whether a picture made for a pause is still about the one that the page stands on.
    #isNear(content) {
        const window = this.look?.window ?? 0;
        return content.traces.every((part, i) => part.seen - (this.traces[i]?.seen ?? 0) <= window / 10);
    }
}

class Trace {
    constructor() {
        this.first = 0; // number of the first bin
        this.count = 0;
        this.step = 1;
        this.width = 0;
        this.seen = 0; // samples
        this.newest = -Infinity;
        this.window = 0;
    }

    get channels() {
        return this.step === 1 ? this.width : this.width / 2;
    }

    take(part, times, values, window) {
        const oldest = Math.floor(Math.max(0, part.seen - window) / part.step);
        const all = part.first <= oldest && part.count > 0;
        if (all) this.#reset(part, Boolean(times), window);
        // One was lost: the next whole one mends it.
        else if (!this.count || part.step !== this.step || part.first > this.first + this.count) return;
        this.seen = part.seen;
        this.newest = part.newest ?? -Infinity;
        if (part.count) this.count = part.first - this.first;
        this.#append(part.count, times, values);
        const gone = oldest - this.first;
        if (gone > 0) {
            this.start += gone;
            this.first += gone;
            this.count -= gone;
        }
    }

    #reset(part, timed, window) {
        Object.assign(this, { first: part.first, count: 0, start: 0, step: part.step, width: part.width, window });
        this.room = GREW * (Math.ceil(window / part.step) + 2);
        this.values = new Float64Array(this.room * part.width);
        this.times = timed ? new Float64Array(this.room) : null;
    }

    #append(count, times, values) {
        if (this.start + this.count + count > this.room) {
            const end = this.start + this.count;
            this.values.copyWithin(0, this.start * this.width, end * this.width);
            this.times?.copyWithin(0, this.start, end);
            this.start = 0;
        }
        const end = this.start + this.count;
        this.values.set(values, end * this.width);
        if (times) this.times.set(times, end);
        this.count += count;
    }

    // Where bin i of those kept is on the x axis: a position in the window, or seconds before `newest`.
    x(i, newest) {
        if (this.times) return this.times[this.start + i] - newest;
        return (this.first + i) * this.step + (this.step - 1) / 2 - Math.max(0, this.seen - this.window);
    }

    low(i, channel) {
        return this.values[(this.start + i) * this.width + channel];
    }

    high(i, channel) {
        return this.values[(this.start + i + 1) * this.width - this.channels + channel];
    }

    // The number, among those kept, of the first bin at x or after it.
    find(x, newest) {
        let low = 0;
        let high = this.count;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.x(middle, newest) < x) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    // The bin closest to x, -1 where there is none.
    nearest(x, newest) {
        const after = this.find(x, newest);
        if (after === 0 || after === this.count) return Math.min(after, this.count - 1);
        return this.x(after, newest) - x < x - this.x(after - 1, newest) ? after : after - 1;
    }
}

// The numbers of a message, one run after the other.
class Numbers {
    constructor(bytes, wide) {
        // A view into a larger buffer may begin anywhere; numbers must not.
        const { buffer, byteOffset, byteLength } = bytes;
        this.buffer = byteOffset % 8 ? buffer.slice(byteOffset, byteOffset + byteLength) : buffer;
        this.offset = byteOffset % 8 ? 0 : byteOffset;
        this.wide = wide;
    }

    take(count, wide = this.wide) {
        const numbers = wide
            ? new Float64Array(this.buffer, this.offset, count)
            : new Float32Array(this.buffer, this.offset, count);
        this.offset += numbers.byteLength;
        return numbers;
    }
}
