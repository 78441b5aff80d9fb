"""`machine.I2C`, `machine.SPI` and their `Soft` twins on a virtual board.

On every I2C bus are an SSD1306 (0x3C), an MPU6050 (0x68) and a BME280 (0x76). The same display can be had over SPI: pin 5 is its chip
select, pin 16 says whether bytes are data. A read gives what is written: MOSI is wired to MISO, too.
"""

from _virtualboard import as_bytes, memory, world
from _virtualdevices import ON_I2C, SSD1306, device

ENODEV = 19
DISPLAY_SELECT = 5
DISPLAY_DATA_PIN = 16


class I2C:
    """A two-wire bus. ``I2C(0, scl=Pin(22), sda=Pin(21), freq=400_000)``. Raises OSError(ENODEV) for a device that is not there."""

    def __init__(self, id=0, *, scl=None, sda=None, freq=400_000, timeout=50_000):
        if id not in (0, 1, -1):
            raise ValueError("I2C(%s) doesn't exist" % id)
        self._id = id
        self.init(scl=scl, sda=sda, freq=freq)

    def init(self, scl=None, sda=None, freq=400_000, **options):
        """Set pins and frequency, which change nothing here."""
        self._freq = freq

    def deinit(self):
        """Give the bus back."""

    def scan(self):
        """Return the addresses of the devices that answer."""
        return sorted(ON_I2C)

    def _device(self, address):
        if address not in ON_I2C:
            raise OSError(ENODEV)
        return device(ON_I2C[address])

    def writeto(self, addr, buf, stop=True):
        """Write bytes; return how many were acknowledged."""
        data = as_bytes(buf)
        self._device(addr).receive(data)
        return len(data)

    def writevto(self, addr, vector, stop=True):
        """Write several buffers in one go; return how many bytes were acknowledged."""
        return self.writeto(addr, b"".join([as_bytes(part) for part in vector]), stop)

    def readfrom(self, addr, nbytes, stop=True):
        """Read bytes."""
        return bytes(self._device(addr).send(nbytes))

    def readfrom_into(self, addr, buf, stop=True):
        """Read as many bytes as the buffer has."""
        buf[:] = self._device(addr).send(len(buf))

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        """Read from a register on."""
        self._device(addr).receive(memaddr.to_bytes(addrsize // 8, "big"))
        return self.readfrom(addr, nbytes)

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        """Read from a register on, as many bytes as the buffer has."""
        buf[:] = self.readfrom_mem(addr, memaddr, len(buf), addrsize=addrsize)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        """Write from a register on."""
        self.writeto(addr, memaddr.to_bytes(addrsize // 8, "big") + as_bytes(buf))

    def __repr__(self):
        return "I2C(%d, freq=%d)" % (self._id, self._freq)


class SoftI2C(I2C):
    """The same by software, on any pins."""

    def __init__(self, scl, sda, *, freq=400_000, timeout=50_000):
        super().__init__(-1, scl=scl, sda=sda, freq=freq)


class SPI:
    """A four-wire bus. ``SPI(1, baudrate=10_000_000, sck=Pin(18), mosi=Pin(23), miso=Pin(19))``."""

    MSB = 0
    LSB = 1

    def __init__(self, id=1, baudrate=1_000_000, **options):
        if id not in (0, 1, 2, -1):
            raise ValueError("SPI(%s) doesn't exist" % id)
        self._id = id
        self.init(baudrate, **options)

    def init(self, baudrate=1_000_000, *, polarity=0, phase=0, bits=8, firstbit=MSB, sck=None, mosi=None, miso=None):
        """Set the rate and the rest, which change nothing here."""
        if bits != 8:
            raise ValueError("bits must be 8")
        self._baudrate = baudrate

    def deinit(self):
        """Give the bus back."""

    def write(self, buf):
        """Write bytes."""
        if memory[world.LEVELS + DISPLAY_SELECT] == 0:
            device(SSD1306).take(as_bytes(buf), memory[world.LEVELS + DISPLAY_DATA_PIN] == 1)

    def read(self, nbytes, write=0):
        """Read bytes while one and the same is written: it comes back."""
        return bytes((write,)) * nbytes

    def readinto(self, buf, write=0):
        """Read as many bytes as the buffer has."""
        for at in range(len(buf)):
            buf[at] = write

    def write_readinto(self, write_buf, read_buf):
        """Write and read at once: what is written comes back. Raises ValueError for buffers of different lengths."""
        data = as_bytes(write_buf)
        if len(data) != len(read_buf):
            raise ValueError("buffers must be the same length")
        read_buf[:] = data

    def __repr__(self):
        return "SPI(%d, baudrate=%d)" % (self._id, self._baudrate)


class SoftSPI(SPI):
    """The same by software."""

    def __init__(self, baudrate=500_000, **options):
        super().__init__(-1, baudrate, **options)
