"""What goes wrong on a line, and where."""

from __future__ import annotations

import dataclasses
import math
import random


@dataclasses.dataclass(frozen=True)
class Faults:
    """What goes wrong in one direction; all rates are probabilities, 0 is a clean line."""

    bit_error_rate: float = 0.0  #: for each of the 8 data bits
    drop_rate: float = 0.0  #: for each byte
    duplicate_rate: float = 0.0  #: for each byte
    bursts_per_mb: float = 0.0  #: how many times per 1,000,000 bytes `burst_bytes` bytes in a row are lost
    burst_bytes: int = 50


CLEAN = Faults()


class Noise:
    """Applies `Faults` to a stream. Where they strike depends on the seed and on the position in the stream,
    never on how the stream was cut into chunks."""

    def __init__(self, faults: Faults, seed: int, direction: str) -> None:
        self.flipped_bits = self.dropped = self.duplicated = self.bursts = self.burst_lost = 0
        self._position = 0
        self._burst_end = 0
        self._burst_bytes = faults.burst_bytes

        def strikes(kind: str, probability: float) -> _Strikes:
            return _Strikes(probability, random.Random(f"{seed}/{direction}/{kind}"))

        self._flips = strikes("flip", faults.bit_error_rate)
        self._bursts = strikes("burst", faults.bursts_per_mb / 1e6)
        self._drops = strikes("drop", faults.drop_rate)
        self._garbage = random.Random(f"{seed}/{direction}/garbage")
        self._duplicates = strikes("duplicate", faults.duplicate_rate)

    def garbage(self, count: int) -> bytes:
        """What is heard at the wrong baud rate."""
        return self._garbage.randbytes(count)

    def apply(self, data: bytes) -> bytes:
        """The next bytes of the stream, as they arrive."""
        start = self._position
        end = self._position = start + len(data)
        if self._flips.next < 8 * end:
            flipped = bytearray(data)
            while self._flips.next < 8 * end:
                flipped[(self._flips.next >> 3) - start] ^= 1 << (self._flips.next & 7)
                self.flipped_bits += 1
                self._flips.advance()
            data = bytes(flipped)
        nearest = min(self._bursts.next, self._drops.next, self._duplicates.next)
        if start >= self._burst_end and nearest >= end:
            return data
        edits = []
        for kind, strikes in enumerate((self._bursts, self._drops, self._duplicates)):
            while strikes.next < end:
                edits.append((strikes.next - start, kind))
                strikes.advance()
        out = bytearray()
        done = min(len(data), max(0, self._burst_end - start))
        self.burst_lost += done
        for at, kind in sorted(edits):
            if at < done:
                continue  # inside a burst, or twice on the same byte
            out += data[done:at]
            done = at + 1
            if kind == 0:
                self.bursts += 1
                self._burst_end = start + at + self._burst_bytes
                done = min(len(data), at + self._burst_bytes)
                self.burst_lost += done - at
            elif kind == 1:
                self.dropped += 1
            else:
                self.duplicated += 1
                out += data[at : at + 1] * 2
        return bytes(out + data[done:])


class _Strikes:
    """Positions that are hit with a probability each. The gaps are drawn: a cost per hit, not per byte."""

    def __init__(self, probability: float, rng: random.Random) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"a fault's probability must be between 0 and 1, not {probability}")
        self.next: float | int = -1
        self._rng = rng
        self._scale = math.log1p(-probability) if probability < 1.0 else -math.inf
        self.advance()

    def advance(self) -> None:
        if self._scale == 0.0:
            self.next = math.inf
        else:
            self.next += 1 + int(math.log(1.0 - self._rng.random()) / self._scale)
