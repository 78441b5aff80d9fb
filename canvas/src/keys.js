// What keys do, where the chart has the focus.

const ZOOM_STEP = 1.5;
const PAN_STEP = 0.2;
const CROSSHAIR_STEPS = 50; // across the picture

export class Keys {
    static HELP = "Space pauses, + and − zoom, 0 shows everything, A follows the values, ← and → move the crosshair, with Shift the picture, M marks a point to measure from there to the next.";

    constructor(view) {
        this.view = view;
        this.press = (event) => this.#press(event);
        this.actions = {
            " ": () => view.pause(!view.store.paused),
            p: () => view.pause(!view.store.paused),
            "+": () => this.#zoomBy(1 / ZOOM_STEP),
            "=": () => this.#zoomBy(1 / ZOOM_STEP),
            "-": () => this.#zoomBy(ZOOM_STEP),
            0: () => view.showAll(),
            Escape: () => view.showAll(),
            a: () => view.autoscale(),
            m: () => this.#mark(),
            ArrowLeft: (shift) => (shift ? this.#pan(-PAN_STEP) : this.#moveCrosshair(-1)),
            ArrowRight: (shift) => (shift ? this.#pan(PAN_STEP) : this.#moveCrosshair(1)),
        };
    }

    #press(event) {
        if (event.ctrlKey || event.metaKey || event.altKey || !this.view.plot) return;
        const onButton = event.target instanceof HTMLButtonElement;
        const action = this.actions[event.key];
        if (!action || (onButton && event.key === " ")) return;
        event.preventDefault();
        event.stopPropagation();
        action(event.shiftKey);
    }

    #zoomBy(factor) {
        const { view } = this;
        const [low, high] = view.limits("x");
        const { left } = view.plot.cursor;
        const middle = left >= 0 ? view.plot.posToVal(left, "x") : (low + high) / 2;
        const [first, last] = view.store.x;
        const x = [Math.max(first, middle - (middle - low) * factor), Math.min(last, middle + (high - middle) * factor)];
        view.setZoom(x[0] <= first && x[1] >= last ? (view.zoom?.y ? { y: view.zoom.y } : null) : { ...view.zoom, x });
    }

    #pan(part) {
        const { view } = this;
        if (!view.zoom?.x) return; // all of it is there
        const [low, high] = view.limits("x");
        const [first, last] = view.store.x;
        const by = Math.min(Math.max(part * (high - low), first - low), last - high);
        view.setZoom({ ...view.zoom, x: [low + by, high + by] });
    }

    #moveCrosshair(steps) {
        const { view } = this;
        const { plot } = view;
        const width = plot.over.clientWidth;
        const left = plot.cursor.left >= 0 ? plot.cursor.left + (steps * width) / CROSSHAIR_STEPS : width / 2;
        plot.setCursor({ left: Math.min(Math.max(left, 0), width), top: plot.over.clientHeight / 2 });
        view.readOut();
        view.speak(view.crosshair.text);
    }

    #mark() {
        const { view } = this;
        if (view.plot.cursor.left >= 0) view.mark(view.plot.cursor.left, null);
    }
}
