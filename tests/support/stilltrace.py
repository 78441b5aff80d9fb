"""A trace for tests of scenes and pictures."""

import math

from ukernel.charts.window import Window


class StillTrace:
    """A trace without a pipe: what is added is what it has."""

    ended, ended_at, is_waiting = None, math.inf, False

    def __init__(self, name, size, span_s=None):
        self.name = name
        self.window = Window(size, span_s)

    @property
    def channels(self):
        return self.window.channels

    def rate(self, now):
        return None

    def notes(self):
        return []
