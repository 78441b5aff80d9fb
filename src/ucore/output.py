"""What the board's programs print, held for a moment so that many small prints travel as one frame."""

from _thread import get_ident

from ucore import wire
from ucore.quirks import ticks_diff, ticks_ms

HOLD_MS = 5


class Output:
    """Text on its way to the host; each piece belongs to the cell that printed it. ``lost``: bytes dropped, not told yet.

    It begins in `ucore.startup`.
    """

    def write(self, parent, text):
        """Send ``text`` (str) as output of the cell ``parent``, in one piece; blocks while the line is full, drops where nobody listens.

        On a busy thread.
        """
        data = text.encode()
        link = self._link
        me = get_ident()
        try:
            while True:
                with link.tx:
                    now = ticks_ms()
                    if self._whose in (None, me) and (parent == self._parent or self.flush(now)):
                        self._parent = parent
                        take = max(link.payload - 3 - len(self._held), 0)
                        self._held += data[:take]
                        data = data[take:]
                        if data:
                            self._whose = me
                        if (self._whose == me or ticks_diff(now, self._flushed) >= HOLD_MS) and self.flush(now) and not data:
                            self._whose = None
                if not data and self._whose != me:
                    return
                link.pump(1)  # also where it was sent: on a slow line a flood of prints lets a sample pass
        except:  # the rest will not come
            if self._whose == me:
                self._whose = None
            raise

    def flush_due(self, now):
        """Send what has been held for HOLD_MS; tx held."""
        if self._held and ticks_diff(now, self._flushed) >= HOLD_MS:
            self.flush(now)

    def flush(self, now):
        """Send what is held; False where the window has no room. tx held."""
        link = self._link
        held = self._held
        if not held and not self.lost:
            return True
        if not link.room(len(held), link.window // 2):
            if link.nonce and not link.gone:
                return False
            self.lost += len(held)
            self._held = b""
            return True
        if self.lost and self._whose is None:  # not amid a text
            held = b"[%d bytes of output lost]\n" % self.lost + held
            self.lost = 0
        body = bytearray((wire.MESSAGE, 0, wire.STREAM, self._parent & 255, self._parent >> 8)) + held
        seq = link.seq
        try:
            link.commit(body, None)
        finally:  # no jump here: an interrupt of the write finds it sent, too little memory for the frame finds it held
            self._held = (b"", held)[link.seq == seq]
        self._flushed = now
        return True

    def drain(self):
        """Send all that is held; waits for the window. On a busy thread."""
        while True:
            with self._link.tx:
                if self.flush(ticks_ms()):
                    return
            self._link.pump(1)
