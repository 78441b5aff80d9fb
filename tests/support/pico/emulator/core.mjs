// The Thumb instructions that make up nearly all of MicroPython's run, as one table switch on the memory's own arrays: several times as
// fast as rp2040js' interpreter, which does the others, all exceptions, and every access to a peripheral. Cycles are the Cortex-M0+'s.
import { CortexM0Core } from '../node_modules/rp2040js/dist/esm/cortex-m0-core.js';

const SRAM = 0x20000000;
const SRAM_SIZE = 0x42000;
const FLASH_TAG = 0x10; // the highest byte of an address in the flash

export class FastCore extends CortexM0Core {
  constructor(mcu) {
    super(mcu);
    this.sram8 = mcu.sram;
    this.sram16 = new Uint16Array(mcu.sram.buffer);
    this.sram32 = new Uint32Array(mcu.sram.buffer);
    this.flash8 = mcu.flash;
    this.flash16 = mcu.flash16;
    this.flash32 = new Uint32Array(mcu.flash.buffer);
    this.rom16 = new Uint16Array(mcu.bootrom.buffer);
    this.accessCycles = 0; // what the last load or store took beyond the instruction's own cycle
  }

  load32(address) {
    address >>>= 0;
    const offset = address - SRAM;
    this.accessCycles = 1;
    if (offset >= 0 && offset < SRAM_SIZE && (address & 3) === 0) return this.sram32[offset >> 2];
    if ((address >>> 24) === FLASH_TAG && (address & 3) === 0) return this.flash32[(address & 0xffffff) >> 2];
    this.accessCycles = this.cyclesIO(address);
    return this.rp2040.readUint32(address);
  }

  load16(address) {
    address >>>= 0;
    const offset = address - SRAM;
    this.accessCycles = 1;
    if (offset >= 0 && offset < SRAM_SIZE && (address & 1) === 0) return this.sram16[offset >> 1];
    if ((address >>> 24) === FLASH_TAG && (address & 1) === 0) return this.flash16[(address & 0xffffff) >> 1];
    this.accessCycles = this.cyclesIO(address);
    return this.rp2040.readUint16(address);
  }

  load8(address) {
    address >>>= 0;
    const offset = address - SRAM;
    this.accessCycles = 1;
    if (offset >= 0 && offset < SRAM_SIZE) return this.sram8[offset];
    if ((address >>> 24) === FLASH_TAG) return this.flash8[(address & 0xffffff)];
    this.accessCycles = this.cyclesIO(address);
    return this.rp2040.readUint8(address);
  }

  store32(address, value) {
    address >>>= 0;
    const offset = address - SRAM;
    this.accessCycles = 1;
    if (offset >= 0 && offset < SRAM_SIZE && (address & 3) === 0) {
      this.sram32[offset >> 2] = value;
      return;
    }
    this.accessCycles = this.cyclesIO(address, true);
    this.rp2040.writeUint32(address, value);
  }

  store16(address, value) {
    address >>>= 0;
    const offset = address - SRAM;
    this.accessCycles = 1;
    if (offset >= 0 && offset < SRAM_SIZE && (address & 1) === 0) {
      this.sram16[offset >> 1] = value;
      return;
    }
    this.accessCycles = this.cyclesIO(address, true);
    this.rp2040.writeUint16(address, value);
  }

  store8(address, value) {
    address >>>= 0;
    const offset = address - SRAM;
    this.accessCycles = 1;
    if (offset >= 0 && offset < SRAM_SIZE) {
      this.sram8[offset] = value;
      return;
    }
    this.accessCycles = this.cyclesIO(address, true);
    this.rp2040.writeUint8(address, value);
  }

  setNZ(result) {
    this.N = (result & 0x80000000) !== 0;
    this.Z = (result | 0) === 0;
  }

  addFlags(a, b) {
    const sum = a + b, result = sum | 0;
    this.N = result < 0;
    this.Z = result === 0;
    this.C = sum > 0xffffffff;
    this.V = ((a ^ result) & (b ^ result)) < 0;
    return result;
  }

  subtractFlags(a, b) {
    const result = (a - b) | 0;
    this.N = result < 0;
    this.Z = result === 0;
    this.C = a >= b;
    this.V = ((a ^ b) & (a ^ result)) < 0;
    return result;
  }

  executeInstruction() {
    if (this.interruptsUpdated && this.checkForInterrupts()) this.waiting = false;
    const registers = this.registers, pc = registers[15] & ~1;
    let op;
    if ((pc >>> 24) === 0x10) op = this.flash16[(pc & 0xffffff) >> 1];
    else if ((pc >>> 20) === 0x200) op = this.sram16[(pc - 0x20000000) >> 1];
    else if (pc >>> 0 < 0x4000) op = this.rom16[pc >> 1];
    else return super.executeInstruction();
    let cycles = 1;
    switch (op >> 11) {
      // LSL immediate
      case 0: { const i = (op >> 6) & 31, x = registers[(op >> 3) & 7], r = x << i; registers[op & 7] = r; this.setNZ(r); if (i) this.C = ((x >>> (32 - i)) & 1) !== 0; break; }
      // LSR immediate
      case 1: { const i = (op >> 6) & 31, x = registers[(op >> 3) & 7], r = i ? x >>> i : 0; registers[op & 7] = r; this.setNZ(r); this.C = ((x >>> (i ? i - 1 : 31)) & 1) !== 0; break; }
      // ASR immediate
      case 2: { const i = (op >> 6) & 31, x = registers[(op >> 3) & 7], r = i ? x >> i : (x | 0) >> 31; registers[op & 7] = r; this.setNZ(r); this.C = ((x >>> (i ? i - 1 : 31)) & 1) !== 0; break; }
      // ADD, SUB of three
      case 3: { const n = registers[(op >> 3) & 7], k = (op >> 6) & 7; const m = op & 0x400 ? k : registers[k]; registers[op & 7] = op & 0x200 ? this.subtractFlags(n, m) : this.addFlags(n, m); break; }
      // MOV immediate
      case 4: { const v = op & 255; registers[(op >> 8) & 7] = v; this.N = false; this.Z = v === 0; break; }
      // CMP immediate
      case 5: this.subtractFlags(registers[(op >> 8) & 7], op & 255); break;
      // ADD immediate
      case 6: { const d = (op >> 8) & 7; registers[d] = this.addFlags(registers[d], op & 255); break; }
      // SUB immediate
      case 7: { const d = (op >> 8) & 7; registers[d] = this.subtractFlags(registers[d], op & 255); break; }
      // two registers, and branches to one
      case 8: {
        const m = (op >> 3) & 7, d = op & 7;
        switch ((op >> 6) & 31) {
          case 0: { const r = registers[d] & registers[m]; registers[d] = r; this.setNZ(r); break; }
          case 1: { const r = registers[d] ^ registers[m]; registers[d] = r; this.setNZ(r); break; }
          case 2: { const x = registers[d], k = registers[m] & 255, r = k >= 32 ? 0 : x << k; registers[d] = r; this.setNZ(r); if (k) this.C = k <= 32 && ((x >>> (32 - k)) & 1) !== 0; break; }
          case 3: { const x = registers[d], k = registers[m] & 255, r = k < 32 ? x >>> k : 0; registers[d] = r; this.setNZ(r); if (k) this.C = k <= 32 && ((x >>> (k - 1)) & 1) !== 0; break; }
          case 5: { const a = registers[d], b = registers[m], q = a + b + (this.C ? 1 : 0), r = q | 0; registers[d] = r; this.N = r < 0; this.Z = r === 0; this.C = q > 4294967295; this.V = ((a ^ r) & (b ^ r)) < 0; break; }
          case 6: { const a = registers[d], b = registers[m], q = a - b - (this.C ? 0 : 1), r = q | 0; registers[d] = r; this.N = r < 0; this.Z = r === 0; this.C = q >= 0; this.V = ((a ^ b) & (a ^ r)) < 0; break; }
          case 8: this.setNZ(registers[d] & registers[m]); break;
          case 10: this.subtractFlags(registers[d], registers[m]); break;
          case 12: { const r = registers[d] | registers[m]; registers[d] = r; this.setNZ(r); break; }
          case 13: { const r = Math.imul(registers[d], registers[m]); registers[d] = r; this.setNZ(r); break; }
          case 14: { const r = registers[d] & ~registers[m]; registers[d] = r; this.setNZ(r); break; }
          case 15: { const r = ~registers[m]; registers[d] = r; this.setNZ(r); break; }
          case 9: registers[d] = this.subtractFlags(0, registers[m]); break;
          case 24: case 25: case 26: case 27: { const D = ((op >> 4) & 8) | d, M = (op >> 3) & 15; if (D === 13 || D === 15 || M === 15) return super.executeInstruction(); registers[D] = registers[M]; break; }
          case 28: case 29: { // BX
            if (op & 7) return super.executeInstruction();
            const t = registers[(op >> 3) & 15]; registers[15] = pc + 2; if ((t >>> 28) === 15) return this.exchangeSlowly(t); registers[15] = t & ~1; this.cycles += 2; return 2; }
          case 30: case 31: { if (op & 7) return super.executeInstruction(); const t = registers[(op >> 3) & 15]; registers[14] = (pc + 2) | 1; registers[15] = t & ~1; this.cycles += 2; return 2; }
          default: return super.executeInstruction();
        }
        break;
      }
      // LDR from beside the code
      case 9: registers[(op >> 8) & 7] = this.load32(((pc + 4) & ~3) + ((op & 255) << 2)); cycles += this.accessCycles; break;
      // loads and stores with a register for the offset
      case 10: case 11: {
        const a = registers[(op >> 6) & 7] + registers[(op >> 3) & 7], t = op & 7;
        switch ((op >> 9) & 7) {
          case 0: this.store32(a, registers[t]); break; case 1: this.store16(a, registers[t]); break; case 2: this.store8(a, registers[t]); break;
          case 3: registers[t] = (this.load8(a) << 24) >> 24; break; case 4: registers[t] = this.load32(a); break; case 5: registers[t] = this.load16(a); break;
          case 6: registers[t] = this.load8(a); break; case 7: registers[t] = (this.load16(a) << 16) >> 16; break;
        }
        cycles += this.accessCycles; break;
      }
      // STR
      case 12: this.store32(registers[(op >> 3) & 7] + ((op >> 4) & 0x7c), registers[op & 7]); cycles += this.accessCycles; break;
      // LDR
      case 13: registers[op & 7] = this.load32(registers[(op >> 3) & 7] + ((op >> 4) & 0x7c)); cycles += this.accessCycles; break;
      // STRB
      case 14: this.store8(registers[(op >> 3) & 7] + ((op >> 6) & 31), registers[op & 7]); cycles += this.accessCycles; break;
      // LDRB
      case 15: registers[op & 7] = this.load8(registers[(op >> 3) & 7] + ((op >> 6) & 31)); cycles += this.accessCycles; break;
      // STRH
      case 16: this.store16(registers[(op >> 3) & 7] + ((op >> 5) & 62), registers[op & 7]); cycles += this.accessCycles; break;
      // LDRH
      case 17: registers[op & 7] = this.load16(registers[(op >> 3) & 7] + ((op >> 5) & 62)); cycles += this.accessCycles; break;
      // STR on the stack
      case 18: this.store32(registers[13] + ((op & 255) << 2), registers[(op >> 8) & 7]); cycles += this.accessCycles; break;
      // LDR from the stack
      case 19: registers[(op >> 8) & 7] = this.load32(registers[13] + ((op & 255) << 2)); cycles += this.accessCycles; break;
      // ADR
      case 20: registers[(op >> 8) & 7] = ((pc & ~3) + 4 + ((op & 255) << 2)); break;
      // ADD of SP
      case 21: registers[(op >> 8) & 7] = registers[13] + ((op & 255) << 2); break;
      // SP, extensions, PUSH, POP
      case 22: case 23: {
        switch ((op >> 8) & 15) {
          case 0: { const i = (op & 127) << 2; registers[13] = op & 128 ? registers[13] - i : registers[13] + i; break; }
          case 2: { const x = registers[(op >> 3) & 7], d = op & 7; switch ((op >> 6) & 3) { case 0: registers[d] = (x << 16) >> 16; break; case 1: registers[d] = (x << 24) >> 24; break; case 2: registers[d] = x & 0xffff; break; case 3: registers[d] = x & 255; break; } break; }
          case 4: case 5: {
            let n = 0; for (let b = op & 0x1ff; b; b &= b - 1) n++;
            let a = registers[13] - 4 * n; const sp = a;
            for (let i = 0; i < 8; i++) if (op & (1 << i)) { this.store32(a, registers[i]); a += 4; cycles++; }
            if (op & 256) this.store32(a, registers[14]);
            registers[13] = sp; break;
          }
          case 12: case 13: {
            let a = registers[13];
            for (let i = 0; i < 8; i++) if (op & (1 << i)) { registers[i] = this.load32(a); a += 4; cycles++; }
            if (op & 256) { const t = this.load32(a); registers[13] = a + 4; cycles += 2; if ((t >>> 28) === 15) { registers[15] = pc + 2; this.BXWritePC(t); } else registers[15] = t & ~1; this.cycles += cycles; return cycles; }
            registers[13] = a; break;
          }
          default: return super.executeInstruction();
        }
        break;
      }
      // STM
      case 24: { const n = (op >> 8) & 7; let a = registers[n]; for (let i = 0; i < 8; i++) if (op & (1 << i)) { this.store32(a, registers[i]); a += 4; cycles++; } if (!(op & (1 << n))) registers[n] = a; break; }
      // LDM
      case 25: { const n = (op >> 8) & 7; let a = registers[n]; for (let i = 0; i < 8; i++) if (op & (1 << i)) { registers[i] = this.load32(a); a += 4; cycles++; } if (!(op & (1 << n))) registers[n] = a; break; }
      // B on a condition
      case 26: case 27: {
        let t;
        switch ((op >> 8) & 15) {
          case 0: t = this.Z; break; case 1: t = !this.Z; break; case 2: t = this.C; break; case 3: t = !this.C; break;
          case 4: t = this.N; break; case 5: t = !this.N; break; case 6: t = this.V; break; case 7: t = !this.V; break;
          case 8: t = this.C && !this.Z; break; case 9: t = !(this.C && !this.Z); break; case 10: t = this.N === this.V; break; case 11: t = this.N !== this.V; break;
          case 12: t = this.N === this.V && !this.Z; break; case 13: t = !(this.N === this.V && !this.Z); break;
          default: return super.executeInstruction();
        }
        if (t) { registers[15] = pc + 4 + ((op << 24) >> 23); this.cycles += 2; return 2; }
        break;
      }
      // B
      case 28: registers[15] = pc + 4 + ((op << 21) >> 20); this.cycles += 2; return 2;
      // BL
      case 30: {
        const o2 = pc >>> 0 < 0x3ffe ? this.rom16[(pc + 2) >> 1] : (pc >>> 24) === 0x10 ? this.flash16[((pc + 2) & 0xffffff) >> 1] : this.sram16[(pc + 2 - 0x20000000) >> 1];
        if ((o2 & 0xd000) !== 0xd000) return super.executeInstruction();
        const S = (op >> 10) & 1, I1 = 1 - (S ^ ((o2 >> 13) & 1)), I2 = 1 - (S ^ ((o2 >> 11) & 1));
        const imm = (S ? -16777216 : 0) | (I1 << 23) | (I2 << 22) | ((op & 0x3ff) << 12) | ((o2 & 0x7ff) << 1);
        registers[14] = (pc + 4) | 1; registers[15] = pc + 4 + imm; this.cycles += 3; return 3;
      }
      default: return super.executeInstruction();
    }
    registers[15] = pc + 2; this.cycles += cycles; return cycles;
  }
  exchangeSlowly(t) { this.BXWritePC(t); this.cycles += 2; return 2; }
}
