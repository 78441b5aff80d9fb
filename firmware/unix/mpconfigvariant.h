// The virtual board: the feature level of an ESP32, on a pseudo-terminal. See ../README.md.
#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

#include "variants/mpconfigvariant_common.h"

// What the REPL and sys.implementation say.
#define MICROPY_HW_BOARD_NAME "virtual board"
#define MICROPY_HW_MCU_NAME "simulated peripherals"

// An interrupt is scheduled and raised by the VM at a safe point, as on a board, and not from the signal handler.
#undef MICROPY_ASYNC_KBD_INTR
#define MICROPY_ASYNC_KBD_INTR (0)

// The port's atomic section is a recursive mutex, with a GIL as well.
#define MICROPY_PY_THREAD_RECURSIVE_MUTEX (1)

// No chip has these, and the host is not the board's to see. `_virtualchip.setting` has the variables that are for the board.
#undef MICROPY_PY_OS_ERRNO
#undef MICROPY_PY_OS_GETENV_PUTENV_UNSETENV
#undef MICROPY_PY_OS_SYSTEM

// Every chip has this one.
#define MICROPY_PY_OS_UNAME (1)

// A scheduled callback runs soon, even when the main thread sleeps: wake it (patches/2-terminal.patch).
void mp_unix_wake_main_thread(void);
#define MICROPY_SCHED_HOOK_SCHEDULED mp_unix_wake_main_thread()
