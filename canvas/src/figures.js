// The lowest, the highest and the mean value of each line, as they are read beside the picture.

const PAUSE_MS = 250; // between two of them: nobody reads faster

export class Figures {
    constructor() {
        this.found = []; // by trace and channel
        this.at = -Infinity;
    }

    // Returns in how many milliseconds to ask again, where they are older than what is shown; 0 where they are not.
    update(store, now) {
        const rest = this.at + PAUSE_MS - now;
        if (rest > 0 && store.state !== "stopped") return rest;
        this.at = now;
        this.found = store.figures();
        return 0;
    }

    // Of one line; undefined or null where there are none. The newest value may be newer than they are.
    of(store, trace, channel) {
        const found = this.found[trace]?.[channel];
        const newest = store.traces[trace]?.latest[channel] ?? NaN;
        if (!found || newest !== newest) return found;
        return [Math.min(found[0], newest), Math.max(found[1], newest), found[2]];
    }
}
