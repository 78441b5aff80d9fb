"""From frames to numbers: the decoders of `collect`, `read_array` and `live_plot`.

A `struct` format decodes all frames at once (through NumPy where there is NumPy); any other callable sees one
frame after the other. A frame that cannot be decoded is left out and counted, whoever decodes.
"""

import re
import struct
import time
import types
from array import array
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeAlias

from ukernel.errors import PipeDecodeWarning
from ukernel.protocol.pipestream import Batch

from .reasons import warn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["CallableDecoder", "Decoder", "FormatDecoder", "Samples", "TimedSamples", "as_decoder", "value_fields"]

# As `collect` takes it. What a function returns is looked at: what is no number, nor a row of numbers, is left out and counted.
Decoder: TypeAlias = Callable[[bytes], object] | str | None
# Samples in a row: an array (float64) of shape (n,) or (n, columns), or a list where there is no NumPy.
Values: TypeAlias = "npt.NDArray[np.float64] | list[Any]"

DEFAULT_FORMAT = "<f"  # the convention of the pipes page: one little-endian 32-bit float a frame
KINDS = {  # NumPy's letter for each of struct's; the size follows it
    "b": "i",
    "B": "u",
    "?": "b",
    "h": "i",
    "H": "u",
    "i": "i",
    "I": "u",
    "l": "i",
    "L": "u",
    "q": "i",
    "Q": "u",
    "n": "i",
    "N": "u",
    "e": "f",
    "f": "f",
    "d": "f",
}


def as_decoder(decoder: object) -> "FormatDecoder | CallableDecoder":
    """Return what decodes frames: for None one little-endian float a frame, else for a struct format or for a
    callable.

    Raises ValueError for anything else, and for a format that does not give numbers.
    """
    if decoder is None:
        return FormatDecoder(DEFAULT_FORMAT)
    if isinstance(decoder, str):
        return FormatDecoder(decoder)
    if callable(decoder):
        return CallableDecoder(decoder)
    raise ValueError(f"decoder must be a function of bytes, a struct format such as '<fff', or None, not {decoder!r}")


def _numpy() -> types.ModuleType | None:
    """NumPy, or None. Imported when the first samples are decoded: it costs a tenth of a second."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


class _Decoder:
    """What every decoder keeps: how many frames were bad, and what was wrong with the first of them.

    `left_out`: which of the frames decoded last were bad, by their places among them.
    """

    shape: tuple[int, ...] | None = None  # of one sample; None until one was seen

    def __init__(self) -> None:
        self.bad = 0
        self.first_error: str | None = None
        self.left_out: set[int] = set()

    def _refuse(self, places: Collection[int], error: str) -> None:
        self.left_out.update(places)
        self.bad += len(places)
        self.first_error = self.first_error or error


class FormatDecoder(_Decoder):
    """Decodes frames of one struct format; several values in one make a sample of that many columns."""

    def __init__(self, format: str):
        super().__init__()
        self.format = format
        try:
            self._struct = struct.Struct(format)
        except struct.error as error:
            raise ValueError(f"decoder {format!r} is not a struct format: {error}") from None
        self._fields = value_fields(format)
        self.shape = () if len(self._fields) == 1 else (len(self._fields),)
        self._dtype: np.dtype[Any] | None = None

    def decode(self, frames: Batch, limit: int, deadline: float) -> Values:
        """Take at most `limit` frames; returns an array (float64) or, without NumPy, a list."""
        size, count = frames.size, min(limit, frames.count)
        data = frames.take(limit)
        self.left_out = set()
        if size != self._struct.size:
            guess = _format_for(size, self.format)
            meant = f" (did you mean {guess!r}?)" if guess else ""
            self._refuse(range(count), f"a frame of {size} bytes, where {self.format!r} takes {self._struct.size}{meant}")
            data = data[:0]
        numpy = _numpy()
        if numpy is None:
            rows = self._struct.iter_unpack(data)
            return [value for (value,) in rows] if self.shape == () else list(rows)
        if self._dtype is None:
            offsets, formats = zip(*self._fields, strict=True)
            names = [f"f{index}" for index in range(len(formats))]
            self._dtype = numpy.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": self._struct.size})
        records = numpy.frombuffer(data, self._dtype)
        if self.shape == ():
            column: npt.NDArray[np.float64] = records["f0"].astype(numpy.float64)
            return column
        table: npt.NDArray[np.float64] = numpy.empty((len(records), len(self._fields)))
        for index in range(len(self._fields)):
            table[:, index] = records[f"f{index}"]
        return table


def _format_for(size: int, format: str) -> str | None:
    """Return a struct format like this one that takes frames of ``size`` bytes, None where none comes to mind."""
    order = format[0] if format[:1] in tuple("@=<>!") else ""
    plain = order if order in tuple("<>!") else "<"
    codes = "".join(code * int(count or 1) for count, code in re.findall(r"(\d*)([a-zA-Z?])", format) if len(count) < 4)
    codes = codes.replace("n", "q").replace("N", "Q")  # these have no size of their own
    guesses = [plain + codes]  # a frame without the gaps that "@" makes
    if size % struct.calcsize(plain + (codes[:1] or "x")) == 0 and len(set(codes)) == 1:
        guesses.append(order + _repeated(codes[0], size // struct.calcsize(plain + codes[0])))
    guesses += [order + codes[:end] for end in range(len(codes) - 1, 0, -1)]  # less of it
    if size % 4 == 0:
        guesses.append(plain + _repeated("f", size // 4))
    guesses += [plain + code for code in "hb"]
    return next((guess for guess in guesses if size and struct.calcsize(guess) == size), None)


def _repeated(code: str, count: int) -> str:
    return code * count if count <= 8 else f"{count}{code}"


def value_fields(format: str) -> list[tuple[int, str]]:
    """Offset and NumPy type of every value in a frame of this struct format."""
    order = format[0] if format[:1] in tuple("@=<>!") else "@"
    numpy_order = {"<": "<", ">": ">", "!": ">"}.get(order, "=")
    fields, before = [], order
    for count, code in re.findall(r"(\d*)([a-zA-Z?])", format.lstrip("@=<>!")):
        repeat = int(count) if count else 1
        if code != "x" and (repeat or code in "sp"):  # struct makes an empty value of "0s"
            if code not in KINDS:
                raise ValueError(f"decoder {format!r} does not give numbers: {code!r} stands for bytes; use a function")
            size = struct.calcsize(order + code)
            first = struct.calcsize(before + code) - size
            fields += [(first + index * size, f"{numpy_order}{KINDS[code]}{size}") for index in range(repeat)]
        before += count + code
    if not fields:
        raise ValueError(f"decoder {format!r} holds no value")
    return fields


class CallableDecoder(_Decoder):
    """Decodes with a function from the bytes of one frame to a number, or to a row of numbers."""

    def __init__(self, function: Callable[[bytes], object]):
        super().__init__()
        self._function = function

    def decode(self, frames: Batch, limit: int, deadline: float) -> Values:
        """Take at most `limit` frames, and none after `deadline` (monotonic); returns an array (float64) or,
        without NumPy, a list."""
        function, pop, clock = self._function, frames.pop, time.monotonic
        values: list[object] = []
        self.left_out = set()
        for place in range(min(limit, frames.count)):
            chunk = pop()
            try:
                values.append(function(chunk))
            except Exception as error:  # whatever a user's function raises costs this frame only
                self._refuse((place,), f"{type(error).__name__}: {error} (frame of {len(chunk)} bytes)")
            if clock() >= deadline:
                break
        numpy = _numpy()
        return values if numpy is None else self._as_array(numpy, values)

    def _as_array(self, numpy: types.ModuleType, values: list[object]) -> "npt.NDArray[np.float64]":
        try:
            array: npt.NDArray[np.float64] = numpy.array(values, numpy.float64)
            if not values:
                return array.reshape(0, *(self.shape or ()))
            if self.shape in (None, array.shape[1:]) and array.size and not (numpy.isnan(array).any() and None in values):
                self.shape = array.shape[1:]
                return array
        except (TypeError, ValueError, OverflowError):
            pass
        good: list[npt.NDArray[np.float64]] = []  # something among them is not a number, or not of the same shape: one by one
        places = [place for place in range(len(values) + len(self.left_out)) if place not in self.left_out]
        for place, value in zip(places, values, strict=True):
            try:
                if value is None:
                    raise TypeError("it returned None")
                row: npt.NDArray[np.float64] = numpy.asarray(value, numpy.float64)
                if not row.size:
                    raise ValueError("it returned an empty row")
                if self.shape not in (None, row.shape):
                    raise ValueError(f"it returned a value of shape {row.shape} after one of {self.shape}")
            except (TypeError, ValueError, OverflowError) as error:
                self._refuse((place,), f"the decoder did not return a number: {error}")
            else:
                self.shape = row.shape
                good.append(row)
        rows: npt.NDArray[np.float64] = numpy.array(good, numpy.float64)
        return rows.reshape(len(good), *(self.shape or ()))


class TimedSamples(tuple[Any, Any]):
    """(samples, times): what came of a pipe with timestamps, two arrays that unpack as a pair.

    samples: shape (n,) or (n, columns). times: shape (n,), float64, as `time.time()` counts. Attributes:
    `samples`, `times`, and `errors`: shape (n,), by how many seconds each of the times may be off.
    """

    samples: Values
    times: Values
    errors: Values

    def __new__(cls, samples: Values, times: Values, errors: Values) -> "TimedSamples":
        timed = super().__new__(cls, (samples, times))
        timed.samples, timed.times, timed.errors = samples, times, errors
        return timed


class Samples:
    """Decoded samples, in order; with `timed`, also when each was written."""

    def __init__(self, decoder: FormatDecoder | CallableDecoder, *, timed: bool = False):
        self._decoder = decoder
        self._list: list[Any] = []  # without NumPy
        self._table: npt.NDArray[np.float64] | None = None  # the first `count` rows are taken
        self._timed = timed
        self._times = array("d")
        self._errors = array("d")
        self.count = 0

    def add(self, frames: Batch, limit: int, deadline: float) -> None:
        """Decode at most `limit` of these frames and keep the samples."""
        if not self._timed:
            self._add(self._decoder.decode(frames, limit, deadline))
            return
        times, error = frames.times(limit)
        before = frames.count
        self._add(self._decoder.decode(frames, limit, deadline))
        left_out = self._decoder.left_out
        times = [time for place, time in enumerate(times[: before - frames.count]) if place not in left_out]
        self._times.extend(times)
        self._errors.extend([error] * len(times))

    def _add(self, block: Values) -> None:
        count = self.count + len(block)
        if isinstance(block, list):
            self._list += block
        elif self._table is None:
            self._table = block.copy()  # its own memory, which can grow
        else:
            # Grown on the way, in small steps: joining blocks at the end would take time after the deadline.
            if count > len(self._table):
                self._table.resize((count + count // 8 + 1024, *block.shape[1:]), refcheck=False)
            self._table[self.count : count] = block
        self.count = count

    @property
    def bad(self) -> int:
        """Frames that could not be decoded."""
        return self._decoder.bad

    def why_bad(self) -> str:
        """How many frames could not be decoded, and what was wrong with the first: a sentence."""
        decoder = self._decoder
        return (
            f"{self.bad:,} of {self.bad + self.count:,} frames could not be decoded and were left out; "
            f"the first: {decoder.first_error}."
        )

    def warn_bad(self, pipe: str) -> None:
        """Warn if frames of this pipe could not be decoded."""
        if self.bad:
            warn(PipeDecodeWarning, f"Pipe {pipe!r}: {self.why_bad()}")

    def result(self) -> "Values | TimedSamples":
        """All samples, as `read_array` and `collect` return them. They are handed over: nothing can be added afterwards."""
        return TimedSamples(self.array(), *self.times()) if self._timed else self.array()

    def array(self) -> Values:
        """All samples: a float64 array of shape (n,) or (n, columns), or a list where there is no NumPy. They are handed over."""
        numpy = _numpy()
        if numpy is None:
            return self._list
        if not self.count or self._table is None:
            empty: npt.NDArray[np.float64] = numpy.empty((0, *(self._decoder.shape or ())))
            return empty
        self._table.resize((self.count, *self._table.shape[1:]), refcheck=False)
        return self._table

    def times(self) -> tuple[Values, Values]:
        """The times of all samples, and their errors: two float64 arrays, or lists where there is no NumPy."""
        numpy = _numpy()
        if numpy is None:
            return self._times.tolist(), self._errors.tolist()
        return numpy.array(self._times), numpy.array(self._errors)
