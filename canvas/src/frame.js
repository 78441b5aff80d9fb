// What stands around the axes: title and newest value above them, notes below, and the words for those who do not see the picture.

import plotStyle from "uplot/dist/uPlot.min.css";
import { Keys } from "./keys.js";
import { setText } from "./legend.js";
import ownStyle from "./style.css";
import { describe, describeState } from "./text.js";

const WORDS_MS = 2000; // between two texts for those who do not see the picture
const SILENT = { kind: "warning", text: "nothing has been heard from the notebook's kernel for a while: it may have ended or restarted" };
const GONE = { kind: "warning", text: "the notebook's kernel has ended or restarted: run the cell again for a chart that moves" };

// An element; `name` is its class, without our prefix.
export function make(tag, name, attributes = {}, ...children) {
    const made = document.createElement(tag);
    if (name) made.className = name.split(" ").map((one) => `ucore-${one}`).join(" ");
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
}

export class Frame {
    // `staticOutput`: a selector of what is hidden as long as this is on the page.
    constructor(element, [tools, legend], staticOutput) {
        const parts = {
            title: make("span", "title"),
            newest: make("span", "newest"),
            plot: make("div", "plot"),
            above: make("div", "off above"),
            below: make("div", "off below"),
            measured: make("div", "measured"),
            state: make("span", "state"),
            stats: make("span", "stats"),
            notes: make("div", "notes", { role: "status" }),
            spoken: make("div", "description", { "aria-live": "polite" }),
            description: make("div", "description"),
        };
        parts.description.id = `ucore-${Math.random().toString(36).slice(2)}`;
        const style = make("style", "", {}, plotStyle, ownStyle, staticOutput ? `${staticOutput}, .jp-OutputArea-child:has(${staticOutput}) { display: none; }` : "");
        const head = make("div", "head", {}, parts.title, parts.newest, tools);
        const foot = make("div", "foot", {}, parts.state, parts.notes, parts.stats);
        this.root = make(
            "div", "chart",
            // Otherwise JupyterLab takes letters and arrows for its own.
            { tabindex: 0, role: "figure", "aria-describedby": parts.description.id, "data-lm-suppress-shortcuts": "true", title: "" },
            style, head, legend, parts.plot, foot, parts.spoken, parts.description,
        );
        this.parts = parts;
        element.replaceChildren(this.root);
    }

    // `colour`: of the newest value; null where there are several lines, which have theirs in the legend.
    name(title, colour) {
        const { parts } = this;
        setText(parts.title, title);
        this.root.setAttribute("aria-label", `Live plot of ${title}. ${Keys.HELP}`);
        parts.newest.hidden = colour === null;
        parts.newest.style.color = colour ?? "";
    }

    // Says what the store has to say.
    say({ store, scale, theme, isOne, figures }) {
        const { parts, root } = this;
        root.dataset.theme = theme.dark ? "dark" : "light";
        root.dataset.state = store.paused && store.state !== "stopped" ? "paused" : store.state;
        setText(parts.state, describeState(store, isOne));
        const notes = store.gone ? [GONE] : store.silent ? [...store.notes, SILENT] : store.notes;
        const noted = JSON.stringify(notes);
        if (noted !== this.noted) {
            this.noted = noted;
            parts.notes.replaceChildren(...notes.map((note) => make("div", "note", { "data-kind": note.kind }, note.text)));
        }
        const stats = isOne ? figures.of(store, 0, 0) : null;
        setText(parts.stats, stats ? `min ${scale.number(stats[0])}  max ${scale.number(stats[1])}  mean ${scale.number(stats[2])}` : "");
        const [trace] = store.traces;
        setText(parts.newest, isOne && trace?.count ? scale.text(trace.latest[0] ?? NaN) : "");
        const now = performance.now();
        if (!(now - this.worded < WORDS_MS) || store.state === "stopped") {
            this.worded = now;
            setText(parts.description, [describe(store, scale, figures.found), parts.above.textContent, parts.below.textContent].filter(Boolean).join(" "));
        }
    }

    // Arrows where values are beyond the limits of the y axis.
    pointOff({ scale, store, extent, zoom, follower }, [low, high]) {
        const { above, below } = this.parts;
        const hint = store.options.fixed && !zoom?.y && !follower ? ": ylim=None follows them" : "";
        setText(above, extent[1] > high ? `▲ values up to ${scale.text(extent[1])}${hint}` : "");
        setText(below, extent[0] < low ? `▼ values down to ${scale.text(extent[0])}${hint}` : "");
    }
}
