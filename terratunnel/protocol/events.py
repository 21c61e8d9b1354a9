"""What the multiplexer has to tell: one small object for each thing that happened. Used by `mux.connection`.

Plain classes with slots, not frozen: many are made per second and dropped at once.
"""

from terratunnel.protocol.errors import GoAwayCode, ResetCode
from terratunnel.protocol.streams import Stream


class Event:
    """Something that happened on a link."""

    __slots__ = ()


class HeadersReceived(Event):
    """The head of a request or response. `end`: nothing follows in this direction; `interim`: a 1xx, more heads follow.

    `opened`: the peer has just opened the stream.
    """

    __slots__ = ("end", "interim", "items", "opened", "stream")

    def __init__(self, stream: Stream, items: list[bytes], end: bool, interim: bool, opened: bool) -> None:
        self.stream: Stream = stream
        self.items: list[bytes] = items
        self.end: bool = end
        self.interim: bool = interim
        self.opened: bool = opened


class DataReceived(Event):
    """Bytes of a body, never none, checked where the direction is; call `Multiplexer.consume` when they went on."""

    __slots__ = ("data", "end", "stream")

    def __init__(self, stream: Stream, data: bytes | memoryview, end: bool) -> None:
        self.stream: Stream = stream
        self.data: bytes | memoryview = data
        self.end: bool = end


class EndReceived(Event):
    """The end of a direction, with trailer fields as `[name, value, …]`."""

    __slots__ = ("stream", "trailers")

    def __init__(self, stream: Stream, trailers: list[bytes]) -> None:
        self.stream: Stream = stream
        self.trailers: list[bytes] = trailers


class StreamReset(Event):
    """A stream is over before its time: by the peer's RESET or GOAWAY, or because this side found a wrong checksum."""

    __slots__ = ("code", "reason", "stream")

    def __init__(self, stream: Stream, code: ResetCode, reason: str) -> None:
        self.stream: Stream = stream
        self.code: ResetCode = code
        self.reason: str = reason


class LinkOpened(Event):
    """The peer's SETTINGS arrived: streams may be opened."""

    __slots__ = ()


class GoAwayReceived(Event):
    """The peer takes no more streams."""

    __slots__ = ("code", "reason")

    def __init__(self, code: GoAwayCode, reason: str) -> None:
        self.code: GoAwayCode = code
        self.reason: str = reason
