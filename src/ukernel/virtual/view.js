// `%ucore board`: the page's half. Draws what the kernel says the board does, and tells it what the sliders say.

const STYLE = `
.ucore-board { box-sizing: border-box; max-width: 760px; padding: 6px 8px; color: var(--jp-content-font-color1, inherit);
    font: 13px/1.45 var(--jp-ui-font-family, system-ui, sans-serif); font-variant-numeric: tabular-nums; }
.ucore-board h4 { margin: 0 0 6px; font-weight: 600; }
.ucore-board h5 { margin: 10px 0 4px; font-weight: 600; opacity: 0.75; }
.ucore-board .pins { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 4px 12px; }
.ucore-board .pin { display: flex; align-items: center; gap: 7px; min-height: 24px; }
.ucore-board .lamp { width: 13px; height: 13px; border-radius: 50%; border: 1px solid color-mix(in srgb, currentColor 45%, transparent); }
.ucore-board .pixels { display: flex; flex-wrap: wrap; gap: 4px; }
.ucore-board .pixels span { width: 18px; height: 18px; border-radius: 4px; border: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
.ucore-board canvas { image-rendering: pixelated; background: #05070a; border-radius: 4px; width: 100%; max-width: 384px; }
.ucore-board .sliders { display: grid; grid-template-columns: max-content minmax(80px, 1fr) 9ch max-content; gap: 3px 9px; align-items: center; }
.ucore-board button { padding: 1px 9px; border: 1px solid color-mix(in srgb, currentColor 35%, transparent); border-radius: 3px;
    background: none; color: inherit; font: inherit; cursor: pointer; }
.ucore-board button[aria-pressed="true"] { background: color-mix(in srgb, currentColor 18%, transparent); }
.ucore-board .quiet { opacity: 0.65; }
.ucore-board [hidden] { display: none; }
`;
const DISPLAY_COLUMNS = 128;
const MAX_VOLTS = 3.3;

function make(kind, { text, ...attributes } = {}, ...children) {
    const element = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    element.append(...children);
    return element;
}

// A pin's row. An output is a lamp, as bright as its share of the time; an input has a button, and a slider for its converter.
class PinRow {
    constructor(pin, say) {
        this.lamp = make("span", { class: "lamp" });
        this.name = make("span", { text: `pin ${pin}` });
        this.how = make("span", { class: "quiet" });
        this.button = make("button", { type: "button", "aria-pressed": "false", title: "Give this input a level; again: leave it to its pull" });
        this.button.onclick = () => {
            const next = { null: 1, 1: 0, 0: null }[this.driven];
            say({ drive: [pin, next] });
        };
        this.element = make("div", { class: "pin", "data-pin": pin }, this.lamp, this.name, this.how, this.button);
    }

    show({ out, analog, level, duty, hz, driven }) {
        const bright = hz ? duty : level;
        this.driven = driven;
        this.lamp.style.background = bright ? `color-mix(in srgb, #ff4d3d ${Math.round(25 + 75 * bright)}%, transparent)` : "transparent";
        this.how.textContent = analog ? "analog" : hz ? `${Math.round(100 * duty)} % at ${hz} Hz` : level ? "high" : "low";
        this.lamp.hidden = analog;
        this.button.hidden = out || analog;
        this.button.textContent = driven === null ? "drive" : driven ? "held high" : "held low";
        this.button.setAttribute("aria-pressed", String(driven !== null));
        this.element.setAttribute("aria-label", `${this.name.textContent}, ${out ? "output" : "input"}, ${this.how.textContent}`);
    }
}

// A slider, its value, and the button that leaves the board its own signal again.
class Slider {
    constructor(grid, label, unit, [low, high, untouched], tell) {
        this.unit = unit;
        this.range = make("input", { type: "range", min: low, max: high, step: (high - low) / 500, "aria-label": label });
        this.range.value = untouched;
        this.value = make("span", { class: "quiet" });
        this.free = make("button", { type: "button", text: "own signal" });
        this.range.oninput = () => tell(Number(this.range.value));
        this.free.onclick = () => tell(null);
        this.cells = [make("span", { text: label }), this.range, this.value, this.free];
        grid.append(...this.cells);
    }

    show(value) {
        this.free.style.visibility = value === null ? "hidden" : "visible"; // it keeps its place in the grid
        this.value.textContent = value === null ? "own signal" : `${Number(value.toPrecision(5))} ${this.unit}`;
        if (value !== null && document.activeElement !== this.range) this.range.value = value;
    }
}

function drawDisplay(canvas, dots, { on, inverted, rows }) {
    const context = canvas.getContext("2d");
    canvas.height = rows || 64;
    const image = context.createImageData(DISPLAY_COLUMNS, canvas.height);
    for (let y = 0; y < canvas.height; y++) {
        for (let x = 0; x < DISPLAY_COLUMNS; x++) {
            const lit = on && ((dots[(y >> 3) * DISPLAY_COLUMNS + x] >> (y & 7)) & 1) !== Number(inverted);
            const at = 4 * (y * DISPLAY_COLUMNS + x);
            image.data.set(lit ? [125, 211, 252, 255] : [5, 7, 10, 255], at);
        }
    }
    context.putImageData(image, 0, 0);
}

function render({ model, el }) {
    const say = (content) => {
        try {
            model.send(content);
        } catch (error) {
            console.debug("%ucore board:", error); // a kernel that has gone
        }
    };
    const pins = make("div", { class: "pins" });
    const empty = make("div", { class: "quiet", text: "No program has touched a pin yet." });
    const voltages = make("div", { class: "sliders" });
    const pixels = make("div", { class: "pixels", role: "img" });
    const canvas = make("canvas", { width: DISPLAY_COLUMNS, height: 64, role: "img", "aria-label": "display" });
    const sensors = make("div", { class: "sliders" });
    const ended = make("div", { class: "quiet", role: "status" });
    const headings = Object.fromEntries(
        [["voltages", "Analog inputs"], ["pixels", "Pixels"], ["display", "Display"], ["sensors", "What the sensors see"]]
            .map(([key, text]) => [key, make("h5", { text })]),
    );
    const root = make("div", { class: "ucore-board" }, make("style", { text: STYLE }), make("h4", { text: model.get("title") }), empty, pins,
        headings.voltages, voltages, headings.pixels, pixels, headings.display, canvas, headings.sensors, sensors, ended);
    el.append(root);

    const rows = new Map();
    const volts = new Map();
    const quantities = new Map();
    for (const [name, [label, unit, low, high, untouched]] of Object.entries(model.get("ranges"))) {
        quantities.set(name, new Slider(sensors, label, unit, [low, high, untouched], (value) => say({ sense: [name, value] })));
    }

    const show = () => {
        const state = model.get("state");
        if (!state.pins) return;
        for (const pin of state.pins) {
            if (!rows.has(pin.pin)) {
                const row = new PinRow(pin.pin, say);
                rows.set(pin.pin, row);
                const after = [...rows.keys()].filter((number) => number > pin.pin).sort((a, b) => a - b)[0];
                pins.insertBefore(row.element, after === undefined ? null : rows.get(after).element);
            }
            rows.get(pin.pin).show(pin);
            if (pin.analog && !volts.has(pin.pin)) {
                volts.set(pin.pin, new Slider(voltages, `pin ${pin.pin}`, "V", [0, MAX_VOLTS, 1.65], (value) => say({ volts: [pin.pin, value] })));
            }
            volts.get(pin.pin)?.show(pin.volts);
        }
        for (const [number, row] of rows) row.element.hidden = !state.pins.some((pin) => pin.pin === number);
        empty.hidden = state.pins.length > 0;
        headings.voltages.hidden = volts.size === 0;
        headings.pixels.hidden = state.pixels.length === 0;
        pixels.replaceChildren(...state.pixels.map((colour) => make("span", { style: `background: ${colour}`, title: colour })));
        pixels.setAttribute("aria-label", `${state.pixels.length} pixels: ${state.pixels.join(" ")}`);
        canvas.hidden = headings.display.hidden = !state.display.on;
        for (const [name, slider] of quantities) slider.show(state.sensors[name]);
        drawDots();
    };
    const drawDots = () => {
        const dots = model.get("dots");
        if (dots?.byteLength) drawDisplay(canvas, new Uint8Array(dots.buffer ?? dots, dots.byteOffset ?? 0, dots.byteLength), model.get("state").display);
    };
    const end = () => {
        ended.textContent = model.get("ended");
    };
    model.on("change:state", show);
    model.on("change:dots", drawDots);
    model.on("change:ended", end);
    show();
    end();
    return () => {
        model.off("change:state", show);
        model.off("change:dots", drawDots);
        model.off("change:ended", end);
    };
}

export default { render };
