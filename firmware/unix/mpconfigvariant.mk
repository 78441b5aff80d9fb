# The virtual board: a unix port that behaves like a board. See ../README.md.
PROG = micropython
COPT = -O2

# The port's own switch forces the GIL off, so threads are turned on here instead.
MICROPY_PY_THREAD = 0
CFLAGS += -DMICROPY_PY_THREAD=1 -DMICROPY_PY_THREAD_GIL=1
LDFLAGS += -lpthread

# Nothing that needs a library which is not in every Debian.
MICROPY_PY_SSL = 0
MICROPY_PY_BTREE = 0
MICROPY_PY_FFI = 0
MICROPY_PY_JNI = 0
MICROPY_VFS_LFS1 = 0

# No chip has it.
MICROPY_PY_TERMIOS = 0

# A chip's REPL, raw REPL included; the port has one of its own without.
SHARED_SRC_C_EXTRA += runtime/pyexec.c
