"""The `neopixel` module of a virtual board: the pixels are seen in `%ucore board`."""

import machine


class NeoPixel:
    """``pixels = NeoPixel(Pin(48), 8); pixels[0] = (255, 0, 0); pixels.write()``. ``bpp`` 4 has a white value, too."""

    ORDER = (1, 0, 2, 3)  # green goes first on the wire

    def __init__(self, pin, n, bpp=3, timing=1):
        self.pin = pin
        self.n = n
        self.bpp = bpp
        self.timing = timing
        self.buf = bytearray(n * bpp)
        pin.init(pin.OUT)

    def __len__(self):
        return self.n

    def _start(self, index):
        if not -self.n <= index < self.n:
            raise IndexError("index out of range")
        return index % self.n * self.bpp

    def __setitem__(self, index, color):
        start = self._start(index)
        for part in range(self.bpp):
            self.buf[start + self.ORDER[part]] = color[part]

    def __getitem__(self, index):
        start = self._start(index)
        return tuple([self.buf[start + self.ORDER[part]] for part in range(self.bpp)])

    def fill(self, color):
        """Give all pixels a colour."""
        for index in range(self.n):
            self[index] = color

    def write(self):
        """Send the colours to the pixels."""
        machine.bitstream(self.pin, 0, self.timing, self.buf)
