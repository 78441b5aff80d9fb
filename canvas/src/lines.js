// Draws on the canvas, below uPlot's axes: the lines, and the bands where something is missing.

const DOTS_PX = [6, 14]; // samples begin to be dots on the line where they are this far apart, and are whole ones there
const DOT_PX = 3;
const LEAST_BAND_PX = 3;

// `box` is the axes in pixels of the canvas, `x` and `y` the limits of the axes, `scale` pixels a CSS pixel.
// Returns the lowest and the highest value in it.
export function drawTrace(context, trace, newest, { box, x, y, scale, colours, hidden }) {
    let lowest = Infinity;
    let highest = -Infinity;
    if (!trace.count) return [lowest, highest];
    const perX = box.width / (x[1] - x[0]);
    const perY = box.height / (y[1] - y[0]);
    const toX = (value) => box.left + (value - x[0]) * perX;
    // Far outside is as good as further: canvases draw nothing where a coordinate is too large.
    const toY = (value) => Math.min(Math.max(box.top + (y[1] - value) * perY, -1e5), 1e5);
    const first = Math.max(0, trace.find(x[0], newest) - 1);
    const last = Math.min(trace.count - 1, trace.find(x[1], newest));
    const radius = trace.step > 1 ? 0 : dotRadius(trace.count === 1 ? Infinity : ((trace.x(last, newest) - trace.x(first, newest)) * perX) / scale / (last - first));
    const breaks = trace.breaks.map(({ row }) => row - trace.first);
    context.lineWidth = 1.5 * scale;
    context.lineJoin = "bevel"; // mitres of a noisy line stick out, and take long
    for (let channel = 0; channel < trace.channels; channel++) {
        if (hidden[channel]) continue;
        context.strokeStyle = context.fillStyle = colours[channel];
        context.beginPath();
        let previous = NaN; // where the line is
        let next = breaks.findIndex((row) => row > first);
        for (let i = first; i <= last; i++) {
            while (next >= 0 && breaks[next] <= i) {
                if (breaks[next] === i) previous = NaN; // something is missing before this one
                next = next + 1 < breaks.length ? next + 1 : -1;
            }
            const low = trace.low(i, channel);
            if (low !== low) {
                previous = NaN; // no value
                continue;
            }
            const high = trace.high(i, channel);
            if (low < lowest) lowest = low;
            if (high > highest) highest = high;
            const px = toX(trace.x(i, newest));
            const bottom = toY(low);
            let near = bottom;
            let far = high === low ? bottom : toY(high);
            if (Math.abs(far - previous) < Math.abs(near - previous)) [near, far] = [far, near];
            const begins = previous !== previous;
            if (begins) context.moveTo(px, near);
            else context.lineTo(px, near);
            if (Math.abs(far - near) > 0.5) context.lineTo(px, far);
            // A sample on its own would be a line without length, and so would a bin.
            else if (trace.step !== 1) context.lineTo(px + 0.5 * scale, near);
            else if (begins && isAlone(trace, i, channel, breaks[next])) context.lineTo(px + 1.5 * scale, near);
            previous = far;
        }
        context.stroke();
        if (radius > 0) {
            context.beginPath();
            for (let i = first; i <= last; i++) {
                const px = toX(trace.x(i, newest));
                const py = toY(trace.low(i, channel));
                if (py !== py) continue;
                context.moveTo(px, py);
                context.arc(px, py, radius * scale, 0, 2 * Math.PI);
            }
            context.fill();
        }
    }
    return [lowest, highest];
}

// Dots grow with the distance between samples: they must not come and go at once.
function dotRadius(distance) {
    const [least, whole] = DOTS_PX;
    const radius = DOT_PX * Math.min(Math.max((distance - least) / (whole - least), 0), 1);
    return radius > 0.75 ? radius : 0; // smaller ones are within the line
}

function isAlone(trace, i, channel, nextBreak) {
    const next = i + 1 < trace.count && nextBreak !== i + 1 ? trace.low(i + 1, channel) : NaN;
    return next !== next;
}

// Shades what is missing. `colour` is that of a band.
export function drawBands(context, trace, newest, { box, x, scale, colour }) {
    const perX = box.width / (x[1] - x[0]);
    context.fillStyle = colour;
    let drawnTo = -Infinity; // bands that touch are one: their colour is no darker
    for (const { from, to } of trace.breaks) {
        const start = box.left + (trace.position(from, newest) - x[0]) * perX;
        const stop = box.left + (trace.position(to, newest) - x[0]) * perX;
        const least = LEAST_BAND_PX * scale;
        const middle = (start + stop) / 2;
        const left = Math.max(Math.min(start, middle - least / 2), drawnTo, box.left);
        const right = Math.min(Math.max(stop, middle + least / 2), box.left + box.width);
        if (right <= left) continue;
        context.fillRect(left, box.top, right - left, box.height);
        drawnTo = right;
    }
}

// What is missing at this position, within so much on either side of it.
export function breakAt(trace, x, newest, margin) {
    return trace.breaks.find(({ from, to }) => trace.position(from, newest) - margin <= x && x <= trace.position(to, newest) + margin);
}
