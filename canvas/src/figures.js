// The lowest, the highest and the mean value of each line, as they are read beside the picture.

const PAUSE_MS = 250; // between two of them: nobody reads faster

export class Figures {
    constructor() {
        this.found = []; // by trace and channel
        this.at = -Infinity;
    }

    update(store, now) {
        if (now - this.at < PAUSE_MS && store.state !== "stopped") return;
        this.at = now;
        this.found = store.figures();
    }

    // Of one line; undefined or null where there are none. The newest value may be newer than they are.
    of(store, trace, channel) {
        const found = this.found[trace]?.[channel];
        const newest = store.traces[trace]?.latest[channel] ?? NaN;
        if (!found || newest !== newest) return found;
        return [Math.min(found[0], newest), Math.max(found[1], newest), found[2]];
    }
}
