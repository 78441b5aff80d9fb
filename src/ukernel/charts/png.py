"""PNG files: pixels in, bytes out."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

__all__ = ["Png", "encode_png"]


class Png(bytes):
    """A PNG file's bytes; a notebook shows the picture."""

    def _repr_png_(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"<PNG picture, {len(self):,} bytes>"


def encode_png(pixels: npt.ArrayLike, effort: int = 1) -> bytes:
    """A PNG of an array (height, width, 3 or 4) of bytes: with little effort a third of the time that Pillow takes."""
    height, width, channels = np.shape(pixels)
    rows = np.zeros((height, 1 + channels * width), np.uint8)  # each row begins with 0: not filtered
    rows[:, 1:] = np.reshape(pixels, (height, channels * width))
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if channels == 4 else 2, 0, 0, 0)  # 8 bits each, with alpha or without
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, effort)), (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(parts)
