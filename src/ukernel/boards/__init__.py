"""The public door for programs will be here; so far, what a host knows of a board's program text: `rewrite` makes what is run for a
cell, `syntax` reads MicroPython's grammar, `tracebacks` shows a board's errors, `firmwaremodules` says what a firmware has.
"""
