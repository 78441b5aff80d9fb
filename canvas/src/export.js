// What leaves the page: the picture as a PNG, and what it shows as CSV.

const PAD = 8;

export function download(name, blob) {
    const url = URL.createObjectURL(blob);
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function fileName(title, end) {
    return `${title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+|-+$/g, "") || "chart"}.${end}`;
}

// A canvas with the axes as they are, the title and the lines' names above them. `ratio`: its pixels a CSS pixel.
export function paint({ title, lines, canvas, theme, ratio }) {
    const made = document.createElement("canvas");
    const head = 30 * ratio;
    made.width = canvas.width + 2 * PAD * ratio;
    made.height = canvas.height + head + PAD * ratio;
    const context = made.getContext("2d");
    context.fillStyle = theme.dark ? "#111" : "#fff";
    context.fillRect(0, 0, made.width, made.height);
    context.textBaseline = "middle";
    context.font = `600 ${14 * ratio}px system-ui, sans-serif`;
    context.fillStyle = theme.text;
    let x = 2 * PAD * ratio;
    context.fillText(title, x, head / 2);
    x += context.measureText(title).width + 20 * ratio;
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    for (const { name, colour, hidden } of lines.length > 1 ? lines : []) {
        if (hidden) continue;
        context.fillStyle = colour;
        context.fillRect(x, head / 2 - 1.5 * ratio, 14 * ratio, 3 * ratio);
        x += 18 * ratio;
        context.fillStyle = theme.text;
        context.fillText(name, x, head / 2);
        x += context.measureText(name).width + 14 * ratio;
    }
    context.drawImage(canvas, PAD * ratio, head);
    return made;
}

// By pipe a column of positions and one for each line, or two where bins of samples are shown. What is missing is an empty row.
export function writeCsv(store) {
    const { options, traces } = store;
    const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const units = options.units && ` (${options.units})`;
    const blocks = traces.map((trace, i) => {
        const bins = trace.step !== 1;
        const position = store.timed ? "time (s since 1970)" : "sample";
        const names = options.names[i].flatMap((name) => (bins ? [`${name} min${units}`, `${name} max${units}`] : [`${name}${units}`]));
        const rows = [];
        const breaks = new Set(trace.breaks.map(({ row }) => row));
        for (let bin = 0; bin < trace.count; bin++) {
            if (bin && breaks.has(trace.first + bin)) rows.push([]);
            const at = store.timed ? trace.times[trace.start + bin].toFixed(6) : String(trace.x(bin, 0) + trace.offset);
            const values = options.names[i].flatMap((_, channel) => {
                const low = trace.low(bin, channel);
                return (bins ? [low, trace.high(bin, channel)] : [low]).map((value) => (value === value ? String(value) : ""));
            });
            rows.push([at, ...values]);
        }
        return { head: [position, ...names], rows };
    });
    const length = Math.max(0, ...blocks.map(({ rows }) => rows.length));
    const lines = [blocks.flatMap(({ head }) => head.map(cell))];
    for (let row = 0; row < length; row++) {
        lines.push(blocks.flatMap(({ head, rows }) => head.map((_, column) => rows[row]?.[column] ?? "")));
    }
    return lines.map((line) => `${line.join(",")}\r\n`).join("");
}
