"""What a name on a board is made of, as patterns for `re`: to MicroPython every byte above 127 is a letter."""

__all__ = ["BEFORE_CURSOR", "DOTTED", "LETTER", "NAME", "WORD"]

LETTER = r"[A-Za-z_\x80-\U0010ffff]"
WORD = r"[0-9A-Za-z_\x80-\U0010ffff]"  # what a name goes on with
NAME = LETTER + WORD + "*"
DOTTED = rf"{NAME}(?:\.{WORD}+)*"
BEFORE_CURSOR = rf"(?:{WORD}|\.)*\Z"  # the dotted name that ends at the cursor, whole or begun; perhaps empty
