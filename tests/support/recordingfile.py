"""What is in a recording, read with mcap's own reader, and whether all of it is accounted for."""

from collections import Counter

from mcap import records
from mcap.stream_reader import StreamReader

from ukernel.recordings import format as fmt


class Contents:
    """A file, finished or torn: `frames` by opening, {number: (bytes, time, error)}, `lost` by opening, [(first, count, cause)], and so on."""

    def __init__(self, path, has_holes=False):
        self._has_holes = has_holes  # a part of it was damaged
        self.metadata, self.events, self.channels, self.frames, self.lost, self.runs = [], [], {}, {}, {}, []
        self.is_finished = False
        self._layouts = {}
        self._next = {}  # by opening: the number that must come next
        with open(path, "rb") as stream:
            try:
                for record in StreamReader(stream, validate_crcs=True).records:
                    self._take(record)
            except Exception:
                assert not self.is_finished, "something is wrong with a file that is finished"

    def _take(self, record):
        if isinstance(record, records.Channel):
            self.channels[record.id] = record
            if record.topic != fmt.EVENTS_TOPIC:
                about = fmt.About.of(record.metadata)
                self._layouts[record.id] = about, fmt.Layout(about.format)
        elif isinstance(record, records.Metadata):
            self.metadata.append((record.name, record.metadata))
        elif isinstance(record, records.Message):
            if self.channels[record.channel_id].topic == fmt.EVENTS_TOPIC:
                self._heed(fmt.decode_event(record.data))
            else:
                self._take_run(*self._layouts[record.channel_id], record)
        elif isinstance(record, records.Footer):
            self.is_finished = True

    def _heed(self, event):
        self.events.append(event)
        key = event.get("opening")
        if event["event"] == "open":
            assert self._next.setdefault(key, event["number"]) == event["number"], "frames between an end and what goes on"
        elif event["event"] == "lost":
            self._advance(key, event["first"], event["count"])
            self.lost.setdefault(key, []).append((event["first"], event["count"], event["cause"]))
        elif event["event"] == "end":
            assert self._has_holes or self._next[key] == event["frames"], "not all frames up to the end are accounted for"

    def _take_run(self, about, layout, record):
        run = layout.decode(record.data)
        self.runs.append((about, run))
        self._advance(about.opening, run.first, run.frames)
        sizes = run.sizes if len(run.sizes) == run.frames else list(run.sizes) * run.frames
        frames, at = self.frames.setdefault(about.opening, {}), 0
        step = (run.time_last - run.time_first) / max(run.frames - 1, 1)
        for index, size in enumerate(sizes):
            frames[run.first + index] = bytes(run.data[at : at + size]), run.time_first + index * step, run.time_error
            at += size
        assert record.publish_time == fmt.as_nanoseconds(run.time_first) and record.log_time == fmt.as_nanoseconds(
            run.time_last
        )

    def _advance(self, key, first, count):
        assert self._has_holes or self._next[key] == first, f"frame {first} comes where {self._next[key]} should"
        self._next[key] = first + count

    def next(self, key=1):
        """The number of the frame that would come next."""
        return self._next[key]

    def data(self, key=1):
        """The frames of an opening, in order."""
        return [frame[0] for frame in self.frames.get(key, {}).values()]

    def events_of(self, kind):
        return [event for event in self.events if event["event"] == kind]

    def ends(self):
        """(opening, reason) of each end."""
        return [(event["opening"], event["reason"]) for event in self.events_of("end")]

    def lost_by_cause(self):
        """How many frames are missing in all openings, by cause."""
        causes = Counter()
        for losses in self.lost.values():
            for _, count, cause in losses:
                causes[cause] += count
        return dict(causes)

    def about(self, name):
        """The last metadata record of this name."""
        return [metadata for found, metadata in self.metadata if found == name][-1]
