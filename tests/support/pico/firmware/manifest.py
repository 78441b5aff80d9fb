# What the emulated Pico's MicroPython freezes: the port's own modules and asyncio, as on a stock board; nothing of ours.
# ruff: noqa: F821
freeze("$(PORT_DIR)/modules")
include("$(MPY_DIR)/extmod/asyncio")
