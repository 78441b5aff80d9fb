"""Writes src/ukernel/charts/glyphs.json: the letters of a chart's PNG where there is no matplotlib.

They are pixels of DejaVu Sans, under another name, as its licence asks; that is kept in the file. It needs Pillow, and Debian's package
fonts-dejavu-core; it is run by hand when letters are missing: ``python scripts/make_glyphs.py``.
"""

import base64
import json
import textwrap
import zlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts/truetype/dejavu")
LICENCE = Path("/usr/share/doc/fonts-dejavu-core/copyright")
TARGET = Path(__file__).parents[1] / "src" / "ukernel" / "charts" / "glyphs.json"
# File, and pixels to an em: of two screen pixels each, as `picture.SCALE` says.
STYLES = {"plain": ("DejaVuSans.ttf", 24), "bold": ("DejaVuSans-Bold.ttf", 30)}
# ASCII, Latin, Greek, Cyrillic; signs of units, numbers and notes; and what stands for all others.
RANGES = ((0x20, 0x7F), (0xA1, 0x180), (0x386, 0x3CF), (0x400, 0x460), (0x2070, 0x208F))
SIGNS = "–—‘’“”•…€→←↑↓−∞≈≠≤≥▲▼√∆∑Ω‰\N{REPLACEMENT CHARACTER}"
ROOM = 64  # around a glyph's origin


def main() -> None:
    licence = LICENCE.read_text(encoding="utf-8")
    licence = licence[licence.index("Copyright:") : licence.index("Files: debian")]
    found = {
        "about": "Pixels of DejaVu Sans, made by scripts/make_glyphs.py. The licence is the font's.",
        "licence": textwrap.dedent(licence.replace("\n .\n", "\n\n")).strip(),
        **{name: draw(*style) for name, style in STYLES.items()},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in found.items()]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def draw(file: str, size: int) -> dict:
    """Return all letters of a font; each box is its advance (in 1/64 pixels), and its place and size: left, top (to the baseline), width, height."""
    font = ImageFont.truetype(FONTS / file, size, layout_engine=ImageFont.Layout.BASIC)
    letters, boxes, pixels = "", [], bytearray()
    for letter in [chr(code) for low, high in RANGES for code in range(low, high)] + list(SIGNS):
        mask = Image.new("L", (2 * ROOM, 2 * ROOM))
        ImageDraw.Draw(mask).text((ROOM, ROOM), letter, fill=255, font=font, anchor="ls")
        if (
            letter != "\N{REPLACEMENT CHARACTER}"
            and letter != " "
            and bytes(font.getmask(letter)) == bytes(font.getmask("\uffff"))
        ):
            continue  # the font has none
        left, top, right, bottom = mask.getbbox() or (ROOM, ROOM, ROOM, ROOM)
        letters += letter
        boxes.append([round(64 * font.getlength(letter)), left - ROOM, top - ROOM, right - left, bottom - top])
        pixels += mask.crop((left, top, right, bottom)).tobytes()
    if len(pixels) % 2:
        pixels.append(0)
    # Sixteen greys are enough: two pixels a byte.
    packed = bytes([(a + 8) // 17 << 4 | (b + 8) // 17 for a, b in zip(pixels[::2], pixels[1::2], strict=True)])
    return {"letters": letters, "boxes": boxes, "pixels": base64.b64encode(zlib.compress(packed, 9)).decode()}


if __name__ == "__main__":
    main()
