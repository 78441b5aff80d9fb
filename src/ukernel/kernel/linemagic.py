"""``%ucore``: what people need at hand, from a host cell. It runs in the sub-kernel.

The board is the switchboard's, so that is asked, over the channel that carries ``input()``; what the hub tells anybody is asked there.
"""

import ast
import base64
import difflib
import functools
import keyword
import re
import sys
import threading
import time
import types
from collections.abc import Callable

from ucore import wire
from ukernel.boards import rewrite, syntax
from ukernel.errors import BoardBusyError, UcoreError, UsageError, by_name
from ukernel.protocol import values

__all__ = ["register"]

FORCE = "--force"
MAX_PUSH = wire.MAX_MESSAGE - 16  # bytes, as a cell may have


def register(ip) -> "Callable[[str], str]":
    """Register the magic with an IPython shell. Returns a function that tells of what type a name on the board is, see `_Switchboard`."""
    from IPython.core.magic import needs_local_scope, no_var_expand

    switchboard = _Switchboard(ip.kernel)

    @needs_local_scope
    @no_var_expand
    def ucore(line, local_ns=None):
        try:
            return _run(switchboard, line, {**ip.user_ns, **(local_ns or {})})
        except (UcoreError, TypeError, ValueError, NameError, KeyboardInterrupt) as error:
            error._render_traceback_ = functools.partial(_render, ip, error)  # type: ignore[union-attr]
            raise

    ucore.__doc__ = _usage()
    ip.register_magic_function(ucore, "line", "ucore")
    _offer_completions(ip)
    return switchboard.type_of


def _offer_completions(ip) -> None:
    """Have the line completed by its commands alone, also where its value is assigned."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:  # IPython before 8.6, which offers Python's keywords as well
        ip.set_hook("complete_command", lambda _, event: _complete(event.line)[0], re_key=r".*%ucore\s")
        return

    @context_matcher(priority=200)
    def ucore_matcher(context):
        found, word = _complete(context.text_until_cursor.rpartition("\n")[2])
        matches = [SimpleCompletion(one, type="magic") for one in found if one.startswith(word)]
        return {"completions": matches, "matched_fragment": word, "suppress": bool(matches), "ordered": True}

    ip.Completer.custom_matchers.append(ucore_matcher)


def _render(ip, error: BaseException) -> list[str]:
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
    return ip.InteractiveTB.structured_traceback(type(error), error, kept, tb_offset=0)


class _Switchboard:
    """The switchboard, as this process can ask it: a question on the stdin channel, and the wait for its answer.

    Threads and subshells may ask too, while the main thread waits for input. A ZeroMQ socket is for one thread at a time, so each
    holds it for a moment only and keeps what it has read for the others.
    """

    def __init__(self, kernel):
        self._kernel = kernel
        self._lock = threading.Lock()
        self._answers: dict[str, dict | None] = {}  # by question; None: not there yet
        self._typed: list[dict] = []
        kernel._input_request = self.ask_user

    def ask(self, do: str, **content) -> dict:
        """Return the answer's content. Raises what it says went wrong (see errors.py), and KeyboardInterrupt."""
        kernel, answers = self._kernel, self._answers
        parent, ident = kernel.get_parent("shell"), kernel._parent_ident["shell"]
        number = None
        try:
            with self._lock:
                question = kernel.session.send(kernel.stdin_socket, "ucore_request", {"do": do, **content}, parent, ident=ident)
                number = question["header"]["msg_id"]
                answers[number] = None
            self._wait_for(lambda: answers[number] is not None)
            content = answers[number]["content"]
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # without the lines of what it struck
        finally:
            answers.pop(number, None)  # what comes later, nobody waits for
        if content.get("ename") == "KeyboardInterrupt":
            raise KeyboardInterrupt
        if content.get("status") == "error":
            raise by_name(content.get("ename", "UcoreError"), content.get("evalue", ""))
        return content

    def type_of(self, name: str) -> str:
        """Return the type of what the board has by this name; empty where it has none, or cannot say so at once."""
        try:
            return str(self.ask("inspect", name=name).get("type") or "")
        except (UcoreError, KeyboardInterrupt):
            return ""

    def ask_user(self, prompt: str, ident, parent: dict, password: bool = False) -> str:
        """Return what the user types: in the place of ipykernel's own, which would take our answers, and we its."""
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        kernel = self._kernel
        with self._lock:
            while self._read(0):
                pass
            self._typed.clear()  # what was typed for a request that was interrupted
            content = {"prompt": prompt, "password": password}
            kernel.session.send(kernel.stdin_socket, "input_request", content, parent, ident=ident)
        try:
            self._wait_for(lambda: self._typed)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Interrupted by user") from None  # as ipykernel says it, without our lines
        value = self._typed.pop()["content"].get("value", "")
        if value == "\x04":
            raise EOFError
        return value

    def _wait_for(self, is_there: Callable[[], object]) -> None:
        while not is_there():
            with self._lock:
                found = is_there() or self._read(0.02)
            if not found:
                time.sleep(0.001)  # a lock is not fair: let the others have it

    def _read(self, timeout_s: float) -> bool:
        """Read what the switchboard has answered, or the user; tell whether there was anything. The lock is held."""
        sock = self._kernel.stdin_socket
        if not sock.poll(timeout_s * 1000):  # in short waits: on Windows, an interrupt does not end one
            return False
        _, answer = self._kernel.session.recv(sock)
        if answer is not None and answer["msg_type"] == "input_reply":
            self._typed.append(answer)
        elif answer is not None and (number := answer["parent_header"].get("msg_id")) in self._answers:
            self._answers[number] = answer
        return True


def _run(switchboard: _Switchboard, line: str, names: dict):
    from IPython.core.error import UsageError

    command, _, rest = line.strip().partition(" ")
    if command not in _COMMANDS and command:
        raise UsageError(f"%ucore has no {command!r}.{_nearest(command)} {_usage()}")
    try:
        return _COMMANDS[command or "help"].run(switchboard, rest.strip(), names)
    except _MisuseError as error:
        raise UsageError(f"{error} {_usage(command)}") from None


def _nearest(command: str) -> str:
    """Ask whether another command was meant; empty where none is near."""
    word = command.lower().lstrip("-")
    begun = [name for name in _COMMANDS if word and name.startswith(word)]
    near = begun or difflib.get_close_matches(word, _COMMANDS, 1)
    return f" Did you mean `%ucore {near[0]}`?" if near else ""


class _MisuseError(Exception):
    """What is wrong with the line; the usage is added to it."""


def _status(switchboard: _Switchboard, rest: str, names: dict) -> None:
    _take_nothing("status", rest)
    print("\n".join(f"{name + ':':9}{value}" for name, value in _describe(switchboard.ask("own"))))


def _describe(own: dict):
    """Yield what is known about the notebook's board, as (name, value) pairs."""
    if own.get("error"):
        yield "Board", f"none: {own['error']}"
        return
    from ukernel.client import connection

    with connection.connect() as hub:
        found = [board for board in hub.request("boards_request")["boards"] if board["name"] == own["name"]]
        known = hub.request("pipes_request")["pipes"]
    open_pipes = [pipe for pipe in known if pipe["board"] == own["name"] and pipe["open"]]
    state = found[0] if found else {}
    facts = own["facts"]
    yield "Board", f"{own['name']} on {own['port']}, {state.get('state', 'gone')}"
    python = {"micropython": "MicroPython", "cpython": "CPython"}.get(facts.get("python"), facts.get("python"))
    yield "Runs", f"{python} {facts.get('version')}, {facts.get('machine')}, µcore {facts.get('build')}"
    running = state.get("running")
    yield "Busy", f"with a cell of {running['client']}, {time.time() - running['since']:.0f} s" if running else "no"
    if state.get("waiting"):
        yield "Waiting", ", ".join(state["waiting"])
    yield "Used by", ", ".join(state.get("clients") or ["nobody"])
    yield "Pipes", f"\n{'':9}".join(map(_describe_pipe, open_pipes)) or "none open"


def _describe_pipe(pipe: dict) -> str:
    from ukernel.pipes.pipe import describe_losses

    rate = f"{pipe['frames_per_s']:,.0f} frames and {pipe['bytes_per_s']:,.0f} bytes per second"
    lost = {cause: count for cause, count in pipe["lost"].items() if count}
    return f"{pipe['name']} ({pipe['frames']:,} frames, {rate}, {describe_losses(lost) if lost else 'none lost'})"


def _pipes(switchboard: _Switchboard, rest: str, names: dict) -> None:
    _take_nothing("pipes", rest)
    from IPython.display import display

    from ukernel.pipes.listing import pipes

    display(pipes())


def _boards(switchboard: _Switchboard, rest: str, names: dict) -> None:
    _take_nothing("boards", rest)
    from ukernel.client import connection

    own = switchboard.ask("own", wait=False)
    with connection.connect() as hub:
        found = hub.request("boards_request")["boards"]
    for one in found:
        mark = "*" if one["name"] == own.get("name") else " "
        print(f"{mark} {one['name']:20} {one['port']:20} {one['state']:10} {one['description']}")
    if not found:
        print("No board is connected. `%ucore use virtual` brings one that needs no hardware.")


_views: dict = {}  # by port: the live picture of a virtual board, of which there is one however often it is shown


def _board(switchboard: _Switchboard, rest: str, names: dict) -> None:
    _take_nothing("board", rest)
    from IPython.display import display

    from ukernel.ports import virtual
    from ukernel.virtual import view as boardview

    own = switchboard.ask("own")
    if own.get("error"):
        raise UcoreError(own["error"])
    about = next((about for about in virtual.running() if about["port"] == own["port"]), None)
    if about is None:
        raise UcoreError(
            f"The board {own['name']} is a real one: look at it. `%ucore use virtual` brings one whose pins can be seen here."
        )
    for port in [port for port, view in _views.items() if not view.is_live]:
        _views.pop(port).close()
    if own["port"] not in _views:
        _views[own["port"]] = boardview.BoardView(about["world"], f"{own['name']}: {about['banner']}")
    display(_views[own["port"]].widget)


def _use(switchboard: _Switchboard, rest: str, names: dict) -> None:
    if not rest or len(rest.split()) > 1:
        raise _MisuseError("%ucore use takes the board to use.")
    own = switchboard.ask("use", board=rest)
    print(f"Board cells of this notebook now run on {own['name']} ({own['port']}).")


def _reset(switchboard: _Switchboard, rest: str, names: dict) -> None:
    answer = _ask_alone(switchboard, "reset", rest)
    print(f"The board {answer['board']} has restarted: its variables, threads and pipes are gone.")


def _interrupt(switchboard: _Switchboard, rest: str, names: dict) -> None:
    stopped = _ask_alone(switchboard, "interrupt", rest)["stopped"]
    print(f"A cell of {stopped} was interrupted." if stopped else "The board runs no cell. Its threads cannot be interrupted.")


def _ask_alone(switchboard: _Switchboard, command: str, rest: str) -> dict:
    """Ask for what others who use the board would mind, which the hub then does by force only."""
    if rest not in ("", FORCE):
        raise _MisuseError(f"%ucore {command} does not know {rest!r}.")
    try:
        return switchboard.ask("ask", type=f"{command}_request", content={"force": rest == FORCE})
    except BoardBusyError as error:
        raise BoardBusyError(f"{error} `%ucore {command} {FORCE}` does it all the same.") from None


def _push(switchboard: _Switchboard, rest: str, names: dict) -> None:
    name, equals, expression = (part.strip() for part in rest.partition("="))
    if equals and _is_name(name) and not expression.startswith("="):
        given = {name: _evaluate(expression, names)}
    else:
        given = {}
        for name in rest.replace(",", " ").split():
            if not _is_name(name):
                raise _MisuseError(f"%ucore push: {name!r} is no name.")
            if name not in names:
                raise NameError(f"name {name!r} is not defined on the host")
            given[name] = names[name]
    if not given:
        raise _MisuseError("%ucore push takes what to push.")
    order = values.storing(given)
    if len(order) > MAX_PUSH:
        what = f"{', '.join(given)} {'has' if len(given) == 1 else 'have'}"
        raise UsageError(f"{what} {len(order):,} bytes; {MAX_PUSH:,} can be pushed at once. Push parts.")
    switchboard.ask("run", order=base64.b64encode(order).decode())


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _evaluate(expression: str, names: dict):
    try:
        ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError) as error:
        raise _MisuseError(f"%ucore push: {expression!r} is no expression ({error}).") from None
    return eval(expression, names)


def _pull(switchboard: _Switchboard, rest: str, names: dict):
    if not syntax.is_expression(rest):
        raise _MisuseError(f"%ucore pull takes an expression for the board, not {rest!r}." if rest else "%ucore pull: what?")
    answer = switchboard.ask("run", code=rewrite.transform(f"\n{rest}", plain=True))
    if answer.get("stuck"):
        where, what, shown = answer["stuck"]
        place = f"its {where} is" if where else "it is"
        shown = f", in {shown if len(shown) <= 200 else shown[:200] + '...'}" if shown else ""
        raise TypeError(f"{rest} cannot be pulled: on the board {place} {what}{shown}. {values.WHAT_CAN}")
    if answer["value"] is None:
        raise ValueError(f"{rest} is too large to be pulled at once. Pull slices of it, or use a pipe.")
    return values.decode_text(answer["value"])


def _producers(switchboard: _Switchboard, rest: str, names: dict) -> None:
    _take_nothing("producers", rest)
    found = _ask_producers(switchboard)
    for name, period_ms, calls, pipe in sorted(found):
        print(f"{name:20} every {period_ms:g} ms, {calls:,} calls, {f'to the pipe {pipe}' if pipe else 'no pipe'}")
    if not found:
        print('The board has no producer. `ucore.every(10, read, pipe="adc")` in a board cell makes one.')


def _stop(switchboard: _Switchboard, rest: str, names: dict) -> None:
    if not rest:
        raise _MisuseError("%ucore stop takes the name of a producer.")
    rest = rest.strip("'\"")
    known = sorted(name for name, *_ in _ask_producers(switchboard, rest))
    if rest not in known:
        others = f"It has {', '.join(known)}." if known else "It has none."
        raise UsageError(f"The board has no producer {rest!r} (of ucore.every). {others}")
    print(f"The producer {rest} has stopped.")


def _ask_producers(switchboard: _Switchboard, stop: str = "") -> list:
    """Return the board's producers; what is called ``stop`` it then ends. Answered while a cell runs, too."""
    return switchboard.ask("ask", type="producers_request", content={"stop": stop})["producers"]


def _help(switchboard: _Switchboard, rest: str, names: dict) -> None:
    print(_usage())


def _take_nothing(command: str, rest: str) -> None:
    if rest:
        raise _MisuseError(f"%ucore {command} takes nothing, not {rest!r}.")


class _Command:
    def __init__(self, takes: str, help: str, run: Callable):
        self.takes, self.help, self.run = takes, help, run


_COMMANDS = {
    "status": _Command("", "what this notebook's board is and does", _status),
    "board": _Command("", "the virtual board as one sees it: pins, pixels, display, sliders for its inputs", _board),
    "boards": _Command("", "the boards that are connected", _boards),
    "pipes": _Command("", "the pipes of all boards: their state, rates, losses and readers", _pipes),
    "use": _Command("BOARD", "run this notebook's board cells there: a port, a URL, a board's name, or virtual", _use),
    "push": _Command("NAME ... | NAME = EXPRESSION", "copy values of the host to the board", _push),
    "pull": _Command("EXPRESSION", "return a value of the board: x = %ucore pull readings[-1]", _pull),
    "producers": _Command("", "what `ucore.every` calls on this notebook's board", _producers),
    "stop": _Command("PRODUCER", "stop one of them, and close its pipe", _stop),
    "interrupt": _Command(f"[{FORCE}]", "stop the cell that the board runs, with --force another notebook's, too", _interrupt),
    "reset": _Command(f"[{FORCE}]", "start the board's Python afresh, with --force although others use it", _reset),
    "help": _Command("", "this list", _help),
}


def _usage(command: str = "") -> str:
    found = {command: _COMMANDS[command]} if command in _COMMANDS else _COMMANDS
    lines = [f"  %ucore {name + ' ' + one.takes:36}{one.help}" for name, one in found.items()]
    return "\n".join(["Usage:", *lines])


# The magic on its line, and what was typed after it.
_LINE = re.compile(r"(?:^|=)\s*%ucore\s+(.*)$")


def _complete(line: str) -> "tuple[list[str], str]":
    """Return what may stand at the end of a line, and the word there that it is to go on with."""
    match = _LINE.search(line)
    if not match:
        return [], ""
    before, _, word = match[1].rpartition(" ")
    words = before.split()
    if not words:
        return list(_COMMANDS), word
    return ([FORCE] if words in (["reset"], ["interrupt"]) else []), word
