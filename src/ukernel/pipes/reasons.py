"""Why a pipe ends and why frames are missing, in sentences for people; and how a reader is warned of it."""

import sys
import warnings
from collections.abc import Mapping

from ukernel.errors import PipeWarning
from ukernel.protocol.reasons import EndReason, LossCause

__all__ = [
    "CLOSED",
    "ENDED_FOR_GOOD",
    "HUB_ENDS",
    "LEFT",
    "LOSS_SENTENCES",
    "LOST_CONNECTION",
    "advise",
    "describe_end",
    "describe_losses",
    "warn",
]

CLOSED = EndReason.CLOSED.value  # the one good end
LEFT = "left"  # on this side: neither this one nor the next comes from the hub
LOST_CONNECTION = "connection lost"
HUB_ENDS = EndReason.HUB_STOPPED.value, LOST_CONNECTION
# What is opened then is another opening, although boards count anew.
ENDED_FOR_GOOD = CLOSED, EndReason.BOARD_RESTARTED.value
END_SENTENCES = {
    CLOSED: "the producer closed it",
    EndReason.BOARD_RESTARTED.value: "the board restarted",
    EndReason.BOARD_GONE.value: "the board is gone: unplugged, or without power",
    EndReason.HUB_STOPPED.value: "the board hub stopped",
    LOST_CONNECTION: "the connection to the board hub broke",
    LEFT: "it was closed on this side",
}
LOSS_SENTENCES = {
    LossCause.BOARD.value: "the board had no room for them",
    LossCause.NO_LISTENER.value: "no host was listening",
    LossCause.READER.value: "this reader was too slow",
    LossCause.REPLAY.value: "they were written before, and the board hub holds them no more",
    "damaged": "the recording is damaged there",
    "missing file": "a file of the recording is not there",
    "between": "they were written before the pipe was found again",
}

# Which side was too slow, and what helps.
LOSS_ADVICE = {
    LossCause.BOARD.value: "The producer is faster than the line to this computer, and does not wait: write less often, put several values into one "
    "frame, or open the pipe without drop=True",
    LossCause.NO_LISTENER.value: "Nothing was connected to the board while it wrote: start the producer after a notebook or a reader has the board",
    LossCause.READER.value: "This side reads slower than the board writes: collect and read_array take many frames at once, with a struct format as "
    "decoder, and long work between two reads belongs into another thread",
    LossCause.REPLAY.value: "The board hub holds the latest 16 MiB of a pipe: subscribe before the producer starts, or sooner after",
}

# Python shows a warning once per line of code; a cell that is run again must hear again what is missing.
# Appended: filters of the user win.
warnings.simplefilter("always", PipeWarning, append=True)


def warn(category: type[Warning], sentence: str) -> None:
    """Warn at the line of the caller of this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("ukernel."):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, category, stacklevel=level)


def describe_end(reason: str | None) -> str:
    """The reason of an end as part of a sentence; one that is not known as it is."""
    return END_SENTENCES.get(str(reason), str(reason))


def describe_losses(losses: Mapping[str, int]) -> str:
    """How many frames are missing and why, as part of a sentence, from the frames lost per cause."""
    causes = ", ".join(f"{count:,}: {LOSS_SENTENCES.get(cause, cause)}" for cause, count in losses.items())
    count = sum(losses.values())
    return f"{count:,} {'frame is' if count == 1 else 'frames are'} missing ({causes})"


def advise(losses: Mapping[str, int]) -> str:
    """What to do against the losses, those of most frames: a sentence with a space before it; empty where there is nothing to say."""
    advice = LOSS_ADVICE.get(max(losses, key=losses.__getitem__)) if losses else None
    return f" {advice}." if advice else ""
