// The lines of a chart in a grid: name, value, lowest, highest, mean, rate. A click on a name hides its line.

import { formatRate, NONE } from "./numbers.js";

const HEADS = ["", "value", "min", "max", "mean", "per s"];

export class Legend {
    constructor(make) {
        this.make = make;
        this.root = make("div", "legend", { role: "group", "aria-label": "lines" });
        this.rows = []; // by line: its cells
    }

    // `lines`: { name, colour, hidden }. `toggle` hides one or shows it, and says whether it is hidden by then.
    name(lines, toggle) {
        const { make } = this;
        this.rows = lines.map((line) => {
            const { name, colour, hidden } = line;
            const swatch = make("span", "swatch", { style: `background:${colour}` });
            const button = make("button", "", { type: "button", "aria-pressed": !hidden, title: "Show or hide this line" }, swatch, make("span", "name", {}, name));
            button.addEventListener("click", () => button.setAttribute("aria-pressed", !toggle(line)));
            const cells = HEADS.slice(1).map((head, i) => make("span", i === 0 ? "value" : "stat", i === 0 ? { style: `color:${colour}` } : {}));
            return { button, cells };
        });
        const heads = HEADS.map((head) => make("span", "stat-head", {}, head));
        this.root.replaceChildren(...heads, ...this.rows.flatMap(({ button, cells }) => [button, ...cells]));
    }

    // `values`: by line, as text. `stats`: [lowest, highest, mean] or null. `rates`: samples a second or null.
    show(values, stats, rates, scale, heading) {
        setText(this.root.children[1], heading);
        this.rows.forEach(({ cells }, i) => {
            const [low, high, mean] = stats[i] ?? [null, null, null];
            const texts = [values[i] ?? NONE, ...[low, high, mean].map((value) => scale.number(value)), rates[i] === null ? "" : formatRate(rates[i])];
            cells.forEach((cell, j) => setText(cell, texts[j]));
        });
    }
}

// A text that has not changed is not laid out again.
export function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}
