// Messages between their arrival and the screen's next picture.

const WAITING = 3; // messages that may wait for a picture of their own

// Hands over one message for each picture of the screen: they come unevenly, and two for one picture would be a jump and
// a stop. Where more wait than should, the page is behind, and all are for the next picture.
export class MessageQueue {
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
