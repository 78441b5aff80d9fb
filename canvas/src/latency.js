// How long messages of the kernel are on their way.

const LATE_S = 0.5; // a message this much later than the quickest is late
const HINT_MS = 1000; // of nothing but late messages are worth a hint: a hiccup is not

// Notices when messages pile up on their way: then they come later and later after they were sent. Clocks differ, and jump
// when a computer sleeps, so the quickest message is the measure; it ages a little, and after a hint it is measured anew.
export class Latency {
    constructor(onLate, now = () => performance.now()) {
        this.onLate = onLate;
        this.now = now;
        this.quickest = Infinity;
        this.lateSince = null;
    }

    note(sentAt) {
        const now = this.now();
        const took = now / 1000 - sentAt;
        this.quickest = Math.min(this.quickest + 1e-5, took);
        if (took - this.quickest < LATE_S) this.lateSince = null;
        else this.lateSince ??= now;
        if (this.lateSince !== null && now - this.lateSince >= HINT_MS) {
            this.lateSince = null;
            this.quickest = took;
            this.onLate();
        }
    }
}
