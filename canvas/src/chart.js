// What Python uses: `widget` for a chart that moves (anywidget), `mount` for one that a notebook has saved.

import { Arrivals, Inbox } from "./inbox.js";
import { Store } from "./store.js";
import { View } from "./view.js";

// One store a widget, shared by all its views, for the messages come once. By the trait `chart`: the model is another
// object at every call.
function initialize({ model }) {
    const store = new Store();
    const views = new Set();
    const arrivals = new Arrivals(() => model.send({ late: true }));
    const inbox = new Inbox(([content, buffers]) => store.apply(content, buffers[0]), () => {
        for (const view of views) view.show();
    });
    const receive = (content, buffers) => {
        arrivals.note(content.sent_at);
        inbox.add([content, buffers]);
    };
    model.on("msg:custom", receive);
    charts.set(model.get("chart"), { store, views });
    return () => {
        inbox.close();
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
