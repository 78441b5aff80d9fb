import _thread
import gc
import os
import select
import sys
import time

import esp32
import machine
import micropython

NAMES = {module.__name__: module for module in (_thread, gc, os, select, sys, time, esp32, machine, micropython)}


def serve():
    # Unbuffered, as the real agent reads: poll() must see what is there.
    cpython = sys.implementation.name == "cpython"
    source = open(0, "rb", 0, closefd=False) if cpython else sys.stdin.buffer
    names = dict(NAMES, source=source)
    micropython.kbd_intr(3)
    answer = "READY"
    while True:
        try:
            print(answer)
            answer = "DONE"
            line = source.readline()
            print("GO")
            exec(line.decode(), names)
        except KeyboardInterrupt:
            answer = "INTERRUPTED"
        except Exception as error:
            answer = "ERROR " + repr(error)
