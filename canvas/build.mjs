// Builds src/ukernel/charts/canvas.js, or the file named on the command line: one script that brings everything along.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const licence = readFileSync(here("node_modules/uplot/LICENSE"), "utf8").trim();

await build({
    entryPoints: [here("src/chart.js")],
    outfile: process.argv[2] ?? here("../src/ukernel/charts/canvas.js"),
    bundle: true,
    minify: true,
    format: "iife",
    globalName: "ucoreChart",
    target: "es2021",
    loader: { ".css": "text" },
    legalComments: "none", // uPlot's is the one below
    banner: {
        js: `// Generated from canvas/ by "npm run build"; do not edit.\n/* Contains uPlot.\n\n${licence}\n*/`,
    },
});
