// The buttons of a chart.

import uPlot from "uplot";
import { download, fileName, paint, writeCsv } from "./export.js";

export class Toolbar {
    constructor(make, view) {
        this.view = view;
        const button = (text, title, action) => {
            const made = make("button", "", { type: "button", title }, text);
            made.addEventListener("click", action);
            return made;
        };
        this.all = button("Show all", "Leave the zoom", () => view.showAll());
        this.pause = button("Pause", "Hold the picture; samples go on being taken in", () => view.pause(!view.store.paused));
        this.autoscale = button("Autoscale", "The y axis follows the values", () => view.autoscale());
        this.clear = button("Clear", "Forget the samples shown, and begin anew", () => view.clear());
        this.png = button("PNG", "Save the picture", () => this.#savePicture());
        this.csv = button("CSV", "Save what is shown as a table", () => this.#saveTable());
        this.all.hidden = true;
        this.root = make("div", "tools", { role: "toolbar", "aria-label": "chart" }, this.all, this.pause, this.clear, this.autoscale, this.png, this.csv);
    }

    show() {
        const { view } = this;
        const { paused, state } = view.store;
        const moves = state !== "stopped";
        this.all.hidden = !view.zoom;
        this.pause.hidden = !view.onPause || !moves;
        this.clear.hidden = !view.onClear || !moves;
        const word = paused ? "Resume" : "Pause";
        if (this.pause.textContent !== word) this.pause.textContent = word;
        this.autoscale.setAttribute("aria-pressed", view.follows);
    }

    #savePicture() {
        const { lines, theme, plot, store } = this.view;
        const canvas = paint({ title: store.options.title, lines, canvas: plot.ctx.canvas, theme, ratio: uPlot.pxRatio });
        canvas.toBlob((blob) => download(fileName(store.options.title, "png"), blob));
    }

    #saveTable() {
        const { store } = this.view;
        download(fileName(store.options.title, "csv"), new Blob([writeCsv(store)], { type: "text/csv" }));
    }
}
