// node main.mjs FIRMWARE BOOTROM: an emulated Pico whose USB serial port is a TCP port of this computer, for one program at a time.
// Prints the port's number on standard output when the board is ready. Runs until it is killed.
import fs from 'node:fs';
import net from 'node:net';
import { Chip, FLASH_SIZE } from './chip.mjs';

const SLICE_MS = 4; // of running without a look at the socket
const AHEAD_NS = 2e6; // that the chip's clock may run before the wall's
const SLEEP_AHEAD_NS = 1e6; // from here on a pause is worth it
const BEHIND_NS = 20e6; // a slow computer: from here on lost time is not made up for
const IDLE_MS = 10; // between looks at a board that waits

const [firmware, bootrom] = process.argv.slice(2).map((path) => fs.readFileSync(path));
let chip, program = null;
let wallStart, chipStart; // the same moment on both clocks
let timer = null, immediate = null, wasIdle = true, isAnnounced = false;

function start(flash) {
  chip = new Chip(bootrom, flash);
  chip.onConnected = () => {
    if (!program) chip.setOpen(false);
    if (!isAnnounced) console.log(server.address().port);
    isAnnounced = true;
  };
  chip.onData = (data) => program?.write(Buffer.from(data));
  meet(0);
}

function meet(chipNow) {
  wallStart = performance.now();
  chipStart = chipNow;
}

const wallNow = () => (performance.now() - wallStart) * 1e6 + chipStart;

function wake() {
  clearTimeout(timer);
  immediate ??= setImmediate(slice);
}

function slice() {
  immediate = null;
  const before = chip.clock.nanosCounter;
  if (wallNow() - before > BEHIND_NS && !wasIdle) meet(before);
  const isBusy = chip.run(Math.max(before, wallNow()) + AHEAD_NS, SLICE_MS);
  if (chip.failed) process.exit(3);
  if (chip.resetWanted) {
    program?.destroy();
    program = null;
    start(chip.mcu.flash.slice(0, FLASH_SIZE));
  }
  wasIdle = !isBusy;
  const ahead = chip.clock.nanosCounter - wallNow();
  if (!isBusy) timer = setTimeout(wake, IDLE_MS);
  else if (ahead > SLEEP_AHEAD_NS) timer = setTimeout(wake, ahead / 1e6);
  else wake();
}

const server = net.createServer({ noDelay: true }, (socket) => {
  if (program) {
    socket.destroy();
    return;
  }
  program = socket;
  chip.setOpen(true);
  socket.on('data', (data) => {
    chip.write(data);
    wake();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    if (program === socket) {
      program = null;
      chip.setOpen(false);
    }
    wake();
  });
  wake();
});
server.listen(0, '127.0.0.1', () => {
  start(firmware);
  wake();
});
