// What Python uses: `widget` for a chart that moves (anywidget), `mount` for one that a notebook has saved.

import { Store } from "./store.js";
import { View } from "./view.js";

const LATE_S = 0.5; // a message this much later than the quickest is late
const HINT_MS = 1000; // between two hints about that

// One store a widget, shared by all its views, for the messages come once. By the trait `chart`: the model is another
// object at every call.
function initialize({ model }) {
    const store = new Store();
    const views = new Set();
    const arrivals = new Arrivals(() => model.send({ late: true }));
    const receive = (content, buffers) => {
        arrivals.note(content.sent_at);
        if (store.apply(content, buffers[0])) for (const view of views) view.update();
    };
    model.on("msg:custom", receive);
    charts.set(model.get("chart"), { store, views });
    return () => {
        model.off("msg:custom", receive);
        charts.delete(model.get("chart"));
    };
}

function render({ model, el }) {
    const { store, views } = charts.get(model.get("chart"));
    const view = new View(el, store, {
        onColumns: () => model.send({ columns: Math.max(...[...views].map((one) => one.columns ?? 0)) }),
        onPause: (paused) => {
            model.send({ paused });
            for (const one of views) one.update();
        },
    });
    views.add(view);
    el.ucoreView = view; // for tests, and for the curious
    view.update();
    model.send({ ready: true });
    return () => {
        views.delete(view);
        view.destroy();
    };
}

const charts = new Map();

export const widget = { initialize, render };

// Shows a message of the kernel's that was saved, in the element with this mark. Where scripts may not run, the picture
// that is in there stays.
export function mount(mark, { buffer, ...content }) {
    const found = [...document.querySelectorAll(`[data-ucore-chart="${mark}"]`)];
    const element = found.find((one) => !one.ucoreView);
    if (!element) return;
    const store = new Store();
    store.apply(content, Uint8Array.from(atob(buffer), (letter) => letter.charCodeAt(0)));
    const view = new View(element, store);
    element.ucoreView = view;
    view.update();
}

// Notices when messages pile up on their way: then they come later and later after they were sent. Clocks differ, so
// the quickest message of all is the measure; it ages a little, for clocks drift.
class Arrivals {
    constructor(onLate) {
        this.onLate = onLate;
        this.quickest = Infinity;
        this.hintedAt = -Infinity;
    }

    note(sentAt) {
        const now = performance.now();
        const took = now / 1000 - sentAt;
        this.quickest = Math.min(this.quickest + 1e-5, took);
        if (took - this.quickest > LATE_S && now - this.hintedAt > HINT_MS) {
            this.hintedAt = now;
            this.onLate();
        }
    }
}
