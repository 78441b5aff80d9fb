// Colours that go with the page's. They follow from the colour of its text, whoever has set it: JupyterLab, VS Code, or
// the operating system.

const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b5569a", "#a87b00", "#3b8fc4", "#7a5195", "#5f6b6d"];
const DARK = ["#4ea8de", "#ff8a4c", "#3ccf9e", "#e79fc9", "#f0c24b", "#8fd0ff", "#b79be0", "#b3bdbf"];

export function readTheme(element) {
    const text = getComputedStyle(element).color;
    const [red, green, blue] = text.match(/[\d.]+/g).map(Number);
    const dark = 0.299 * red + 0.587 * green + 0.114 * blue > 128; // light text stands on something dark
    const fade = (alpha) => `rgba(${red}, ${green}, ${blue}, ${alpha})`;
    return { dark, text, grid: fade(0.13), frame: fade(0.35), band: dark ? "rgba(245, 158, 11, 0.24)" : "rgba(217, 119, 6, 0.16)", lines: dark ? DARK : LIGHT };
}

// Calls back when the page may have got another theme. Returns what ends that.
export function watchTheme(callback) {
    let timer;
    const soon = () => {
        callback();
        clearTimeout(timer);
        timer = setTimeout(callback, 400); // style sheets may arrive later than the attribute that announces them
    };
    const observer = new MutationObserver(soon);
    for (const element of [document.documentElement, document.body]) {
        observer.observe(element, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"] });
    }
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", soon);
    return () => {
        clearTimeout(timer);
        observer.disconnect();
        scheme.removeEventListener("change", soon);
    };
}
