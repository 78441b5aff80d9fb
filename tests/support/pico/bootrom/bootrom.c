// What the emulated chip has in place of the RP2040's boot ROM: the functions that the Pico SDK looks up there, at the places and under
// the codes that the SDK's public headers name. Nothing of Raspberry Pi's ROM is in it. Erasing and programming the flash, and what
// must not happen, are breakpoints that the emulator answers (chip.mjs, onBreak).
#include <stddef.h>
#include <stdint.h>

#define USED __attribute__((used))
#define NAKED __attribute__((naked))
#define CODE(a, b) ((a) | ((b) << 8))

// Bits

static uint32_t popcount(uint32_t x) {
    uint32_t count = 0;
    for (; x; x &= x - 1) count++;
    return count;
}

static uint32_t reverse(uint32_t x) {
    uint32_t reversed = 0;
    for (int i = 0; i < 32; i++, x >>= 1) reversed = (reversed << 1) | (x & 1);
    return reversed;
}

static uint32_t leading_zeros(uint32_t x) {
    uint32_t count = 0;
    if (!x) return 32;
    for (uint32_t step = 16; step; step >>= 1)
        if (!(x >> (32 - step))) { count += step; x <<= step; }
    return count;
}

static uint32_t trailing_zeros(uint32_t x) { return x ? 31 - leading_zeros(x & -x) : 32; }

// Memory: by words where that goes, since MicroPython moves much of its memory with these

static void *fill(uint8_t *to, uint32_t value, uint32_t count) {
    uint8_t *p = to;
    uint32_t word = (value & 0xff) * 0x01010101u;
    for (; count && ((uintptr_t)p & 3); count--) *p++ = value;
    uint32_t *words = (uint32_t *)p;
    for (; count >= 16; count -= 16, words += 4) { words[0] = word; words[1] = word; words[2] = word; words[3] = word; }
    for (; count >= 4; count -= 4) *words++ = word;
    for (p = (uint8_t *)words; count; count--) *p++ = value;
    return to;
}

static void *copy(uint8_t *to, const uint8_t *from, uint32_t count) {
    uint8_t *p = to;
    if (count >= 8 && !(((uintptr_t)p ^ (uintptr_t)from) & 3)) {
        for (; (uintptr_t)p & 3; count--) *p++ = *from++;
        uint32_t *words = (uint32_t *)p;
        const uint32_t *source = (const uint32_t *)from;
        for (; count >= 16; count -= 16, words += 4, source += 4) {
            words[0] = source[0]; words[1] = source[1]; words[2] = source[2]; words[3] = source[3];
        }
        for (; count >= 4; count -= 4) *words++ = *source++;
        p = (uint8_t *)words;
        from = (const uint8_t *)source;
    }
    while (count--) *p++ = *from++;
    return to;
}

// The compiler calls these by itself.
USED void *memcpy(void *to, const void *from, size_t count) { return copy(to, from, count); }
USED void *memset(void *to, int value, size_t count) { return fill(to, value, count); }

// What the emulator does for us, and where the program ends

static void nothing(void) {}
NAKED static void erase_flash(void) { __asm volatile("bkpt #1\n bx lr"); }
NAKED static void program_flash(void) { __asm volatile("bkpt #2\n bx lr"); }
NAKED static void usb_boot(void) { __asm volatile("1: bkpt #3\n b 1b"); }
NAKED static void missing(void) { __asm volatile("1: bkpt #4\n b 1b"); }
NAKED static void fault(void) { __asm volatile("1: bkpt #5\n b 1b"); }
NAKED USED void wait_for_vector(void) { __asm volatile("1: wfi\n b 1b"); }

// Floats: rounded down to integers, and held at the ends of their range

static float f_add(float a, float b) { return a + b; }
static float f_sub(float a, float b) { return a - b; }
static float f_mul(float a, float b) { return a * b; }
static float f_div(float a, float b) { return a / b; }
static float f_scaled(float x, int bits) {
    for (; bits > 0; bits--) x *= 2;
    for (; bits < 0; bits++) x *= 0.5f;
    return x;
}
static int f_to_int(float x) {
    if (x != x) return 0;
    if (x >= 2147483648.0f) return INT32_MAX;
    if (x <= -2147483648.0f) return INT32_MIN;
    int whole = (int)x;
    return (float)whole > x ? whole - 1 : whole;
}
static uint32_t f_to_uint(float x) { return !(x > 0) ? 0 : x >= 4294967296.0f ? UINT32_MAX : (uint32_t)x; }
static int f_to_fix(float x, int bits) { return f_to_int(f_scaled(x, bits)); }
static uint32_t f_to_ufix(float x, int bits) { return f_to_uint(f_scaled(x, bits)); }
static float f_int(int x) { return x; }
static float f_uint(uint32_t x) { return x; }
static float f_fix(int x, int bits) { return f_scaled(x, -bits); }
static float f_ufix(uint32_t x, int bits) { return f_scaled(x, -bits); }
static float f_int64(int64_t x) { return x; }
static float f_uint64(uint64_t x) { return x; }
static int64_t f_to_int64(float x) { int64_t whole = (int64_t)x; return (float)whole > x ? whole - 1 : whole; }
static uint64_t f_to_uint64(float x) { return x > 0 ? (uint64_t)x : 0; }
static double f_to_double(float x) { return x; }

static double d_add(double a, double b) { return a + b; }
static double d_sub(double a, double b) { return a - b; }
static double d_mul(double a, double b) { return a * b; }
static double d_div(double a, double b) { return a / b; }
static int d_to_int(double x) {
    if (x != x) return 0;
    if (x >= 2147483648.0) return INT32_MAX;
    if (x <= -2147483648.0) return INT32_MIN;
    int whole = (int)x;
    return (double)whole > x ? whole - 1 : whole;
}
static uint32_t d_to_uint(double x) { return !(x > 0) ? 0 : x >= 4294967296.0 ? UINT32_MAX : (uint32_t)x; }
static double d_int(int x) { return x; }
static double d_uint(uint32_t x) { return x; }
static double d_int64(int64_t x) { return x; }
static double d_uint64(uint64_t x) { return x; }
static int64_t d_to_int64(double x) { int64_t whole = (int64_t)x; return (double)whole > x ? whole - 1 : whole; }
static uint64_t d_to_uint64(double x) { return x > 0 ? (uint64_t)x : 0; }
static float d_to_float(double x) { return x; }

// The tables that the SDK looks in. What MicroPython never calls is missing(), and the emulator says so.

#define ANY ((void *)missing)
// The SDK reads the number of functions from the byte before the table's end of its header.
static const uint8_t USED __attribute__((aligned(4))) table_header[4] = {0, 0, 32, 0};
static void *const USED floats[32] = {
    f_add, f_sub, f_mul, f_div, ANY, ANY, ANY, f_to_int, f_to_fix, f_to_uint, f_to_ufix, f_int, f_fix, f_uint, f_ufix, ANY,
    ANY, ANY, ANY, ANY, ANY, ANY, ANY, f_int64, ANY, f_uint64, ANY, f_to_int64, ANY, f_to_uint64, ANY, f_to_double,
};
static void *const USED doubles[32] = {
    d_add, d_sub, d_mul, d_div, ANY, ANY, ANY, d_to_int, ANY, d_to_uint, ANY, d_int, ANY, d_uint, ANY, ANY,
    ANY, ANY, ANY, ANY, ANY, ANY, ANY, d_int64, ANY, d_uint64, ANY, d_to_int64, ANY, d_to_uint64, ANY, d_to_float,
};

struct entry { uint32_t code; void *what; };
static const struct entry functions[] = {
    {CODE('P', '3'), popcount},     {CODE('R', '3'), reverse},       {CODE('L', '3'), leading_zeros}, {CODE('T', '3'), trailing_zeros},
    {CODE('M', 'S'), fill},         {CODE('S', '4'), fill},          {CODE('M', 'C'), copy},          {CODE('C', '4'), copy},
    {CODE('U', 'B'), usb_boot},     {CODE('I', 'F'), nothing},       {CODE('E', 'X'), nothing},       {CODE('R', 'E'), erase_flash},
    {CODE('R', 'P'), program_flash}, {CODE('F', 'C'), nothing},      {CODE('C', 'X'), nothing},       {CODE('W', 'V'), wait_for_vector},
    {0, 0},
};
static const struct entry data[] = {{CODE('S', 'F'), (void *)floats}, {CODE('S', 'D'), (void *)doubles}, {0, 0}};

USED void *look_up(const struct entry *table, uint32_t code) {
    for (; table->code; table++)
        if (table->code == code) return table->what;
    return 0;
}

// The start of the ROM. The three 16-bit addresses are written in by build.py, which reads them from `found`.
struct vectors {
    uint32_t stack;
    void *reset, *nmi, *hard_fault;
    uint8_t magic[3], version;
    uint16_t functions, data, look_up, unused;
};
const struct vectors USED __attribute__((section(".vectors"))) vectors = {
    0x20042000, (void *)wait_for_vector, (void *)fault, (void *)fault, {'M', 'u', 1}, 3, 0, 0, 0, 0,
};
const void *const USED found[] = {functions, data, (void *)look_up, (void *)wait_for_vector};
