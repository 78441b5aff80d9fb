"""A sink that takes down what a follower hands on."""


class Heard:
    """A sink that takes down what it hears."""

    def __init__(self):
        self.all = []

    def opened(self, opening, unread):
        self.all.append(("opened", opening.number, unread))

    def take(self, opening, frames, size, ends, data):
        self.all.append((opening.number, bytes(data)))

    def lost(self, opening, count, cause):
        self.all.append(("lost", opening.number, count, cause))

    def ended(self, opening, reason):
        self.all.append(("ended", opening.number, reason))

    def note(self, text):
        self.all.append(("note", text))
