"""Two multiplexers, their messages carried from one to the other, and a clock that only moves when told.

Used by the tests of the protocol, its properties and its fuzz target. Rule: what is asserted are events and bytes.
"""

from collections.abc import Mapping

from terratunnel.protocol.events import (
    DataReceived,
    EndReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    LinkOpened,
    StreamReset,
)
from terratunnel.protocol.frames import SETTING, U32, Flag, FrameType, frame, split_frames
from terratunnel.protocol.headers import encode_block
from terratunnel.protocol.multiplexer import Multiplexer
from terratunnel.protocol.settings import DEFAULTS, Settings
from terratunnel.protocol.streams import Stream

REQUEST = [b"GET", b"/", b"Host", b"a"]
RESPONSE = [b"200", b"OK"]
Said = tuple[object, ...]
Frame = tuple[int, int, int, bytes]


def said(event: Event) -> Said:
    """An event as a tuple, for comparison."""
    if isinstance(event, HeadersReceived):
        flags = [name for name in ("opened", "interim", "end") if getattr(event, name)]
        return ("headers", event.stream.id, event.items, *flags)
    if isinstance(event, DataReceived):
        return ("data", event.stream.id, event.data, *(["end"] if event.end else []))
    if isinstance(event, EndReceived):
        return ("end", event.stream.id, event.trailers)
    if isinstance(event, StreamReset):
        return ("reset", event.stream.id, event.code, event.reason)
    if isinstance(event, GoAwayReceived):
        return ("goaway", event.code, event.reason)
    assert isinstance(event, LinkOpened)
    return ("opened",)


def headers(stream_id: int, items: list[bytes], flags: int = 0) -> bytes:
    return frame(FrameType.HEADERS, flags, stream_id, encode_block(items))


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frame(FrameType.DATA, flags, stream_id, payload)


def end(stream_id: int, payload: bytes = b"") -> bytes:
    return frame(FrameType.END, 0, stream_id, payload)


def reset(stream_id: int, code: int, reason: bytes = b"") -> bytes:
    return frame(FrameType.RESET, 0, stream_id, U32.pack(code) + reason)


def window(stream_id: int, increment: int) -> bytes:
    return frame(FrameType.WINDOW, 0, stream_id, U32.pack(increment))


def ping(payload: bytes = b"\0\0\0\0\0\0\0\1") -> bytes:
    return frame(FrameType.PING, 0, 0, payload)


def settings_frame(values: Mapping[int, int]) -> bytes:
    return frame(FrameType.SETTINGS, 0, 0, b"".join(SETTING.pack(*item) for item in values.items()))


def message_of(multiplexer: Multiplexer) -> bytes:
    """The next message as one string; empty when there is none."""
    return b"".join(multiplexer.next_message())


def frames_of(multiplexer: Multiplexer) -> list[Frame]:
    """Everything the multiplexer has to send now, as frames."""
    found: list[Frame] = []
    while message := message_of(multiplexer):
        found += split_frames(message)
    return found


def hear(multiplexer: Multiplexer, *frames: bytes, now: float = 0.0) -> list[Said]:
    """Let a multiplexer receive frames in one message."""
    return [said(event) for event in multiplexer.receive_message(b"".join(frames), now)]


def lone(opener: bool = False, settings: Settings | None = None, peer: Mapping[int, int] | None = None) -> Multiplexer:
    """One end whose peer, which the test plays, has sent its SETTINGS; the opening of its own is taken away."""
    multiplexer = Multiplexer(opener, settings or Settings(), 0.0)
    hear(multiplexer, settings_frame(peer if peer is not None else {int(key): size for key, size in DEFAULTS.items()}))
    frames_of(multiplexer)
    return multiplexer


def answering(settings: Settings | None = None, checked: bool = False) -> tuple[Multiplexer, Stream]:
    """An agent with stream 1 open in both directions, its response head taken away."""
    agent = lone(settings=settings)
    (event,) = agent.receive_message(headers(1, REQUEST, Flag.CHECKED if checked else 0), 0.0)
    assert isinstance(event, HeadersReceived)
    return agent, event.stream


class Pair:
    """A server and an agent joined by a link that loses nothing. `now` is the time both are told."""

    def __init__(self, server: Settings | None = None, agent: Settings | None = None, opened: bool = True) -> None:
        self.now: float = 0.0
        self.server: Multiplexer = Multiplexer(True, server or Settings(), self.now)
        self.agent: Multiplexer = Multiplexer(False, agent or Settings(), self.now)
        self.consumes: bool = True
        self.heard: dict[str, list[Said]] = {"server": [], "agent": []}
        self.streams: dict[int, Stream] = {}
        if opened:
            self.run()
            self.events("server")
            self.events("agent")

    def run(self) -> None:
        """Carry messages until neither end has one."""
        while self.carry("server") or self.carry("agent"):
            pass

    def carry(self, sender: str) -> bool:
        """Carry one message of `sender`; False when it has none."""
        source, sink, name = self._ends(sender)
        message = message_of(source)
        if not message:
            return False
        self.deliver(sink, name, message)
        return True

    def deliver(self, sink: Multiplexer, name: str, message: bytes) -> None:
        """Let one end receive a message; bytes are handed on at once unless `consumes` is off."""
        for event in sink.receive_message(message, self.now):
            self.heard[name].append(said(event))
            if isinstance(event, HeadersReceived) and event.opened:
                self.streams[event.stream.id] = event.stream
            if isinstance(event, DataReceived) and self.consumes:
                sink.consume(event.stream, len(event.data), self.now)

    def events(self, name: str) -> list[Said]:
        """What one end heard since the last call."""
        found = self.heard[name]
        self.heard[name] = []
        return found

    def exchange(self, checked: bool = False) -> tuple[Stream, Stream]:
        """Open a stream whose two heads have been sent, bodies to follow; returns the server's and the agent's side."""
        mine = self.server.open_stream(self.now)
        self.server.send_headers(mine, REQUEST, checked=checked)
        self.run()
        theirs = self.streams[mine.id]
        self.agent.send_headers(theirs, RESPONSE, checked=checked)
        self.run()
        self.events("server")
        self.events("agent")
        return mine, theirs

    def _ends(self, sender: str) -> tuple[Multiplexer, Multiplexer, str]:
        return (self.server, self.agent, "agent") if sender == "server" else (self.agent, self.server, "server")
