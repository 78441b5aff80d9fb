// Draws the lines of a trace on a canvas.

const DOTS_PX = 12; // samples this far apart are dots on the line

// `box` is the axes in pixels of the canvas, `x` and `y` the limits of the axes, `scale` pixels a CSS pixel.
export function drawTrace(context, trace, newest, { box, x, y, scale, colours, hidden }) {
    if (!trace.count) return;
    const perX = box.width / (x[1] - x[0]);
    const perY = box.height / (y[1] - y[0]);
    const toX = (value) => box.left + (value - x[0]) * perX;
    // Far outside is as good as further: canvases draw nothing where a coordinate is too large.
    const toY = (value) => Math.min(Math.max(box.top + (y[1] - value) * perY, -1e5), 1e5);
    const first = Math.max(0, trace.find(x[0], newest) - 1);
    const last = Math.min(trace.count - 1, trace.find(x[1], newest));
    const dots = ((last - first + 1) * DOTS_PX * scale < box.width || trace.count === 1) && trace.step === 1;
    context.lineWidth = 1.5 * scale;
    context.lineJoin = "bevel"; // mitres of a noisy line stick out, and take long
    for (let channel = 0; channel < trace.channels; channel++) {
        if (hidden[channel]) continue;
        context.strokeStyle = context.fillStyle = colours[channel];
        context.beginPath();
        let previous = NaN; // where the line is
        for (let i = first; i <= last; i++) {
            const low = trace.low(i, channel);
            if (low !== low) {
                previous = NaN; // no value: a gap
                continue;
            }
            const px = toX(trace.x(i, newest));
            const bottom = toY(low);
            if (trace.step === 1) {
                if (previous === previous) context.lineTo(px, bottom);
                else context.moveTo(px, bottom);
                // A sample between gaps would be a line without length.
                if (isAlone(trace, i, channel, previous)) context.lineTo(px + 1.5 * scale, bottom);
                previous = bottom;
                continue;
            }
            let near = bottom;
            let far = toY(trace.high(i, channel));
            if (Math.abs(far - previous) < Math.abs(near - previous)) [near, far] = [far, near];
            if (previous === previous) context.lineTo(px, near);
            else context.moveTo(px, near);
            if (Math.abs(far - near) > 0.5) context.lineTo(px, far);
            else context.lineTo(px + 0.5 * scale, near);
            previous = far;
        }
        context.stroke();
        if (dots) {
            context.beginPath();
            for (let i = first; i <= last; i++) {
                const px = toX(trace.x(i, newest));
                const py = toY(trace.low(i, channel));
                context.moveTo(px, py);
                if (py === py) context.arc(px, py, 3 * scale, 0, 2 * Math.PI);
            }
            context.fill();
        }
    }
}

function isAlone(trace, i, channel, previous) {
    if (previous === previous) return false;
    const next = i + 1 < trace.count ? trace.low(i + 1, channel) : NaN;
    return next !== next;
}
