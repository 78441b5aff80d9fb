"""The host's end of a serial line, without input or output: bytes in, events out, bytes to send.

`session` is what others use; `events` are what it tells.
"""
