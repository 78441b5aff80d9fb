"""Reads pipes whole, batch by batch, into a sink: those that are there, those that open later, and those that go on after their hub or their
board was away. It knows nothing of files, and nothing of what frames mean.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ukernel import settings
from ukernel.client import connection
from ukernel.client.connection import HubClient
from ukernel.errors import HubError, HubUnreachableError, PipeEndedError, UcoreError
from ukernel.pipes.reasons import ENDED_FOR_GOOD, LOST_CONNECTION
from ukernel.protocol.reasons import EndReason

from .boardkeeper import BoardKeeper, is_fleeting
from .feed import Feed
from .selection import Selection
from .sink import Opening, Sink

__all__ = ["Follower"]

PAUSE_S = 0.04  # between two looks at what has come: batches that came meanwhile are read at once, which costs less
IDLE_S = 0.1  # in one wait where nothing comes
AGAIN_S = 0.25  # between two attempts to reach a hub, or a pipe that was lost
GONE_S = 1.0  # a board that is gone, once the hub has let go of it
GRACE_S = 1.0  # for a notebook to start another hub, where the last one was killed
HUB_S = 5.0  # to start a hub
MAX_OTHERS = 1000  # openings that may turn out to be meant: a board is attached in a second
CLOCK_JUMP_S = 1.0  # by which this computer's clock must jump to be worth a note: what sets it all the time moves it by less
# Read with the times of all frames, from any frame on.
OPTIONS = ("batches", "timestamps")

Identity = tuple[str, str, int]  # of an opening
Description = dict[str, Any]  # as the hub has it, see docs/protocol.md, 2.3


class Follower:
    """Follows the selected pipes until `stop`. ``label``: what the users of a board are told of it.

    replay: begin with what the hub holds of pipes that are open already. pause_s: how long frames may wait to be read together.
    is_ready: it has met the hub, or cannot.
    """

    def __init__(self, selection: Selection, sink: Sink, label: str, *, replay: bool = False, pause_s: float = PAUSE_S):
        self._obstacle = ""
        self.is_ready = False
        self._selection = selection
        self._sink = sink
        self._label = label
        self._replay = replay
        self._pause_s = pause_s
        self._reason: str | None = None  # why it was stopped
        self._selector = selectors.DefaultSelector()
        self._hub: HubClient | None = None
        self._connect_at = 0.0
        self._starts_hub = True
        self._is_hub_stopping = self._has_met_hub = False
        self._openings: dict[Identity, Opening] = {}  # those that have not ended for good
        self._count = 0
        self._feeds: dict[Identity, Feed] = {}
        self._known: dict[Identity, Description] = {}  # those that are read, as the hub describes them
        # To be found, again: when, and whether they are new.
        self._due: dict[Identity, tuple[float, Description, bool]] = {}
        # Those that are to be read once the one before, of the same identity, has been read to its end; the first is next.
        self._waiting: dict[Identity, deque[Description]] = {}
        # Perhaps of the board that was asked for, whose name the hub has yet to say.
        self._others: deque[tuple[Description, bool]] = deque(maxlen=MAX_OTHERS)
        self._keepers: dict[str, BoardKeeper] = {}  # by the board's port; "" for the one that was asked for
        self._own_boards: set[str] = set()  # names and ports
        self._clock = time.time() - time.monotonic()

    @property
    def openings(self) -> list[Opening]:
        """Those that are read, and those that are out of reach and may go on."""
        return list(self._openings.values())

    @property
    def obstacle(self) -> str:
        """What keeps it from the hub or from a board, a sentence; empty where nothing does."""
        return self._obstacle or next((keeper.obstacle for keeper in self._keepers.values() if keeper.obstacle), "")

    @property
    def is_reading(self) -> bool:
        """Whether an opening is being read."""
        return bool(self._feeds)

    def stop(self, reason: str) -> None:
        """End soon; may be called from a signal's handler, or from another thread."""
        self._reason = self._reason or reason

    def run(self, each_step: Callable[[], None]) -> None:
        """Follow until `stop`, calling ``each_step`` ten times a second and more. Raises what the sink raises."""
        if self._selection.board is not None and _has_own_boards():
            self._keepers[""] = BoardKeeper((self._selection.board,), self._label)
        try:
            while self._reason is None:
                began = time.monotonic()
                more = self._step(began)
                each_step()
                left_s = self._pause_s - (time.monotonic() - began)
                if left_s > 0 and not more:
                    time.sleep(left_s)
            for feed in list(self._feeds.values()):
                feed.stop(self._reason)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        for feed in self._feeds.values():
            feed.close()
        for keeper in self._keepers.values():
            keeper.close()
        if self._hub is not None:
            self._hub.close()
        self._selector.close()

    def _step(self, now: float) -> bool:
        """Do what is due; whether there is more to read at once."""
        self._look_at_clock()
        if self._hub is None and now >= self._connect_at:
            self._connect(now)
        if self._hub is not None:
            for port, keeper in list(self._keepers.items()):
                if port and keeper.is_hopeless:
                    self._give_up(port)
                elif keeper.is_due(now) and keeper.begin(now):
                    self._selector.register(keeper, selectors.EVENT_READ, keeper)
            for identity in [identity for identity, (due, *_) in self._due.items() if now >= due]:
                _, here, is_new = self._due.pop(identity)
                self._find(here, is_new=is_new)
        more = False
        for key, _ in self._selector.select(IDLE_S):
            if self._selector.get_map().get(key.fd) != key:
                continue  # what another of these has brought has closed it
            if isinstance(key.data, Feed):
                more |= self._read(key.data, now)
            elif isinstance(key.data, BoardKeeper):
                self._heed_keeper(key.data, now)
            else:
                self._heed_hub(now)
        return more

    def _look_at_clock(self) -> None:
        clock = time.time() - time.monotonic()
        jump, self._clock = clock - self._clock, clock
        if abs(jump) >= CLOCK_JUMP_S:
            self._sink.note(f"This computer's clock was set {'forward' if jump > 0 else 'back'} by {abs(jump):,.3f} s.")

    # The hub

    def _connect(self, now: float) -> None:
        """Reach the hub, or start one, and ask it for all openings."""
        self._connect_at = now + AGAIN_S
        try:
            if settings.pipe_port() is not None:
                hub = connection.connect_to_pipes()
            else:
                hub = connection.connect(start=self._starts_hub, timeout_s=HUB_S)
            hub.send("watch_request", {"kernel": self._selection.kernel})
        except (UcoreError, OSError) as error:
            self._obstacle, self.is_ready = str(error), True
            self._connect_at = time.monotonic() + (AGAIN_S if isinstance(error, HubUnreachableError | OSError) else GRACE_S)
            return
        self._hub, self._is_hub_stopping = hub, False
        self._due.clear()
        self._waiting.clear()
        self._known = {identity: here for identity, here in self._known.items() if identity in self._feeds}
        for keeper in self._keepers.values():
            keeper.resume()
        self._selector.register(hub, selectors.EVENT_READ, hub)

    def _heed_hub(self, now: float) -> None:
        hub = self._hub
        if hub is None:
            return
        try:
            messages = hub.drain()
        except UcoreError:
            self._lose_hub(now)
            return
        for message in messages:
            content = message["content"]
            if message["type"] == "hub_stopping":
                self._is_hub_stopping = True
            elif message["type"] == "pipe_opened":
                self._find(content, is_new=True)
            elif message["type"] == "watch_reply":
                if content.get("status") != "ok":
                    self._obstacle, self.is_ready = str(content.get("evalue")), True
                    self._lose_hub(now)
                    return
                self._obstacle = ""
                for opening in content["openings"]:
                    self._find(opening, is_new=self._has_met_hub)  # one that was opened while no hub was there is new
                self._has_met_hub = True
                self._starts_hub = False
                self._ask_for_the_only_board()
                self.is_ready = True

    def _lose_hub(self, now: float) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            self._selector.unregister(hub)
            hub.close()
        # One that was stopped on purpose is not started again by those who only read.
        self._starts_hub = bool(self._keepers) and not self._is_hub_stopping
        self._connect_at = now + (GRACE_S if self._starts_hub else AGAIN_S)
        self._obstacle = self._obstacle or "The board hub is gone."
        for keeper in self._keepers.values():
            if keeper.fileno() >= 0:
                self._selector.unregister(keeper)
                keeper.close()

    def _ask_for_the_only_board(self) -> None:
        """Where nothing is there to be read, and nobody has said whose pipes are meant, a board may be there that no hub has."""
        if not self._keepers and not self._openings and not self._selection.kernel and _has_own_boards():
            self._keepers[""] = BoardKeeper((settings.board(),), self._label)

    def _heed_keeper(self, keeper: BoardKeeper, now: float) -> None:
        if not keeper.heed(now):
            self._selector.unregister(keeper)  # found by itself: it is closed
        if keeper.board and keeper is self._keepers.get(""):
            self._own_boards |= {keeper.board["name"], keeper.board["port"]}
            others = list(self._others)
            self._others.clear()
            for here, is_new in others:
                self._find(here, is_new=is_new)

    def _look_after(self, opening: Opening) -> None:
        """A board is gone: one that may not come back is to be attached anew, which says whether it does."""
        keeper = self._keepers.get(opening.port)
        if is_fleeting(opening.board) and keeper is not None and keeper.fileno() >= 0:
            self._selector.unregister(keeper)
            keeper.close()

    def _give_up(self, port: str) -> None:
        """A board will not come back, and what it had open will not go on."""
        self._keepers.pop(port).close()
        for identity, opening in list(self._openings.items()):
            if opening.port == port:
                self._due.pop(identity, None)
                self._openings.pop(identity)
                if identity in self._feeds:
                    self._selector.unregister(self._feeds[identity])
                    self._feeds.pop(identity).close()

    # Openings

    def _is_meant(self, here: Mapping[str, Any]) -> bool:
        names = {here["board"], here["port"]}
        if not self._selection.has_pipe(here["pipe"]):
            return False
        if self._selection.board is not None:
            return self._selection.board in names or not names.isdisjoint(self._own_boards)
        if self._selection.kernel and here.get("own"):
            self._own_boards |= names
        if here.get("own") is None and self._selection.kernel and self._own_boards:
            return not names.isdisjoint(self._own_boards)  # the notebook is gone, and its boards are not
        return here.get("own") is not False

    def _find(self, here: Description, *, is_new: bool) -> None:
        """Read an opening that the hub has, if it is meant. ``is_new``: none of it went by before."""
        opening = Opening(0, here["pipe"], here["board"], here["port"], here["generation"], here["boot"], here["facts"])
        opening.cell = tuple(here["cell"]) if here.get("cell") else None
        identity = opening.identity
        if not self._is_meant(here):
            if self._selection.board is not None and not self._own_boards:
                self._others.append((here, is_new))
            return
        if not self._is_next(identity, here):
            return
        self._due.pop(identity, None)
        self._end_former_lives(opening)
        known = self._openings.get(identity)
        replay = known is not None or is_new or self._replay
        try:
            connected = connection.open_reader(
                opening.pipe,
                options=(*OPTIONS, "replay") if replay else OPTIONS,
                start=False,
                timeout_s=HUB_S,
                opening=here["id"],
                first=known.number if known is not None else 0,
            )
        except PipeEndedError as error:
            self._sink.note(f"{opening.board}: {error}")
            self._openings.pop(identity, None)
            self._begun(identity)
            self._call_next(identity, time.monotonic())
            return
        except (UcoreError, OSError) as error:
            self._obstacle = str(error)
            self._due[identity] = time.monotonic() + AGAIN_S, here, is_new
            return
        if known is None:
            self._count += 1
            opening.key = self._count
            self._openings[identity] = known = opening
            goes_on = False
        else:
            known.board, known.port, known.facts, goes_on = opening.board, opening.port, opening.facts, True
        self._obstacle = ""
        self._begun(identity)
        feed = self._feeds[identity] = Feed(known, connected, self._sink, goes_on=goes_on)
        self._known[identity] = here
        self._selector.register(feed, selectors.EVENT_READ, feed)
        self._keep(known)

    def _is_next(self, identity: Identity, here: Description) -> bool:
        """Whether this is to be read now; else it waits for those before it, whose end is still to be read."""
        is_read = identity in self._feeds
        if is_read and self._known[identity]["id"] == here["id"]:
            return False
        waiting = self._waiting.setdefault(identity, deque())
        if all(one["id"] != here["id"] for one in waiting):
            waiting.append(here)
        return not is_read and waiting[0]["id"] == here["id"]

    def _begun(self, identity: Identity) -> None:
        """The first of those that wait does no more."""
        waiting = self._waiting[identity]
        waiting.popleft()
        if not waiting:
            del self._waiting[identity]

    def _call_next(self, identity: Identity, now: float) -> None:
        if waiting := self._waiting.get(identity):
            self._due[identity] = now, waiting[0], True

    def _end_former_lives(self, here: Opening) -> None:
        """What the board had open before it restarted, while it was out of reach, will not go on."""
        for identity, opening in list(self._openings.items()):
            is_same_board = opening.board == here.board or opening.port == here.port
            if is_same_board and here.boot and opening.boot not in ("", here.boot) and identity not in self._feeds:
                self._sink.ended(opening, EndReason.BOARD_RESTARTED)
                self._openings.pop(identity)
                self._due.pop(identity, None)

    def _keep(self, opening: Opening) -> None:
        """See to it that the hub keeps the board."""
        for keeper in self._keepers.values():
            if {opening.port, opening.board} & {*keeper.names, keeper.board.get("port"), keeper.board.get("name")}:
                keeper.resume()
                return
        if settings.pipe_port() is None:
            self._keepers[opening.port] = BoardKeeper((opening.port, opening.board), self._label)

    def _read(self, feed: Feed, now: float) -> bool:
        try:
            more = feed.read()
        except HubError as error:
            self._sink.note(f"{feed.opening.board}: {error}")
            feed.break_off(LOST_CONNECTION)
            more = False
        if feed.reason is not None:
            self._leave(feed, now)
        return more

    def _leave(self, feed: Feed, now: float) -> None:
        """An opening has ended, or is out of reach."""
        identity = feed.opening.identity
        self._selector.unregister(feed)
        feed.close()
        self._feeds.pop(identity, None)
        here = self._known.get(identity)
        if feed.reason in ENDED_FOR_GOOD:
            self._openings.pop(identity, None)
            self._known.pop(identity, None)
        elif feed.reason == EndReason.BOARD_GONE and here is not None:
            self._look_after(feed.opening)
            self._due.setdefault(identity, (now + GONE_S, here, False))
        elif self._hub is not None and here is not None:  # else the next hub says which ones there are
            self._due.setdefault(identity, (now + AGAIN_S, here, False))
        self._call_next(identity, now)


def _has_own_boards() -> bool:
    """Whether boards are this computer's to attach: not those behind a port that has a token of its own, another computer's or a recording's that is played."""
    return settings.pipe_port() is None or settings.pipe_token() is None
