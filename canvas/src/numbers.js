// How numbers are written. The rules for values are those of src/ukernel/charts/axis.py, and tests/numbers.json holds the two together.

const TINY = 1e-30;
const PIXELS = 300; // of a usual axis: what is smaller than one of them it does not resolve
const MAX_DIGITS = 15; // that a float has
const LONG = 1e12; // larger ones are written with a power of ten
// Units that take a prefix. Others do not: °C, %, counts, units that have one already, and those that mean several things (g).
const PREFIXABLE = new Set("V A W Ω Ohm ohm Hz F H S Pa N J C T Wb m s VA var Wh Ah bit/s bps B/s".split(" "));
const PREFIXES = { "-15": "f", "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T" };
const PLAIN = [1e-3, 1e7]; // without a prefix these sizes are written as they are
const HIGH = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export const NONE = "–"; // where there is no value

const raise = (power) => String(power).replace("-", "⁻").replace(/\d/g, (digit) => HIGH[digit]);
const floorLog = (value) => Math.floor(Math.log10(value) + 1e-9);

// With a true minus, and commas between thousands.
export function writeNumber(value, decimals = 0) {
    const text = Math.abs(value).toFixed(decimals);
    const whole = text.replace(/^\d+/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","));
    return value < 0 && /[1-9]/.test(text) ? `−${whole}` : whole;
}

// How the values of an axis are written: as many digits as it resolves, with a prefix where the unit takes one.
// `units`: as they stand above the axis, prefix included. `factor`: what is 1 there, in the units given.
export class Scale {
    constructor(low, high, units) {
        const largest = Math.max(Math.abs(low), Math.abs(high), TINY);
        let exponent = 3 * Math.floor((Math.log10(largest) + 1e-9) / 3);
        const fitting = units === "s" ? Math.min(exponent, 0) : exponent;
        const prefix = PREFIXABLE.has(units) ? PREFIXES[fitting] : undefined;
        if (prefix !== undefined) {
            exponent = fitting;
            this.units = prefix + units;
        } else if (largest >= PLAIN[0] && largest < PLAIN[1]) {
            exponent = 0;
            this.units = units;
        } else this.units = `×10${raise(exponent)} ${units}`.trim();
        this.factor = Number(`1e${exponent}`); // Math.pow is off by a bit here and there
        const resolved = Math.max(high - low, TINY) / this.factor / PIXELS;
        const room = MAX_DIGITS - 1 - floorLog(largest / this.factor);
        this.decimals = Math.max(0, Math.min(Math.ceil(-Math.log10(resolved) - 1e-9), room));
    }

    // A value without its units.
    number(value, decimals = this.decimals) {
        if (value === null || value !== value) return NONE;
        value /= this.factor;
        if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
        if (Math.abs(value) >= LONG) {
            const [mantissa, power] = value.toExponential(3).replace("-", "−").split("e");
            return `${mantissa}×10${raise(Number(power))}`;
        }
        return writeNumber(value, decimals);
    }

    // A value with its units.
    text(value) {
        const number = this.number(value);
        return this.units && number !== NONE ? `${number} ${this.units}` : number;
    }

    // The values of a bin: one, where the axis does not tell the lowest from the highest.
    range(low, high) {
        const [first, last] = [this.number(low), this.number(high)];
        return first === last ? this.text(low) : `${first} to ${this.text(high)}`;
    }

    // A value at the axis, whose labels lie `step` apart.
    tick(value, step) {
        return this.number(value, decimalsOf(step / this.factor));
    }
}

export function decimalsOf(step) {
    let decimals = Math.max(0, -floorLog(step));
    while (decimals < MAX_DIGITS && Math.abs(Number(step.toFixed(decimals)) - step) > 1e-6 * step) decimals += 1;
    return decimals;
}

// A number of its own, known to `resolution`, with units that may take a prefix.
export function writeResolved(value, resolution, units) {
    const scale = new Scale(0, Math.abs(value), units);
    const decimals = Math.min(Math.max(Math.ceil(-Math.log10(Math.max(resolution, TINY) / scale.factor) - 1e-9), 0), 9);
    return `${scale.number(value, decimals)} ${scale.units}`.trim();
}

export function formatRate(rate) {
    return rate >= 100 ? writeNumber(Math.round(rate)) : String(Number(rate.toPrecision(2)));
}

// The time of day in the computer's own zone; seconds since 1970, with so many decimals.
export function formatClock(seconds, decimals = 0, withSeconds = true) {
    const unit = 10 ** decimals;
    const rounded = Math.round(seconds * unit) / unit;
    const date = new Date(Math.floor(rounded) * 1000);
    const two = (number) => String(number).padStart(2, "0");
    const part = decimals ? (rounded - Math.floor(rounded)).toFixed(decimals).slice(1) : "";
    return `${two(date.getHours())}:${two(date.getMinutes())}${withSeconds ? `:${two(date.getSeconds())}${part}` : ""}`;
}

export function formatDay(seconds) {
    return new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}
