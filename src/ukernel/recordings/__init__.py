"""Data from boards in files: recorded by a process of its own.

    from ukernel.recordings import record

    recording = record("adc", "run1.mcap", formats="<f")
    ...
    recording.stop()

Importing this module is quick: `mcap` comes in when something is recorded. Other parts use `format`: what a recording looks like, as an MCAP
file; `follower`, which reads pipes whole into a `sink`; and `recorder`, the process.
"""

from .loading import load
from .recording import Recording, RecordingState, record, recordings

__all__ = ["Recording", "RecordingState", "load", "record", "recordings"]

for _function in (load, record, recordings):
    _function.__module__ = __name__  # where people find them, and what Python shows of them
