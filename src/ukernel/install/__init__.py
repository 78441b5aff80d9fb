"""Puts µcore on a board with a stock MicroPython: `installer` is what others use.

`pack` makes the board's package small first; benchmarks and tests use it as well.
"""
