/* The UART of an ESP32, for a board that is a program: loaded into it with LD_PRELOAD (see BoardUart in uart.py).

   write() to standard output does what MicroPython's uart_stdout_tx_strn does on the chip: fill the FIFO, and if that did
   not take everything, sleep until the next tick and try again. The FIFO empties by the clock, at the line's rate.
   read() from standard input counts, so that the emulator knows how full the input ring is.
   Only a program with both on a terminal is touched: what is on the way to the board (a launcher) runs as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct uart { /* BoardUart.LAYOUT */
    double bytes_per_s;
    uint32_t fifo_bytes, tick_us;
    uint64_t boots, written, waits, read;
};

static volatile struct uart *uart;
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_read)(int, void *, size_t);
static pthread_mutex_t fifo_lock = PTHREAD_MUTEX_INITIALIZER;
static double empty_at; /* when the FIFO will have sent its last byte */

__attribute__((constructor)) static void load(void) {
    real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    real_read = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    const char *path = getenv("UCORE_TEST_UART");
    int fd = path && isatty(0) && isatty(1) ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(struct uart), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return;
    uart = page;
    uart->boots++;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void sleep_until(double at) { /* signals do not shorten it: the chip's loop does not look at them either */
    struct timespec t = {(time_t)at, (long)((at - (double)(time_t)at) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

ssize_t write(int fd, const void *buffer, size_t size) {
    if (fd != 1 || !uart) return real_write(fd, buffer, size);
    size_t done = 0;
    for (;;) {
        /* Only what fits is written under the lock: as on the chip, another thread's bytes may land in the middle. */
        pthread_mutex_lock(&fifo_lock);
        double now = seconds(), rate = uart->bytes_per_s;
        if (empty_at < now) empty_at = now;
        size_t level = (size_t)((empty_at - now) * rate + 0.999);
        size_t room = level < uart->fifo_bytes ? uart->fifo_bytes - level : 0;
        if (room > size - done) room = size - done;
        ssize_t count = room ? real_write(fd, (const char *)buffer + done, room) : 0;
        if (count > 0) {
            empty_at += (double)count / rate;
            done += (size_t)count;
            uart->written += (uint64_t)count;
        }
        double wake = empty_at - uart->fifo_bytes / 2 / rate;
        pthread_mutex_unlock(&fifo_lock);
        if (count < 0 && !done) return -1;
        if (count < 0 || (size_t)count < room || done == size) return (ssize_t)done;
        uart->waits++;
        if (uart->tick_us) {
            double tick = uart->tick_us * 1e-6;
            wake = ((double)(uint64_t)(seconds() / tick) + 1.0) * tick;
        }
        sleep_until(wake);
    }
}

ssize_t read(int fd, void *buffer, size_t size) {
    ssize_t count = real_read(fd, buffer, size);
    if (fd == 0 && uart) {
        uint64_t bytes = 0;
        for (ssize_t i = 0; i < count; i++) bytes += ((char *)buffer)[i] != 3;
        uart->read += bytes;
    }
    return count;
}

ssize_t __read_chk(int fd, void *buffer, size_t size, size_t limit) { /* read(), in programs built with FORTIFY */
    (void)limit;
    return read(fd, buffer, size);
}
