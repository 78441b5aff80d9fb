"""Data from boards in files: recorded by a process of its own.

    from ukernel.recordings import record

    recording = record("adc", "run1.mcap", formats="<f")
    ...
    recording.stop()

    load("run1.mcap")["adc"].values             # a NumPy array
    with play("run1.mcap"):                     # its pipes, for all that reads pipes
        samples = collect("adc", n=200)
    export("run1.mcap", "run1.csv")

Importing this module is quick: `mcap` and NumPy come in when something is recorded or loaded. Other parts use `format`: what a recording looks like, as an MCAP
file; `follower`, which reads pipes whole into a `sink`; and `recorder`, the process.
"""

from .exporting import export
from .loading import load
from .player import Player, play
from .recording import Recording, RecordingState, record, recordings

__all__ = ["Player", "Recording", "RecordingState", "export", "load", "play", "record", "recordings"]

for _function in (export, load, play, record, recordings):
    _function.__module__ = __name__  # where people find them, and what Python shows of them
