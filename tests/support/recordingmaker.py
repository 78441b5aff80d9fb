"""Recordings that tests write themselves, batch by batch, without a board."""

from ukernel.recordings.order import Meaning
from ukernel.recordings.sink import Opening
from ukernel.recordings.writer import RecordingWriter

BEGAN = 1_700_000_000.0


class RecordingMaker:
    """A recording that is written batch by batch."""

    def __init__(self, path, formats=None, names=None, units=None, rotation=None):
        self.path = path
        more = {} if rotation is None else {"rotation": rotation}
        self.writer = RecordingWriter(path, {"notebook": "a.ipynb"}, Meaning(formats or {}, names or {}, units or {}), **more)
        self.count = 0

    def open(self, pipe, board="kitchen", number=0, unread=0, generation=1, cell=None):
        self.count += 1
        opening = Opening(self.count, pipe, board, f"port of {board}", generation, "1", {"machine": "m"})
        opening.number, opening.cell = number, cell
        self.writer.opened(opening, unread)
        return opening

    def put(self, opening, data, size, began, ended=None, error=0.001):
        frames = len(data) // size
        self.writer.take(opening, frames, size, (began, began if ended is None else ended, error), memoryview(data))
        opening.number += frames

    def lose(self, opening, count, cause="board"):
        self.writer.lost(opening, count, cause)
        opening.number += count

    def flush(self):
        self.writer._part.flush()

    def end(self):
        self.writer.finish("stopped")
        return self.path
