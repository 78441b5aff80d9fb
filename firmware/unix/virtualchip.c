// The module `_virtualchip`: what the simulated `machine` cannot do in Python.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "extmod/vfs.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/mpthread.h"
#include "py/obj.h"
#include "py/objarray.h"
#include "py/runtime.h"
#include "shared/runtime/pyexec.h"

// Ends the process at once, from any thread: the virtual board's process boots it again, as a reset does.
// A soft reset, unlike a hard one, closes the files that are open.
static mp_obj_t virtualchip_reset(mp_obj_t code_in, mp_obj_t soft) {
    int code = mp_obj_get_int(code_in);
    if (mp_obj_is_true(soft)) {
        gc_sweep_all();
    }
    _exit(code);
}
static MP_DEFINE_CONST_FUN_OBJ_2(virtualchip_reset_obj, virtualchip_reset);

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

// An environment variable that is for the board, as UCORE_VIRTUAL_ID; NULL without. The others are the host's.
static const char *get_setting(const char *variable) {
    return strncmp(variable, "UCORE_VIRTUAL_", 14) == 0 ? getenv(variable) : NULL;
}

// setting(variable): its text; None without.
static mp_obj_t virtualchip_setting(mp_obj_t variable) {
    const char *text = get_setting(mp_obj_str_get_str(variable));
    return text ? mp_obj_new_str_from_cstr(text) : mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_setting_obj, virtualchip_setting);

// The file that such a variable names, shared with the host; NULL without.
static void *map_file(const char *variable, size_t *size) {
    const char *path = get_setting(variable);
    int fd = path ? open(path, O_RDWR | O_NOFOLLOW) : -1;
    if (fd < 0) {
        return NULL;
    }
    struct stat about;
    void *memory = MAP_FAILED;
    if (fstat(fd, &about) == 0 && about.st_size > 0) {
        *size = about.st_size;
        memory = mmap(NULL, about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

// memory(variable): that file as a bytearray; None without.
static mp_obj_t virtualchip_memory(mp_obj_t variable) {
    size_t size = 0;
    void *memory = map_file(mp_obj_str_get_str(variable), &size);
    return memory ? mp_obj_new_bytearray_by_ref(size, memory) : mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_memory_obj, virtualchip_memory);

// Flash: the block device that the board's files are on. In C, because a soft reset closes files where no bytecode can run.
#define BLOCK_SIZE (4096)
static byte *flash_memory;
static size_t flash_size;

static byte *flash_place(size_t n_args, const mp_obj_t *args, mp_buffer_info_t *buffer, int flags) {
    mp_get_buffer_raise(args[2], buffer, flags);
    size_t start = (size_t)mp_obj_get_int(args[1]) * BLOCK_SIZE + (n_args > 3 ? mp_obj_get_int(args[3]) : 0);
    return start <= flash_size && buffer->len <= flash_size - start ? flash_memory + start : NULL;
}

static mp_obj_t flash_readblocks(size_t n_args, const mp_obj_t *args) {
    mp_buffer_info_t buffer;
    byte *place = flash_place(n_args, args, &buffer, MP_BUFFER_WRITE);
    if (place) {
        memcpy(buffer.buf, place, buffer.len);
    }
    return MP_OBJ_NEW_SMALL_INT(place ? 0 : -MP_EIO);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_readblocks_obj, 3, 4, flash_readblocks);

static mp_obj_t flash_writeblocks(size_t n_args, const mp_obj_t *args) {
    mp_buffer_info_t buffer;
    byte *place = flash_place(n_args, args, &buffer, MP_BUFFER_READ);
    if (place) {
        memcpy(place, buffer.buf, buffer.len);
    }
    return MP_OBJ_NEW_SMALL_INT(place ? 0 : -MP_EIO);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_writeblocks_obj, 3, 4, flash_writeblocks);

static mp_obj_t flash_ioctl(mp_obj_t self, mp_obj_t request, mp_obj_t argument) {
    switch (mp_obj_get_int(request)) {
        case MP_BLOCKDEV_IOCTL_BLOCK_COUNT:
            return MP_OBJ_NEW_SMALL_INT(flash_size / BLOCK_SIZE);
        case MP_BLOCKDEV_IOCTL_BLOCK_SIZE:
            return MP_OBJ_NEW_SMALL_INT(BLOCK_SIZE);
        default: // to start, stop, sync and erase there is nothing to do
            return MP_OBJ_NEW_SMALL_INT(0);
    }
}
static MP_DEFINE_CONST_FUN_OBJ_3(flash_ioctl_obj, flash_ioctl);

// Flash(): the one there is. OSError where the environment variable UCORE_VIRTUAL_FLASH names no file.
static mp_obj_t flash_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 0, false);
    if (!flash_memory && !(flash_memory = map_file("UCORE_VIRTUAL_FLASH", &flash_size))) {
        mp_raise_OSError(MP_ENODEV);
    }
    return MP_OBJ_FROM_PTR(mp_obj_malloc(mp_obj_base_t, type));
}

static const mp_rom_map_elem_t flash_locals_table[] = {
    { MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&flash_readblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&flash_writeblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&flash_ioctl_obj) },
};
static MP_DEFINE_CONST_DICT(flash_locals, flash_locals_table);
static MP_DEFINE_CONST_OBJ_TYPE(flash_type, MP_QSTR_Flash, MP_TYPE_FLAG_NONE, make_new, flash_make_new, locals_dict, &flash_locals);

// Tells whoever holds the other end of the line that boot.py or main.py runs, and no cell.
static void show_running(bool on) {
    struct termios line;
    if (tcgetattr(STDIN_FILENO, &line) == 0) {
        line.c_lflag = on ? line.c_lflag | TOSTOP : line.c_lflag & ~TOSTOP;
        tcsetattr(STDIN_FILENO, TCSANOW, &line);
    }
}

// What a program defines at its top level its functions find: both belong to __main__, whoever has called us.
static void enter_main(nlr_jump_callback_node_globals_locals_t *before) {
    before->globals = mp_globals_get();
    before->locals = mp_locals_get();
    mp_globals_set(&MP_STATE_VM(dict_main));
    mp_locals_set(&MP_STATE_VM(dict_main));
    nlr_push_jump_callback(&before->callback, mp_globals_locals_set_from_nlr_jump_callback);
}

// run(path): runs a file, if it is there, as a chip runs boot.py and main.py; true where it has asked for a soft reset.
static mp_obj_t virtualchip_run(mp_obj_t path) {
    nlr_jump_callback_node_globals_locals_t before;
    enter_main(&before);
    show_running(true);
    int ret = pyexec_file_if_exists(mp_obj_str_get_str(path));
    show_running(false);
    nlr_pop_jump_callback(true);
    return mp_obj_new_bool(ret & PYEXEC_FORCED_EXIT);
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_run_obj, virtualchip_run);

// repl(raw): the REPL, or the raw one (None: whichever it was), until somebody asks for a soft reset; true where that was in the raw one.
static mp_obj_t virtualchip_repl(mp_obj_t raw) {
    mp_hal_set_interrupt_char(-1);
    if (raw != mp_const_none) {
        pyexec_mode_kind = mp_obj_is_true(raw) ? PYEXEC_MODE_RAW_REPL : PYEXEC_MODE_FRIENDLY_REPL;
    }
    nlr_jump_callback_node_globals_locals_t before;
    enter_main(&before);
    int ret;
    do {
        ret = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl();
    } while (ret == 0);
    nlr_pop_jump_callback(true);
    mp_hal_stdout_tx_str("MPY: soft reboot\r\n");
    return mp_obj_new_bool(pyexec_mode_kind == PYEXEC_MODE_RAW_REPL);
}
static MP_DEFINE_CONST_FUN_OBJ_1(virtualchip_repl_obj, virtualchip_repl);

static const mp_rom_map_elem_t virtualchip_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__virtualchip) },
    { MP_ROM_QSTR(MP_QSTR_reset), MP_ROM_PTR(&virtualchip_reset_obj) },
    { MP_ROM_QSTR(MP_QSTR_tick), MP_ROM_PTR(&virtualchip_tick_obj) },
    { MP_ROM_QSTR(MP_QSTR_Flash), MP_ROM_PTR(&flash_type) },
    { MP_ROM_QSTR(MP_QSTR_setting), MP_ROM_PTR(&virtualchip_setting_obj) },
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
