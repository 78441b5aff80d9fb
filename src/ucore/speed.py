"""The baud rate of the UART that the REPL is on. Rarely changed, so it is loaded for the change and dropped again."""

import machine

from ucore import wire
from ucore.quirks import sleep_ms, ticks_diff, ticks_ms

SWITCH_MS = 20  # the last bytes at the old rate leave, and the host learns that we switch
TRIAL_MS = 1000  # at a new rate without a valid line: back


def set_baud(baud):
    """Set the rate."""
    try:
        import esp

        esp.osdebug(0, esp.LOG_NONE)  # what the system logs would stand between frames
    except ImportError:
        pass
    try:
        machine.UART(0, baudrate=baud)
    except OSError:
        pass  # since 1.23 it sets the rate, and then complains that the REPL has the UART


def switch(link, baud, window):
    """Run the line at ``baud`` if the host is heard there; it has been told; both locks held."""
    sleep_ms(SWITCH_MS)
    set_baud(baud)
    heard = False
    try:
        heard = _hears(link)
    finally:  # an interrupt, too, leaves it at the rate it had
        if not heard:
            set_baud(link.baud)
    if heard:
        link.run_at(baud, window)
        link.bare(wire.ACK, bytes((link.expected,)), link.nonce)


def _hears(link):
    # Byte by byte: what comes at another rate has no end of line to wait for.
    began = ticks_ms()
    line = b""
    while ticks_diff(ticks_ms(), began) < TRIAL_MS:
        if any(link.ready(10)):
            line += link.reader.read(1)
            if line[-1] == 10:
                if wire.unchecked(wire.unescape(line[:-1]), link.nonce):
                    return True
                line = b""
    return False
