"""Which modules a board's firmware has, and what its `ucore` has for programs."""

__all__ = ["MODULES", "UCORE_API", "UCORE_PUBLIC", "module_of"]

# To import one of these does nothing else. A user's own module is a program.
MODULES = frozenset(
    """array asyncio binascii bluetooth builtins cmath collections cryptolib deflate dht ds18x20 errno framebuf gc hashlib heapq io json
    lwip machine math micropython neopixel network ntptime onewire os platform random re select socket ssl struct sys time uctypes vfs
    _thread esp esp32 espnow rp2 ucore""".split()  # noqa: SIM905
)
# What the board's `ucore` defines for programs, some of it loaded when first asked for.
UCORE_API = ("Pipe", "close_pipe", "display", "every", "is_pipe_open", "open_pipe", "producers")
UCORE_PUBLIC = frozenset((*UCORE_API, "getpass", "start_new_thread", "stdin"))  # the rest of what it has is the agent's


def module_of(name: str) -> str | None:
    """Return the firmware's module that a program imports by this name, None where there is none: "utime" is an old one of "time"."""
    if name in MODULES:
        return name
    return name[1:] if name[:1] == "u" and name[1:] in MODULES else None
