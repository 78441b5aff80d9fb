// What the kernel has sent: for each trace the bins of its window. Knows nothing of pixels.
//
// A bin is `step` samples: their value, where step is 1, else their lowest and their highest value, channel by channel
// (`width` numbers in all). Where step is 0 a bin is a span of time. Bins are numbered, so a message says exactly where it belongs.

export class Store {
    constructor() {
        this.traces = [];
        this.options = null; // title, units, x, window, span, height, fixed, names; null until something whole has come
        this.state = "waiting";
        this.notes = [];
        this.rates = [];
        this.stats = []; // by trace and channel: lowest, highest, mean; null where there is no value
        this.x = [0, 1];
        this.y = [-1, 1];
        this.number = -1; // of the last message
        this.missed = 0; // messages that never came
        this.paused = false;
        this.silent = false; // nothing has come for long
        this.gone = false; // the kernel has ended or restarted
    }

    // Takes in a message. Returns whether there is anything new to see.
    apply(content, bytes) {
        if (content.number > this.number + 1 && this.number >= 0) this.missed += content.number - this.number - 1;
        this.number = content.number ?? this.number;
        if (this.paused && content.state !== "stopped" && !(content.frozen && this.#isNear(content))) return false;
        if (content.options) {
            this.options = content.options;
            if (content.traces.length !== this.traces.length) this.traces = content.traces.map(() => new Trace());
        }
        if (!this.options) return false; // what came before is needed; the next whole message has it
        Object.assign(this, { state: content.state, notes: content.notes, rates: content.rates, x: content.x, y: content.y });
        this.stats = content.stats ?? this.stats;
        const numbers = new Numbers(bytes, content.wide);
        const times = content.traces.map((part) => (this.timed ? numbers.take(part.count, true) : null));
        content.traces.forEach((part, i) => this.traces[i].take(part, times[i], numbers.take(part.count * part.width)));
        return true;
    }

    // The lowest and the highest value and the mean, by trace and channel; null where there is no value.
    figures() {
        return this.traces.map((trace, i) => Array.from({ length: trace.channels }, (_, channel) => trace.figures(channel, this.stats[i]?.[channel]?.[2])));
    }

    // Whether the horizontal axis is one of time.
    get timed() {
        return this.options.x !== "samples";
    }

    // When the newest sample of all was taken, in the kernel's seconds.
    get newest() {
        return Math.max(...this.traces.map((trace) => trace.newest));
    }

    // Where 0 of the x axis is, in what does not move with the chart: a time, or the number of a sample of the first trace.
    get origin() {
        return this.timed ? this.newest : this.traces[0].offset;
    }

    // Whether a picture made for a pause is still about the one that the page stands on.
    #isNear(content) {
        if (!this.options) return false;
        const { window, span } = this.options;
        return content.traces.every((part, i) => {
            const trace = this.traces[i];
            return span ? !part.count || part.newest - trace.newest <= span / 10 : part.seen - trace.seen <= window / 10;
        });
    }
}

class Trace {
    constructor() {
        this.first = 0; // number of the first bin
        this.count = 0;
        this.step = 1;
        this.width = 0;
        this.seen = 0; // samples
        this.offset = 0; // number of the first sample in the window
        this.newest = -Infinity;
        this.latest = []; // the values of the newest sample; null for what is no number
        this.breaks = []; // where the line is interrupted: { row, from, to, lost, why }; `row` is the bin after it
        this.start = this.room = 0;
        this.values = this.times = null;
    }

    get channels() {
        return this.step === 1 ? this.width : this.width / 2;
    }

    take(part, times, values) {
        const { oldest } = part;
        const all = part.first <= oldest && part.count > 0;
        if (all) this.#reset(part, Boolean(times));
        // One was lost: the next whole one mends it.
        else if (part.count && (!this.count || part.step !== this.step || part.first > this.first + this.count)) return;
        this.seen = part.seen;
        this.offset = part.offset;
        this.newest = part.newest ?? -Infinity;
        this.latest = part.values;
        if (part.count) {
            this.count = part.first - this.first;
            this.#append(part.count, times, values);
        }
        const gone = Math.min(oldest - this.first, this.count);
        if (gone > 0) {
            this.start += gone;
            this.first += gone;
            this.count -= gone;
        }
        const kept = all ? [] : this.breaks.filter(({ row }) => row > oldest && row < part.first);
        this.breaks = kept.concat(part.breaks.map(([row, from, to, lost, why]) => ({ row, from, to, lost, why })));
    }

    #reset(part, timed) {
        Object.assign(this, { first: part.first, count: 0, start: 0, step: part.step, width: part.width });
        this.room = 2 * (part.count + 2);
        this.values = new Float64Array(this.room * part.width);
        this.times = timed ? new Float64Array(this.room) : null;
    }

    #append(count, times, values) {
        const needed = this.count + count;
        if (this.start + needed > this.room) {
            // Twice what is needed: bins move once in a while, not at every message.
            if (2 * needed > this.room) this.room = 2 * needed;
            const move = (from, width) => {
                const to = from.length < this.room * width ? new Float64Array(this.room * width) : from;
                if (to === from) to.copyWithin(0, this.start * width, (this.start + this.count) * width);
                else to.set(from.subarray(this.start * width, (this.start + this.count) * width));
                return to;
            };
            this.values = move(this.values, this.width);
            if (this.times) this.times = move(this.times, 1);
            this.start = 0;
        }
        const end = this.start + this.count;
        this.values.set(values, end * this.width);
        if (times) this.times.set(times, end);
        this.count += count;
    }

    // The lowest and the highest value of a channel, and the mean: that of `mean` where the samples themselves are not here.
    figures(channel, mean) {
        let low = Infinity;
        let high = -Infinity;
        let sum = 0;
        let count = 0;
        for (let i = 0; i < this.count; i++) {
            const value = this.low(i, channel);
            if (value !== value) continue;
            if (value < low) low = value;
            const top = this.high(i, channel);
            if (top > high) high = top;
            sum += value;
            count += 1;
        }
        if (!count) return null;
        return [low, high, this.step === 1 ? sum / count : Math.min(Math.max(mean ?? NaN, low), high)];
    }

    // Where bin i of those kept is on the x axis: a position in the window, or seconds before `newest`.
    x(i, newest) {
        if (this.times) return this.times[this.start + i] - newest;
        return (this.first + i) * this.step + (this.step - 1) / 2 - this.offset;
    }

    // Where something is on the x axis that is known by its time, or by the number of a sample.
    position(at, newest) {
        return at - (this.times ? newest : this.offset);
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

    // The bin whose value stands for x: -1 where there is none, before the first and after the last one by more than `margin`
    // or the distance of the two there, and where the line is interrupted.
    at(x, newest, margin) {
        const i = this.nearest(x, newest);
        if (i < 0) return -1;
        const distance = x - this.x(i, newest);
        const next = distance < 0 ? i - 1 : i + 1;
        if (this.breaks.some(({ row, from, to }) => row === this.first + Math.max(i, next)
            && x > this.position(from, newest) && x < this.position(to, newest) && Math.abs(distance) > margin)) return -1;
        if (next >= 0 && next < this.count) return i;
        const inner = 2 * i - next; // on the other side
        const step = inner >= 0 && inner < this.count ? Math.abs(this.x(i, newest) - this.x(inner, newest)) : 0;
        return Math.abs(distance) <= Math.max(margin, step) ? i : -1;
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
