// The RP2040 as MicroPython uses it: rp2040js with a second core, the mailboxes between the cores, a boot ROM, a flash that can be
// written, and the USB serial port. Not modelled: the flash's cache, a UART line, a host that stops reading, USB suspend.
import { RP2040, USBCDC } from 'rp2040js';
import { RPPPB } from '../node_modules/rp2040js/dist/esm/peripherals/ppb.js';
import { RPSIO } from '../node_modules/rp2040js/dist/esm/sio.js';
import { FastCore } from './core.mjs';

export const FLASH_SIZE = 2 * 1024 * 1024;
const CYCLE_NS = 8; // 125 MHz
const FLASH_START = 0x10000000;
const STACK_TOP = 0x20042000;
const USB_PACKET_US = 60; // a 64-byte packet at full speed
const PACKET_BYTES = 64;
const MAILBOX_WORDS = 8;
// From the datasheet of the flash that is on a Pico: 45 ms for a sector, 0.7 ms for a page.
const SECTOR_BYTES = 4096;
const ERASE_SECTOR_NS = 45e6;
const PAGE_BYTES = 256;
const PROGRAM_PAGE_NS = 0.7e6;
// Registers of the SIO block, which each core has for itself
const CPUID = 0x00;
const MAILBOX_STATUS = 0x50;
const MAILBOX_WRITE = 0x54;
const MAILBOX_READ = 0x58;
const OVERFLOWN = 4; // in the status: written to while full
const UNDERFLOWN = 8; // in the status: read while empty
const MAILBOX_IRQ = 15; // core 0's; core 1's is the next
const SPIN_LOCKS_AND_PINS = ['gpioValue', 'gpioOutputEnable', 'qspiGpioValue', 'qspiGpioOutputEnable', 'spinLock'];
const POWER = 0x40010;
const WATCHDOG = 0x40058;
const CORE1_OFF = 0x10000; // in the power block's FRCE_OFF
const WAIT_FOR_VECTOR = 0x4c; // where our boot ROM keeps that function's address
const LAUNCH = [0, 0, 1]; // what core 0 says to wake core 1; vector table, stack and entry follow
const LAUNCH_WORDS = 6;
// What the boot ROM's breakpoints mean
const BREAK_ERASE = 1;
const BREAK_PROGRAM = 2;
// The clock on the wall is looked at every so many steps: it costs more than an instruction.
const STEPS_A_LOOK = 2048;
const STEPS_ALONE = 2000;

export class Chip {
  constructor(bootrom, flash) {
    const mcu = (this.mcu = new RP2040());
    this.clock = mcu.clock;
    mcu.logger = {
      debug() {},
      info: (_, message) => message === 'SEV' && this.wakeCores(),
      warn() {},
      error: (component, message) => console.error('error', component, message),
    };
    mcu.loadBootrom(new Uint32Array(bootrom.buffer.slice(bootrom.byteOffset, bootrom.byteOffset + bootrom.length)));
    mcu.flash.set(flash);
    mcu.core = new FastCore(mcu);
    this.cores = [mcu.core, new FastCore(mcu)];
    this.ppbs = [mcu.ppb, new RPPPB(mcu, 'PPB1')];
    this.sios = [mcu.sio, new RPSIO(mcu)];
    this.current = 0; // the core whose instruction is being run
    this.core1 = 'rom'; // 'off', 'rom': waits to be launched, 'running'
    this.launchWords = [];
    this.mailboxes = [[], []]; // words on their way to each core
    this.mailboxErrors = [0, 0];
    this.flashCycles = 0; // that the instruction just run has cost besides
    this.failed = false;
    this.resetWanted = false;
    this._connectCores();
    this._connectPower();
    this._connectUsb();
    mcu.onBreak = (code) => this._onBreak(code);
    const core0 = this.cores[0];
    core0.VTOR = 0;
    core0.SP = STACK_TOP;
    core0.LR = 0;
    core0.PC = FLASH_START;
    this.times = [0, 0]; // of each core, ns
    this.wereAwake = [true, false];
  }

  _connectCores() {
    const [shared, own] = this.sios;
    for (const name of SPIN_LOCKS_AND_PINS)
      Object.defineProperty(own, name, { get: () => shared[name], set: (value) => (shared[name] = value) });
    this.sios.forEach((sio, core) => {
      const read = sio.readUint32.bind(sio), write = sio.writeUint32.bind(sio);
      sio.readUint32 = (offset) => {
        if (offset === CPUID) return core;
        if (offset === MAILBOX_STATUS) return this._mailboxStatus(core);
        return offset === MAILBOX_READ ? this._readMailbox(core) : read(offset);
      };
      sio.writeUint32 = (offset, value) => {
        if (offset === MAILBOX_WRITE) this._writeMailbox(core, value >>> 0);
        else if (offset === MAILBOX_STATUS) this._setMailboxErrors(core, 0);
        else write(offset, value);
      };
    });
    this.mcu.setInterrupt = (irq, value) => {
      this.cores[0].setInterrupt(irq, value);
      if (this.core1 === 'running') this.cores[1].setInterrupt(irq, value);
    };
  }

  _connectPower() {
    const power = this.mcu.peripherals[POWER], write = power.writeUint32.bind(power);
    power.writeUint32 = (offset, value) => {
      const wasOff = power.frceOff & CORE1_OFF;
      write(offset, value);
      const isOff = power.frceOff & CORE1_OFF;
      if (isOff === wasOff) return;
      this.core1 = isOff ? 'off' : 'rom';
      this.launchWords = [];
      this.mailboxes[1] = [];
      this.mailboxErrors[1] = 0;
      if (!isOff) {
        this._deliver(0, 0); // the boot ROM says that it is there
        this.wakeCores();
      }
    };
    this.mcu.peripherals[WATCHDOG].onWatchdogTrigger = () => (this.resetWanted = true);
  }

  _connectUsb() {
    const usb = this.mcu.usbCtrl;
    usb.writeDelayMicroseconds = usb.readDelayMicroseconds = USB_PACKET_US;
    this.cdc = new USBCDC(usb);
    this.isConnected = false;
    this.unread = []; // bytes from the host that the chip has not fetched
    this.asked = 0; // how many it waits for
    usb.onEndpointRead = (endpoint, size) => {
      if (endpoint !== this.cdc.outEndpoint) return;
      this.asked = size || PACKET_BYTES;
      this._feed();
    };
    this.cdc.onDeviceConnected = () => {
      this.isConnected = true;
      this.onConnected?.();
    };
    this.cdc.onSerialData = (data) => this.onData?.(data);
  }

  /** Bytes from the host. */
  write(data) {
    for (const byte of data) this.unread.push(byte);
    if (this.asked) this._feed();
  }

  _feed() {
    const count = Math.min(this.asked, PACKET_BYTES, this.unread.length);
    if (!count) return;
    this.asked = 0;
    this.mcu.usbCtrl.endpointReadDone(this.cdc.outEndpoint, Uint8Array.from(this.unread.splice(0, count)));
  }

  /** Whether a program has the port open: the line's DTR and RTS. */
  setOpen(isOpen) {
    if (this.isConnected) this.cdc.cdcSetControlLineState(isOpen ? 3 : 0);
  }

  wakeCores() {
    for (const core of this.cores) {
      core.eventRegistered = true;
      core.waiting = false;
    }
  }

  _mailboxStatus(core) {
    const isFilled = this.mailboxes[core].length ? 1 : 0, hasRoom = this.mailboxes[1 - core].length < MAILBOX_WORDS ? 2 : 0;
    return isFilled | hasRoom | this.mailboxErrors[core];
  }

  _readMailbox(core) {
    const isEmpty = !this.mailboxes[core].length, word = isEmpty ? 0 : this.mailboxes[core].shift();
    this._setMailboxErrors(core, this.mailboxErrors[core] | (isEmpty ? UNDERFLOWN : 0));
    return word;
  }

  _writeMailbox(from, word) {
    const to = 1 - from;
    if (to === 1 && this.core1 !== 'running') {
      if (this.core1 === 'rom') this._hearLaunch(word);
    } else if (this.mailboxes[to].length >= MAILBOX_WORDS) this._setMailboxErrors(from, this.mailboxErrors[from] | OVERFLOWN);
    else this._deliver(to, word);
  }

  _deliver(to, word) {
    this.mailboxes[to].push(word);
    this._setMailboxErrors(to, this.mailboxErrors[to]);
  }

  _setMailboxErrors(core, errors) {
    this.mailboxErrors[core] = errors;
    this.cores[core].setInterrupt(MAILBOX_IRQ + core, !!(this.mailboxes[core].length || errors));
  }

  /** The boot ROM on core 1: it repeats each word, and begins anew where one is not the one that it waits for. */
  _hearLaunch(word) {
    const wanted = LAUNCH[this.launchWords.length];
    if (wanted === undefined || word === wanted) this.launchWords.push(word);
    else this.launchWords = word === 0 ? [0] : [];
    this._deliver(0, word);
    this.wakeCores();
    if (this.launchWords.length < LAUNCH_WORDS) return;
    const [, , , vectors, stack, entry] = this.launchWords, core = (this.cores[1] = new FastCore(this.mcu));
    this.ppbs[1] = new RPPPB(this.mcu, 'PPB1');
    core.VTOR = vectors;
    core.SP = stack;
    core.PC = entry & ~1;
    core.LR = this.mcu.bootrom[WAIT_FOR_VECTOR / 4] | 1;
    this.core1 = 'running';
    this.wereAwake[1] = false;
  }

  _onBreak(code) {
    const { flash } = this.mcu, core = this.cores[this.current], [at, second, third] = core.registers;
    if (code === BREAK_ERASE) {
      flash.fill(0xff, at, at + second);
      this.flashCycles += Math.round(((second / SECTOR_BYTES) * ERASE_SECTOR_NS) / CYCLE_NS);
    } else if (code === BREAK_PROGRAM) {
      for (let i = 0; i < third; i++) flash[at + i] &= this.mcu.readUint8(second + i);
      this.flashCycles += Math.round(((third / PAGE_BYTES) * PROGRAM_PAGE_NS) / CYCLE_NS);
    } else {
      console.error('breakpoint', code, 'on core', this.current, 'at', core.PC.toString(16), 'from', core.LR.toString(16));
      this.failed = true;
    }
  }

  /** Run until the chip's clock reaches `limitNs` or `wallMs` have passed; false where nothing is left to be run before something comes. */
  run(limitNs, wallMs) {
    const { clock } = this, end = performance.now() + wallMs;
    for (let step = 1; ; step++) {
      if (step % STEPS_A_LOOK === 0) {
        if (performance.now() > end || clock.nanosCounter >= limitNs || this.resetWanted || this.failed) return true;
      }
      const core0Awake = !this.cores[0].waiting, core1Awake = this.core1 === 'running' && !this.cores[1].waiting;
      if (core0Awake && this.core1 !== 'running') {
        this._runCore0Alone();
        step |= STEPS_A_LOOK - 1; // look at the clock next
      } else if (core0Awake || core1Awake) this._runOne(core0Awake, core1Awake);
      else {
        this.wereAwake = [false, false];
        if (!clock.nextAlarm) {
          if (limitNs < Infinity && limitNs > clock.nanosCounter) clock.nanosCounter = limitNs;
          return false;
        }
        const next = clock.nanosToNextAlarm;
        if (clock.nanosCounter + next > limitNs) {
          clock.tick(Math.max(0, limitNs - clock.nanosCounter));
          return true;
        }
        clock.tick(next);
      }
    }
  }

  _runCore0Alone() {
    const { clock } = this, core = this.cores[0];
    let time = clock.nanosCounter;
    for (let step = 0; step < STEPS_ALONE && !core.waiting && this.core1 !== 'running'; step++) {
      time += core.executeInstruction() * CYCLE_NS;
      if (this.flashCycles !== 0) time += this._takeFlashTime();
      this._advance(time);
    }
    this.times[0] = time;
    this.wereAwake[0] = true;
  }

  /** One instruction of the core that is behind. */
  _runOne(core0Awake, core1Awake) {
    const { clock, times, wereAwake } = this, now = clock.nanosCounter;
    if (core0Awake && !wereAwake[0]) times[0] = now;
    if (core1Awake && !wereAwake[1]) times[1] = now;
    wereAwake[0] = core0Awake;
    wereAwake[1] = core1Awake;
    const index = core0Awake && (!core1Awake || times[0] <= times[1]) ? 0 : 1;
    if (index) this._select(1);
    times[index] += this.cores[index].executeInstruction() * CYCLE_NS;
    if (this.flashCycles !== 0) times[index] += this._takeFlashTime();
    if (index) this._select(0);
    const passed = core0Awake && core1Awake ? Math.min(times[0], times[1]) : times[core0Awake ? 0 : 1];
    if (passed > now) this._advance(passed);
  }

  /** rp2040js knows one core: make it this one. */
  _select(index) {
    this.current = index;
    this.mcu.core = this.cores[index];
    this.mcu.ppb = this.ppbs[index];
    this.mcu.sio = this.sios[index];
  }

  _takeFlashTime() {
    const time = this.flashCycles * CYCLE_NS;
    this.flashCycles = 0;
    return time;
  }

  _advance(time) {
    const { clock } = this;
    if (clock.nextAlarm !== null && clock.nextAlarm.nanos <= time) clock.tick(time - clock.nanosCounter);
    else clock.nanosCounter = time;
  }
}
