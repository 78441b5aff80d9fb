"""Virtual boards: real MicroPython, or CPython, behind a line as a serial port has it.

`launcher` starts one, `process` is its program, `firmware` builds its MicroPython, and `view` shows it in a notebook.
"""
