"""What a line brings outside of packets: text, which people are shown, and noise, which they are not."""

from __future__ import annotations

import codecs

__all__ = ["ConsoleText", "is_kind", "text_size"]


class ConsoleText:
    """One session's text outside of packets, however its characters are cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, data: bytes) -> tuple[str, int]:
        """Return the text in ``data``, with newlines as line ends, and how many characters were noise: a line that has any is noise."""
        text = self._decoder.decode(data)
        if text.isprintable():
            return ("", len(text)) if "\ufffd" in text else (text, 0)
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines if "\ufffd" not in line and all(c >= " " or c in "\t\r\n\b\x1b\x04" for c in line)]
        noise = sum(map(len, lines)) - sum(map(len, kept))
        return "".join(kept).replace("\r\n", "\n"), noise


def is_kind(byte: int) -> bool:
    """Whether a packet may begin with this byte; no character does."""
    return 0x80 <= byte <= 0xBF


def text_size(data: bytes) -> int:
    """Return where text ends: where a packet may begin, as no character begins with its first byte, or half a character."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if is_kind(data[error.start]) or error.end == len(data):
            return error.start
    return len(data)
