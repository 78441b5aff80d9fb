"""``%ucore``: what people need at hand, from a host cell. It runs in the sub-kernel."""

import difflib
import functools
import re
import types
from collections.abc import Callable
from typing import Any

from ukernel.errors import UcoreError

from .linecommands import COMMANDS, FORCE, CommandUsageError, usage
from .stdinchannel import StdinChannel

__all__ = ["register"]


def register(ip: Any) -> Callable[[str], str]:
    """Register the magic with an IPython shell. Returns a function that tells of what type a name on the board is, see `StdinChannel`."""
    from IPython.core.magic import needs_local_scope, no_var_expand

    channel = StdinChannel(ip.kernel)

    @needs_local_scope
    @no_var_expand
    def ucore(line: str, local_ns: dict[str, Any] | None = None) -> object:
        try:
            return _run(channel, line, {**ip.user_ns, **(local_ns or {})})
        except (UcoreError, OSError, TypeError, ValueError, NameError, KeyboardInterrupt) as error:
            error._render_traceback_ = functools.partial(_render, ip, error)  # type: ignore[union-attr] # IPython looks for it
            raise

    ucore.__doc__ = usage()
    ip.register_magic_function(ucore, "line", "ucore")
    _offer_completions(ip)
    return channel.type_of


def _offer_completions(ip: Any) -> None:
    """Have the line completed by its commands alone, also where its value is assigned."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:  # IPython before 8.6, which offers Python's keywords as well
        ip.set_hook("complete_command", lambda _, event: _complete(event.line)[0], re_key=r".*%ucore\s")
        return

    @context_matcher(priority=200)  # type: ignore[untyped-decorator] # IPython's has no annotations
    def ucore_matcher(context: Any) -> dict[str, Any]:
        found, word = _complete(context.text_until_cursor.rpartition("\n")[2])
        matches = [SimpleCompletion(one, type="magic") for one in found if one.startswith(word)]
        return {"completions": matches, "matched_fragment": word, "suppress": bool(matches), "ordered": True}

    ip.Completer.custom_matchers.append(ucore_matcher)


def _render(ip: Any, error: BaseException) -> list[str]:
    """Return the traceback as IPython shows it, of the user's own lines only."""
    frames = []
    entry = error.__traceback__
    while entry is not None:
        module = entry.tb_frame.f_globals.get("__name__", "")
        if module.split(".")[0] not in ("ukernel", "IPython"):
            frames.append(entry)
        entry = entry.tb_next
    kept = None
    for entry in reversed(frames):
        kept = types.TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    lines: list[str] = ip.InteractiveTB.structured_traceback(type(error), error, kept, tb_offset=0)
    return lines


def _run(channel: StdinChannel, line: str, names: dict[str, Any]) -> object:
    from IPython.core.error import UsageError

    command, _, rest = line.strip().partition(" ")
    if command not in COMMANDS and command:
        raise UsageError(f"%ucore has no {command!r}.{_nearest(command)} {usage()}")
    try:
        return COMMANDS[command or "help"].run(channel, rest.strip(), names)
    except CommandUsageError as error:
        raise UsageError(f"{error} {usage(command)}") from None


def _nearest(command: str) -> str:
    """Ask whether another command was meant; empty where none is near."""
    word = command.lower().lstrip("-")
    begun = [name for name in COMMANDS if word and name.startswith(word)]
    near = begun or difflib.get_close_matches(word, COMMANDS, 1)
    return f" Did you mean `%ucore {near[0]}`?" if near else ""


# The magic on its line, and what was typed after it.
_LINE = re.compile(r"(?:^|=)\s*%ucore\s+(.*)$")


def _complete(line: str) -> tuple[list[str], str]:
    """Return what may stand at the end of a line, and the word there that it is to go on with."""
    match = _LINE.search(line)
    if not match:
        return [], ""
    before, _, word = match[1].rpartition(" ")
    words = before.split()
    if not words:
        return list(COMMANDS), word
    return ([FORCE] if words in (["reset"], ["interrupt"]) else []), word
