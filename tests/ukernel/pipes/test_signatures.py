"""`subscribe`, `collect`, `live_plot` and `stop_live` take what their page says."""

import inspect

from ukernel import pipes
from ukernel.pipes import collect, subscribe


def test_the_signatures_are_those_of_the_page():
    def shape(function):
        return {name: (parameter.kind, parameter.default) for name, parameter in inspect.signature(function).parameters.items()}

    position, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    assert shape(collect) == {
        "name": (position, inspect.Parameter.empty),
        "n": (keyword, None),
        "seconds": (keyword, None),
        "decoder": (keyword, None),
        "allow_empty": (keyword, False),
        **dict.fromkeys(["replay", "timestamps"], (keyword, False)),  # more than the page has
        "board": (keyword, None),
    }
    assert shape(pipes.live_plot) == {
        "name": (position, inspect.Parameter.empty),
        "decoder": (keyword, None),
        "window": (keyword, 200),
        "ylim": (keyword, (-1.5, 1.5)),
        "title": (keyword, None),
        "interval": (keyword, 40),
        "duration": (keyword, None),
        # Not on the page: added, by keyword only.
        "labels": (keyword, None),
        "units": (keyword, ""),
        "x": (keyword, "samples"),
        "backend": (keyword, "auto"),
        "board": (keyword, None),
        "height": (keyword, 320),
        "chart": (keyword, ""),
        "follow": (keyword, False),
    }
    assert shape(subscribe) == {
        "name": (position, inspect.Parameter.empty),
        "timeout": (keyword, None),
        **dict.fromkeys(["replay", "timestamps", "strict"], (keyword, False)),
        "board": (keyword, None),
        "follow": (keyword, False),
    }
    assert shape(pipes.stop_live) == {"name": (position, None)}
