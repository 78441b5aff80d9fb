#!/usr/bin/env node
// A pipe reader in another language than Python: Node.js 18 or newer, nothing to install.
// docs/protocol.md, section 2, says what is spoken here.
//
//     node examples/pipe-reader.mjs adc                    one line of JSON for each chunk that the board writes
//     node examples/pipe-reader.mjs adc --replay           from the beginning of the pipe, as far as the hub holds it
//     node examples/pipe-reader.mjs adc --timestamps       with the time of each chunk, and its error, in seconds
//     node examples/pipe-reader.mjs adc --plain            lengths and bytes alone: no word about losses or the end
//
// As a module:
//
//     import { subscribe } from "./pipe-reader.mjs";
//     for await (const event of subscribe("adc", { replay: true })) if (event.chunk) console.log(event.chunk.readFloatLE());

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const GREETING = "ucore 1 ";
const MAX_LINE = 4096;
const HANDSHAKE_TIMEOUT_MS = 5000;
const NOTICE = 0x80000000;
const [JSON_NOTICE, BATCH, TIMED_BATCH] = [0x81, 0x82, 0x83]; // the highest byte of the word

/**
 * Read a pipe. Yields, in order:
 *
 *   { open: {...} }             the board has opened it
 *   { chunk: Buffer }           one pipe.write; with `timestamps` also time and error: seconds, as Date.now() / 1000 counts
 *   { lost: n, cause }          so many chunks are missing here
 *   { end: reason, frames }     the last event; "closed" is the good end
 *
 * Options: plain (yields chunks only, and ends with the connection), replay, timestamps, board, port, token.
 * Throws where there is no hub, or one of the two ends cannot prove that it knows the token.
 */
export async function* subscribe(pipe, { plain = false, replay = false, timestamps = false, board = null, port, token } = {}) {
  if (port === undefined || token === undefined) ({ port, token } = await findHub());
  const options = plain ? [] : ["batches", ...(replay ? ["replay"] : []), ...(timestamps ? ["timestamps"] : [])];
  const socket = connect({ host: "127.0.0.1", port: Number(port) });
  socket.setNoDelay(true);
  const input = new Input(socket);
  const timer = setTimeout(() => socket.destroy(new Error("the hub did not answer in time")), HANDSHAKE_TIMEOUT_MS);
  try {
    await shakeHands(socket, input, token, { role: "reader", pipe, board, options });
    clearTimeout(timer);
    let ended = plain;
    for (;;) {
      const head = await input.take(4, { orEnd: true });
      if (head === null) break;
      const word = head.readUInt32LE();
      if (word < NOTICE) {
        if (word > 65535) throw new Error(`the hub announced a chunk of ${word} bytes`);
        yield { chunk: await input.take(word) };
        continue;
      }
      const body = await input.take(word & 0xffffff);
      for (const event of readNotice(word >>> 24, body)) {
        ended ||= "end" in event;
        yield event;
      }
    }
    if (!ended) throw new Error("the connection to the hub broke");
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function* readNotice(kind, body) {
  if (kind === JSON_NOTICE) {
    yield JSON.parse(body.toString("utf8"));
  } else if (kind === BATCH || kind === TIMED_BATCH) {
    const size = body.readUInt16LE(0); // then four bytes: the number of the first chunk
    const start = kind === BATCH ? 6 : 30;
    const count = size ? (body.length - start) / size : 1;
    const [first, last, error] = kind === BATCH ? [] : [6, 14, 22].map((at) => body.readDoubleLE(at));
    for (let index = 0; index < count; index++) {
      const chunk = body.subarray(start + index * size, start + (index + 1) * size);
      if (kind === BATCH) yield { chunk };
      else yield { chunk, time: first + (count > 1 ? ((last - first) * index) / (count - 1) : 0), error };
    }
  } // another kind is one of tomorrow, and left out
}

async function shakeHands(socket, input, token, request) {
  const greeting = await input.line();
  const hubNonce = greeting.slice(GREETING.length);
  if (!greeting.startsWith(GREETING) || hubNonce.length !== 32) throw new Error("what answers there is no hub of this version");
  const nonce = randomBytes(16).toString("hex");
  const proof = prove(token, "peer", hubNonce, nonce, request.role, request.pipe);
  socket.write(JSON.stringify({ ...request, nonce, proof }) + "\n");
  const answer = JSON.parse(await input.line());
  if (!answer.ok) throw new Error(`the hub refused: ${answer.error}`);
  const expected = Buffer.from(prove(token, "hub", hubNonce, nonce));
  const given = Buffer.from(String(answer.proof));
  // Whoever sits on that port and does not know the token is found out here, and has learnt nothing.
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error("what answers there only poses as the hub");
}

function prove(token, ...words) {
  return createHmac("sha256", token).update(words.join("\n")).digest("hex");
}

/** The port and the token: from the environment (a forwarded port), else from the state file of this user's hub. */
async function findHub() {
  const { UCORE_PIPE_PORT, UCORE_PIPE_TOKEN, UCORE_STATE_PATH } = process.env;
  if (UCORE_PIPE_PORT && UCORE_PIPE_TOKEN) return { port: UCORE_PIPE_PORT, token: UCORE_PIPE_TOKEN };
  const host = hostname().replace(/[^\p{L}\p{N}.-]/gu, "-") || "localhost";
  const path = UCORE_STATE_PATH || join(runtimeFolder(), `ucore-hub-${host}.json`);
  let state;
  try {
    state = JSON.parse(await readFile(path, "utf8"));
  } catch {
    throw new Error(`no board hub runs: ${path} cannot be read. A notebook starts one`);
  }
  return { port: UCORE_PIPE_PORT || state.port, token: state.token };
}

function runtimeFolder() {
  const { JUPYTER_RUNTIME_DIR, JUPYTER_DATA_DIR, XDG_DATA_HOME, APPDATA } = process.env;
  if (JUPYTER_RUNTIME_DIR) return JUPYTER_RUNTIME_DIR;
  if (JUPYTER_DATA_DIR) return join(JUPYTER_DATA_DIR, "runtime");
  if (process.platform === "darwin") return join(homedir(), "Library", "Jupyter", "runtime");
  if (process.platform === "win32") return join(APPDATA, "jupyter", "runtime");
  return join(XDG_DATA_HOME || join(homedir(), ".local", "share"), "jupyter", "runtime");
}

/** What a socket brings, in the portions that are asked for. The socket is held back while nobody asks. */
class Input {
  #parts = [];
  #held = 0;
  #ended = false;
  #error = null;
  #wake = () => {};

  constructor(socket) {
    this.socket = socket;
    socket.on("data", (data) => {
      this.#parts.push(data);
      this.#held += data.length;
      socket.pause();
      this.#wake();
    });
    socket.on("error", (error) => {
      this.#error = error;
      this.#wake();
    });
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.#ended = true;
        this.#wake();
      });
    }
  }

  /** The next `size` bytes; where the connection ends before them an error, or null if `orEnd` and nothing has come. */
  async take(size, { orEnd = false } = {}) {
    while (this.#held < size) {
      if (this.#error) throw this.#error;
      if (this.#ended) {
        if (orEnd && !this.#held) return null;
        throw new Error("the connection to the hub broke");
      }
      await this.#more();
    }
    if (!size) return Buffer.alloc(0);
    if (this.#parts[0].length < size) this.#parts = [Buffer.concat(this.#parts)];
    const first = this.#parts[0];
    this.#held -= size;
    if (first.length === size) this.#parts.shift();
    else this.#parts[0] = first.subarray(size);
    return first.subarray(0, size);
  }

  async line() {
    const bytes = [];
    while (bytes.length < MAX_LINE) {
      const byte = (await this.take(1))[0];
      if (byte === 10) return Buffer.from(bytes).toString("utf8");
      bytes.push(byte);
    }
    throw new Error("what answers there is no hub: its first line does not end");
  }

  #more() {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.socket.resume();
    });
  }
}

async function main([pipe, ...words]) {
  const flags = ["--plain", "--replay", "--timestamps"];
  if (!pipe || pipe.startsWith("--") || words.some((word) => !flags.includes(word))) {
    console.error(`usage: node pipe-reader.mjs PIPE [${flags.join("] [")}]`);
    return 2;
  }
  const options = Object.fromEntries(words.map((word) => [word.slice(2), true]));
  let last = {};
  for await (const event of subscribe(pipe, options)) {
    last = event;
    const line = event.chunk ? { ...event, chunk: event.chunk.toString("hex") } : event;
    if (event.error === Infinity) line.error = null; // nobody had asked the board for its time: `time` is when the chunk came
    if (!process.stdout.write(JSON.stringify(line) + "\n")) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
  return last.end && last.end !== "closed" ? 1 : 0;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).then(
    (status) => (process.exitCode = status),
    (error) => {
      console.error(`pipe-reader: ${error.message}`);
      process.exitCode = 1;
    },
  );
}
