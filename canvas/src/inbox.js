// Messages between their arrival and the screen's next picture.

const LATE_S = 0.5; // a message this much later than the quickest is late
const HINT_MS = 1000; // of nothing but late messages are worth a hint: a hiccup is not
const WAITING = 3; // messages that may wait for a picture of their own

// Hands over one message for each picture of the screen: they come unevenly, and two for one picture would be a jump and
// a stop. Where more wait than should, the page is behind, and all are for the next picture.
export class Inbox {
    constructor(apply, show, request = (draw) => requestAnimationFrame(draw)) {
        Object.assign(this, { apply, show, request });
        this.waiting = [];
        this.frame = null;
    }

    add(message) {
        this.waiting.push(message);
        // A hidden page draws nothing; it must not collect, either.
        if (this.waiting.length > 2 * WAITING) this.#apply(this.waiting.length);
        this.#schedule();
    }

    close() {
        this.waiting = [];
        this.show = () => {};
    }

    #schedule() {
        this.frame ??= this.request(() => {
            this.frame = null;
            this.#apply(this.waiting.length > WAITING ? this.waiting.length : 1);
            this.show();
            if (this.waiting.length) this.#schedule();
        });
    }

    #apply(count) {
        for (const message of this.waiting.splice(0, count)) this.apply(message);
    }
}

// Notices when messages pile up on their way: then they come later and later after they were sent. Clocks differ, and jump
// when a computer sleeps, so the quickest message is the measure; it ages a little, and after a hint it is measured anew.
export class Arrivals {
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
