// What Python uses: `widget` for a chart that moves (anywidget), `mount` for one that a notebook has saved.

import { Latency } from "./latency.js";
import { MessageQueue } from "./messagequeue.js";
import { Store } from "./store.js";
import { View } from "./view.js";

const LIVING = ["idle", "busy", "starting"]; // of a kernel
const SILENCE_MS = 10_000; // a kernel that is there says something every three seconds

// A kernel that has gone, or is about to, hears nothing; the chart will be told.
function say(model, content) {
    try {
        model.send(content);
    } catch (error) {
        console.debug("live_plot:", error);
    }
}

// One store a widget, shared by all its views, for the messages come once. By the trait `chart`: the model is another
// object at every call.
function initialize({ model }) {
    const store = new Store();
    const views = new Set();
    const latency = new Latency(() => say(model, { late: true }));
    const queue = new MessageQueue(([content, buffers]) => store.apply(content, buffers[0]), () => {
        for (const view of views) view.show();
    });
    let heardAt = performance.now();
    const watch = setInterval(() => {
        const silent = store.state !== "stopped" && performance.now() - heardAt > SILENCE_MS;
        if (silent !== store.silent && !store.gone) {
            store.silent = silent;
            for (const view of views) view.update();
        }
    }, SILENCE_MS / 5);
    // The front end's manager of widgets gives them up when the kernel restarts or ends; no message of ours would ever say so.
    const checkKernel = () => {
        if (store.state === "stopped" || LIVING.includes(model.widget_manager?.kernel?.status)) return;
        store.gone = true;
        for (const view of views) view.update();
    };
    const receive = (content, buffers) => {
        heardAt = performance.now();
        store.gone = false;
        // Another page of this notebook is paused, and this one is not: it goes on, and the other one stands still by itself.
        if (content.frozen && !store.paused) say(model, { paused: false });
        latency.note(content.sent_at);
        queue.add([content, buffers]);
    };
    model.on("msg:custom", receive);
    model.on("comm_live_update", checkKernel);
    charts.set(model.get("chart"), { store, views });
    return () => {
        clearInterval(watch);
        queue.close();
        model.off("msg:custom", receive);
        model.off("comm_live_update", checkKernel);
        charts.delete(model.get("chart"));
    };
}

function render({ model, el }) {
    const { store, views } = charts.get(model.get("chart"));
    const view = new View(el, store, {
        onColumns: () => say(model, { columns: Math.max(...[...views].map((one) => one.columns ?? 0)) }),
        onPause: (paused) => {
            say(model, { paused });
            for (const one of views) one.update();
        },
        onClear: () => say(model, { clear: true }),
        staticOutput: model.get("chart"),
        state: chosen(model.get("chart")),
    });
    views.add(view);
    el.ucoreView = view; // for tests, and for the curious
    view.update();
    say(model, { ready: true, paused: store.paused });
    return () => {
        views.delete(view);
        view.destroy();
        delete el.ucoreView; // JupyterLab goes on holding the element
        say(model, { gone: true });
    };
}

const charts = new Map();

// What somebody has chosen in a chart (zoom, hidden lines): the saved one that takes its place brings its own copy of this code.
function chosen(chart) {
    window.ucoreChosen ??= {};
    return (window.ucoreChosen[chart] ??= {});
}

export const widget = { initialize, render };

// Shows a message of the kernel's that was saved, in the element with this mark. Where scripts may not run, the picture
// that is in there stays.
export function mount(mark, { buffer, ...content }) {
    const found = [...document.querySelectorAll(`[data-ucore-chart="${mark}"]`)];
    const element = found.find((one) => !one.ucoreView);
    if (!element) return;
    const store = new Store();
    store.apply(content, Uint8Array.from(atob(buffer), (letter) => letter.charCodeAt(0)));
    const view = new View(element, store, { state: content.chart ? { ...chosen(content.chart) } : {} });
    element.ucoreView = view;
    view.update();
}
