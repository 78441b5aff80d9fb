"""What the host calls by name, with values, for a value (`wire.CALL`). Loaded for a call, and dropped again.

A generator that a call gives stays with the cells' variables, under a name that is none of a program's, and the host takes its items.
"""

import builtins

from ucore import wire
from ucore.link import rare
from ucore.quirks import ticks_diff, ticks_ms

OWN = "ucore"  # the agent's own functions are called with this and their module's name before theirs
NEXT, CLOSE = "##next", "##close"  # of a generator; no names of a program's
FEW_MS = 20  # items that come faster than this travel together
GENERATOR = type((lambda: (yield))())


def update(runner, order):
    """Call what the order names: (name, arguments, arguments by name, key of a generator, whether the result is awaited)."""
    name, args, kwargs, key, awaited = rare("values", "read", order)
    names = runner.globals
    parts = name.split(".")
    if name == NEXT:
        result = _take(names, key, *args)
    elif name == CLOSE:
        result = names.pop(key).close() if key in names else None
    elif parts[0] == OWN and len(parts) == 3:
        result = rare(parts[1], parts[2], *args)
    else:
        result = _find(names, name)(*args, **kwargs)
    if awaited:
        result = rare("tasks", "run", result)
    if type(result) is GENERATOR:
        names[key] = result
        runner.link.do(runner.link.send, wire.EXECUTE_RESULT, runner.cell, b"generator\n", None, runner._session)
    else:
        rare("values", "send", runner, result)


def _find(names, path):
    if path.startswith("#"):  # the host's own definition, unless somebody has made another one since
        mark, digest = path.split(":")
        found = names.get(mark, ("", None))
        if found[0] != digest:
            raise KeyError(path)
        return found[1]
    first, *rest = path.split(".")
    if first in names:
        found = names[first]
    elif hasattr(builtins, first):
        found = getattr(builtins, first)
    else:
        try:
            found = __import__(first)
        except ImportError:
            raise NameError("name '%s' isn't defined" % first)
    for name in rest:
        found = getattr(found, name)
    return found


def _take(names, key, most):
    """The next items of a generator, ``most`` at most, and whether there may be more. Raises KeyError where there is none."""
    generator = names[key]
    items = []
    began = ticks_ms()
    try:
        while len(items) < most:
            items.append(next(generator))
            if ticks_diff(ticks_ms(), began) > FEW_MS:
                break
        return items, True
    except StopIteration:
        del names[key]
        return items, False
    except BaseException as error:
        if not items:
            names.pop(key, None)
            raise
        names[key] = _failing(error)  # first what came before it
        return items, True


def _failing(error):
    raise error
    yield
