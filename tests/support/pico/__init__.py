"""An emulated Raspberry Pi Pico: real MicroPython for the RP2040 (`build`), on rp2040js with a second core and a boot ROM (emulator/).

`picos` starts it and talks to it; nobody else needs this package.
"""
