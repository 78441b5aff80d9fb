// The module `_virtualchip`: what the simulated `machine` cannot do in Python.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "py/mphal.h"
#include "py/mpthread.h"
#include "py/obj.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "shared/runtime/pyexec.h"

// Ends the process at once, from any thread: the virtual board's process boots it again, as a reset does.
static mp_obj_t virtualchip_reset(mp_obj_t code) {
    _exit(mp_obj_get_int(code));
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_reset_obj, virtualchip_reset);

static void add_ns(struct timespec *time, int64_t ns) {
    ns += time->tv_nsec;
    time->tv_sec += ns / 1000000000;
    time->tv_nsec = ns % 1000000000;
}

static bool is_before(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

// tick(function, argument, period_us, once, state): schedules function(argument) at every period, for a thread of its own.
// It ends when state[0] has changed; state[1] says that a call is already scheduled. In C, because a thread that ran
// bytecode would soon run the scheduled function itself; on a board, that interrupts the program instead.
static mp_obj_t virtualchip_tick(size_t n_args, const mp_obj_t *args) {
    int64_t period_ns = (int64_t)mp_obj_get_int(args[2]) * 1000;
    mp_buffer_info_t state;
    mp_get_buffer_raise(args[4], &state, MP_BUFFER_RW);
    volatile byte *flags = state.buf;
    byte run = mp_obj_get_int(args[1]);
    struct timespec due, now;
    clock_gettime(CLOCK_MONOTONIC, &due);
    do {
        add_ns(&due, period_ns);
        clock_gettime(CLOCK_MONOTONIC, &now);
        while (is_before(&now, &due)) {
            struct timespec until = now;
            add_ns(&until, 100000000); // look at the state at least so often
            MP_THREAD_GIL_EXIT();
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, is_before(&until, &due) ? &until : &due, NULL);
            MP_THREAD_GIL_ENTER();
            if (flags[0] != run) {
                return mp_const_none;
            }
            clock_gettime(CLOCK_MONOTONIC, &now);
        }
        if (!flags[1]) {
            flags[1] = mp_sched_schedule(args[0], args[1]); // false where the queue is full: this tick is lost
        }
    } while (!mp_obj_is_true(args[3]));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(virtualchip_tick_obj, 5, 5, virtualchip_tick);

// memory(variable): the file that this environment variable names, shared with the host, as a bytearray; None without.
static mp_obj_t virtualchip_memory(mp_obj_t variable) {
    const char *path = getenv(mp_obj_str_get_str(variable));
    int fd = path ? open(path, O_RDWR | O_NOFOLLOW) : -1;
    if (fd < 0) {
        return mp_const_none;
    }
    struct stat about;
    void *memory = MAP_FAILED;
    if (fstat(fd, &about) == 0 && about.st_size > 0) {
        memory = mmap(NULL, about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    close(fd);
    return memory == MAP_FAILED ? mp_const_none : mp_obj_new_bytearray_by_ref(about.st_size, memory);
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_memory_obj, virtualchip_memory);

// run(path): runs a file, if it is there, as a chip runs boot.py and main.py; true where it has asked for a soft reset.
static mp_obj_t virtualchip_run(mp_obj_t path) {
    return mp_obj_new_bool(pyexec_file_if_exists(mp_obj_str_get_str(path)) & PYEXEC_FORCED_EXIT);
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_run_obj, virtualchip_run);

// repl(raw): the REPL, or the raw one, until somebody asks for a soft reset; true where that was in the raw one.
static mp_obj_t virtualchip_repl(mp_obj_t raw) {
    pyexec_mode_kind = mp_obj_is_true(raw) ? PYEXEC_MODE_RAW_REPL : PYEXEC_MODE_FRIENDLY_REPL;
    int ret;
    do {
        ret = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl();
    } while (ret == 0);
    mp_hal_stdout_tx_str("MPY: soft reboot\r\n");
    return mp_obj_new_bool(pyexec_mode_kind == PYEXEC_MODE_RAW_REPL);
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_repl_obj, virtualchip_repl);

static const mp_rom_map_elem_t virtualchip_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__virtualchip) },
    { MP_ROM_QSTR(MP_QSTR_reset), MP_ROM_PTR(&virtualchip_reset_obj) },
    { MP_ROM_QSTR(MP_QSTR_tick), MP_ROM_PTR(&virtualchip_tick_obj) },
    { MP_ROM_QSTR(MP_QSTR_memory), MP_ROM_PTR(&virtualchip_memory_obj) },
    { MP_ROM_QSTR(MP_QSTR_run), MP_ROM_PTR(&virtualchip_run_obj) },
    { MP_ROM_QSTR(MP_QSTR_repl), MP_ROM_PTR(&virtualchip_repl_obj) },
};
static MP_DEFINE_CONST_DICT(virtualchip_globals, virtualchip_globals_table);

const mp_obj_module_t virtualchip_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&virtualchip_globals,
};
MP_REGISTER_MODULE(MP_QSTR__virtualchip, virtualchip_module);
