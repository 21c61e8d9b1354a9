"""Recorders: handlers that write down what they hear, to wait for and to compare. Used by tests of both ends of a link.

Rule: a recorder gives credit back at once unless it was told to hold it.
"""

import asyncio
from collections.abc import Callable

from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.stream import Stream, StreamHandler
from terratunnel.protocol.errors import GoAwayCode, ResetCode

Note = tuple[object, ...]


class Notes:
    """What was heard, in order."""

    def __init__(self) -> None:
        self.heard: list[Note] = []
        self._waiting: list[asyncio.Event] = []

    def note(self, *what: object) -> None:
        """Write one thing down and wake who waits for it."""
        self.heard.append(what)
        for event in self._waiting:
            event.set()

    def names(self) -> list[object]:
        """Return the first word of each note."""
        return [note[0] for note in self.heard]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is looked at after each note."""
        event = asyncio.Event()
        self._waiting.append(event)
        try:
            while not condition():
                event.clear()
                await event.wait()
        finally:
            self._waiting.remove(event)

    async def until_heard(self, name: str) -> Note:
        """Wait for a note with this first word and return the latest."""
        await self.until(lambda: name in self.names())
        return [note for note in self.heard if note[0] == name][-1]


class StreamRecorder(Notes):
    """A StreamHandler. `hold` keeps the credit until `release`."""

    def __init__(self, hold: bool = False) -> None:
        super().__init__()
        self.stream: Stream | None = None
        self.hold = hold
        self.held_bytes = 0

    @property
    def body(self) -> bytes:
        """All data so far."""
        return b"".join(note[1] for note in self.heard if note[0] == "data" and isinstance(note[1], bytes))

    @property
    def ended(self) -> bool:
        """Whether the direction came to its end, which is not the case after a reset."""
        return any(note[0] == "end" or (note[0] in ("data", "headers") and "end" in note[2:]) for note in self.heard)

    @property
    def over(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or "reset" in self.names()

    async def finish(self) -> None:
        """Wait for the end or the reset."""
        await self.until(lambda: self.over)

    def release(self) -> None:
        """Give back what is held, and hold nothing from now on."""
        self.hold = False
        held, self.held_bytes = self.held_bytes, 0
        assert self.stream is not None
        self.stream.consumed(held)

    # ------------------------------------------------------------------ StreamHandler

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        """Note `("headers", items)` and the flags that were set."""
        flags = [name for name, given in (("interim", interim), ("end", end)) if given]
        self.note("headers", items, *flags)

    def data_received(self, data: bytes | memoryview, end: bool) -> None:
        """Note `("data", bytes)`, and `"end"` behind it where it is the last."""
        self.held_bytes += len(data)
        self.note("data", bytes(data), *(["end"] if end else []))
        if not self.hold:
            self.release()

    def end_received(self, trailers: list[bytes]) -> None:
        """Note `("end", trailers)`."""
        self.note("end", trailers)

    def reset_received(self, code: ResetCode, reason: str) -> None:
        """Note `("reset", code, reason)`."""
        self.note("reset", code, reason)

    def room_available(self) -> None:
        """Note `("room",)`."""
        self.note("room")


class OwnerRecorder(Notes):
    """A ConnectionOwner. Streams the peer opens go to `opens`, by default to recorders kept in `streams`."""

    def __init__(self, opens: Callable[[Stream], StreamHandler] | None = None) -> None:
        super().__init__()
        self.streams: list[StreamRecorder] = []
        self._opens = opens or self._record

    def link_opened(self, connection: MuxConnection) -> None:
        """Note `("opened",)`."""
        self.note("opened")

    def stream_opened(self, stream: Stream) -> StreamHandler:
        """Note `("stream", id)`."""
        handler = self._opens(stream)
        self.note("stream", stream.id)
        return handler

    def goaway_received(self, code: GoAwayCode, reason: str) -> None:
        """Note `("goaway", code, reason)`."""
        self.note("goaway", code, reason)

    def capacity_available(self, connection: MuxConnection) -> None:
        """Note `("capacity",)`."""
        self.note("capacity")

    def link_closed(self, connection: MuxConnection, code: GoAwayCode | None, reason: str) -> None:
        """Note `("closed", code, reason)`."""
        self.note("closed", code, reason)

    def _record(self, stream: Stream) -> StreamHandler:
        recorder = StreamRecorder()
        recorder.stream = stream
        self.streams.append(recorder)
        return recorder


class ReceiverRecorder(Notes):
    """A LinkReceiver."""

    @property
    def messages(self) -> list[object]:
        """The messages so far."""
        return [note[1] for note in self.heard if note[0] == "message"]

    def message_received(self, message: bytes) -> None:
        """Note `("message", bytes)`."""
        self.note("message", message)

    def link_lost(self, reason: str) -> None:
        """Note `("lost", reason)`."""
        self.note("lost", reason)

    def pause_sending(self) -> None:
        """Note `("pause",)`."""
        self.note("pause")

    def resume_sending(self) -> None:
        """Note `("resume",)`."""
        self.note("resume")
