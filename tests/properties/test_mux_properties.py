"""Laws of the mux package, attacked by hypothesis.

Frames: however the input is cut, the same comes out, and the `websockets` package reads it the same way. Connections:
whatever happens, a handler hears heads, then a prefix of what was sent, then one end, and nothing after it.
"""

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import OPEN, Protocol, Side

from terratunnel.mux.wsframes import FrameReader, FrameWriter
from terratunnel.protocol.errors import GoAwayCode, ResetCode
from terratunnel.protocol.settings import Settings
from terratunnel.testing.clock import Clock, ClockLoop, settled, turns
from terratunnel.testing.links import JoinedLinks, join_in_memory
from terratunnel.testing.streams import StreamRecorder

Messages = list[tuple[int, bytes]]
LIMIT = 4_000
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9


# ---------------------------------------------------------------------- frames


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at these places modulo its length; pieces may be empty."""
    at = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


def read_by_us(pieces: list[bytes], masked: bool) -> tuple[Messages, int]:
    """The messages, and the close code of the fault (0: none)."""
    reader = FrameReader(masked, LIMIT)
    messages = [message for piece in pieces for message in reader.receive_data(piece)]
    return messages, reader.error.code if reader.error is not None else 0


def read_by_them(data: bytes, masked: bool) -> tuple[Messages, int]:
    protocol = Protocol(Side.SERVER if masked else Side.CLIENT, state=OPEN, max_size=LIMIT)
    protocol.receive_data(data)
    messages: Messages = []
    held = b""
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode >= CLOSE:
            messages.append((int(event.opcode), bytes(event.data)))
            continue
        held += event.data
        if event.fin:
            messages.append((BINARY, held))
            held = b""
    failed = protocol.parser_exc is not None
    assert not failed or protocol.close_sent is not None
    return messages, protocol.close_sent.code if failed and protocol.close_sent is not None else 0


class Sent:
    """One frame, as the `websockets` package writes it."""

    def __init__(self, opcode: int, payload: bytes, fin: bool) -> None:
        self.opcode = opcode
        self.payload = payload
        self.fin = fin

    def __repr__(self) -> str:
        return f"Sent({self.opcode}, {len(self.payload)}, {self.fin})"

    def serialized(self, masked: bool) -> bytes:
        return Frame(TheirOpcode(self.opcode), self.payload, self.fin).serialize(mask=masked)


payloads = st.one_of(st.binary(max_size=5), st.sampled_from([125, 126, 400]).map(lambda n: b"x" * n))
data_frames = st.builds(Sent, st.sampled_from([CONTINUATION, BINARY]), payloads, st.booleans())
control_frames = st.builds(Sent, st.sampled_from([PING, 10]), st.binary(max_size=125), st.just(True))
frames = st.lists(st.one_of(data_frames, control_frames), max_size=8)
places = st.lists(st.integers(0, 10_000), max_size=6)


@given(frames, places, st.booleans())
def test_any_cut_of_the_input_gives_the_same_messages(sent: list[Sent], where: list[int], masked: bool) -> None:
    data = b"".join(frame.serialized(masked) for frame in sent)
    assert read_by_us(cut(data, where), masked) == read_by_us([data], masked)


@given(frames, st.booleans())
def test_what_they_write_is_read_as_they_read_it(sent: list[Sent], masked: bool) -> None:
    data = b"".join(frame.serialized(masked) for frame in sent)
    assert agreed(read_by_us([data], masked)) == agreed(read_by_them(data, masked))


def agreed(read: tuple[Messages, int]) -> tuple[Messages, bool]:
    """The messages and whether there was a fault: of two rules broken by one frame each side may name another."""
    return read[0], read[1] != 0


@given(st.binary(max_size=60), frames, st.booleans())
def test_garbage_is_refused_where_they_refuse_it(garbage: bytes, sent: list[Sent], masked: bool) -> None:
    data = b"".join(frame.serialized(masked) for frame in sent) + garbage
    data += b"\x89\0" * LIMIT  # the whole of every frame: each side judges some faults by the first bytes already
    ours, code = read_by_us([data], masked)
    if code == 1003 or CLOSE in [opcode for opcode, _ in ours]:
        return  # a link carries no text; what may stand in and behind a Close is not the reader's business
    assert agreed((ours, code)) == agreed(read_by_them(data, masked))


@given(st.lists(st.binary(max_size=400), max_size=5), st.sampled_from([BINARY, PING]), st.booleans(), st.booleans())
def test_what_we_write_is_read_by_them(parts: list[bytes], opcode: int, masked: bool, views: bool) -> None:
    payload = b"".join(parts)[: 125 if opcode == PING else LIMIT]
    half = len(payload) // 2
    given_parts: list[bytes | memoryview] = [payload[:half], memoryview(payload)[half:] if views else payload[half:]]
    data = b"".join(FrameWriter(masked).write(opcode, given_parts))
    assert read_by_them(data, masked) == ([(opcode, payload)], 0)
    assert read_by_us([data], masked) == ([(opcode, payload)], 0)


# ---------------------------------------------------------------------- connections

SMALL = Settings(
    initial_stream_window=60,
    initial_link_window=150,
    max_streams=3,
    max_stream_window=240,
    window_growth_budget=300,
    chunk_size=32,
)
GET = [b"GET", b"/", b"Host", b"a"]


class Exchange:
    """Both ends of one stream, and what each has sent."""

    def __init__(self, ours: StreamRecorder) -> None:
        self.ours = ours
        self.theirs: StreamRecorder | None = None
        self.up = b""
        self.down = b""


class World:
    """A joined pair, and the moves that a test may make on it."""

    def __init__(self, links: JoinedLinks, exchanges: list[Exchange]) -> None:
        self.links = links
        self.exchanges = exchanges
        self.silenced: dict[StreamRecorder, int] = {}

    def open(self, number: int) -> None:
        if self.links.server.can_open:
            self.exchanges.append(
                Exchange(self.links.open(GET, end=number % 5 == 0, checked=number % 2 == 0, hold=number % 3 == 0))
            )

    def pick(self, number: int) -> Exchange | None:
        return self.exchanges[number % len(self.exchanges)] if self.exchanges else None

    def up(self, number: int) -> None:
        exchange = self.pick(number)
        if exchange is not None and exchange.ours.stream is not None and exchange.ours.stream.can_send:
            data = bytes([number % 256]) * (number % 130)
            exchange.up += data
            exchange.ours.stream.send_data(data, end=number % 7 == 0)

    def down(self, number: int) -> None:
        exchange = self.pick(number)
        theirs = exchange.theirs if exchange is not None else None
        if exchange is None or theirs is None or theirs.stream is None or not theirs.stream.can_send:
            return
        if not exchange.down:
            theirs.stream.send_headers([b"200", b"OK"], checked=number % 2 == 0)
        data = bytes([number % 256]) * (1 + number % 130)
        exchange.down += data
        theirs.stream.send_data(data)
        if number % 7 == 0:
            theirs.stream.send_end([])

    def reset(self, number: int) -> None:
        exchange = self.pick(number)
        if exchange is None:
            return
        end = exchange.theirs if number % 2 else exchange.ours
        if end is not None and end.stream is not None:
            end.stream.reset(ResetCode.CANCELLED, "by the test")
            self.silenced.setdefault(end, len(end.heard))

    def release(self, number: int) -> None:
        for exchange in self.exchanges:
            for end in (exchange.ours, exchange.theirs):
                if end is not None and end.stream is not None and end.hold:
                    end.release()

    def pause(self, number: int) -> None:
        (self.links.server if number % 2 else self.links.agent).pause_sending()

    def resume(self, number: int) -> None:
        self.links.server.resume_sending()
        self.links.agent.resume_sending()

    def drain(self, number: int) -> None:
        if number % 4 == 0:
            (self.links.server if number % 8 else self.links.agent).close(GoAwayCode.DRAINING, "drain")

    def lose(self, number: int) -> None:
        if number % 10 == 0:
            self.links.server.link.abort()
        elif number % 10 == 1:
            self.links.agent.close_now(GoAwayCode.NORMAL, "stop")


MOVES: dict[str, Callable[[World, int], None]] = {
    name: getattr(World, name)
    for name in ("open", "up", "down", "reset", "release", "pause", "resume", "drain", "lose")
}
moves = st.lists(
    st.tuples(st.sampled_from(["open", "open", "up", "up", "down", "down", *MOVES]), st.integers(0, 1000)),
    max_size=40,
)


def check_order(recorder: StreamRecorder, sent: bytes) -> None:
    """Heads, data, one end; the data is a prefix of what was sent, and all of it where the end is clean."""
    names = [name for name in recorder.names() if name != "room"]
    assert "reset" not in names[:-1]
    assert "headers" not in names[names.index("data") :] if "data" in names else True
    assert sent.startswith(recorder.body)
    if recorder.ended:
        assert recorder.body == sent


async def play(script: list[tuple[str, int]], clock: Clock) -> None:
    exchanges: list[Exchange] = []

    def opens(stream: object) -> StreamRecorder:
        theirs = StreamRecorder(hold=len(exchanges) % 2 == 0)
        by_id[stream.id].theirs = theirs  # type: ignore[attr-defined]
        theirs.stream = stream  # type: ignore[assignment]
        return theirs

    by_id: dict[int, Exchange] = {}
    links = await join_in_memory(opens, SMALL, clock=clock).opened()
    world = World(links, exchanges)
    for name, number in script:
        MOVES[name](world, number)
        by_id.update({exchange.ours.stream.id: exchange for exchange in exchanges if exchange.ours.stream is not None})
        if number % 3 == 0:
            await turns()
    await settled()
    links.server.close_now(GoAwayCode.NORMAL, "the end")
    await settled()
    assert links.server_owner.names()[-1] == "closed"
    assert links.agent_owner.names()[-1] == "closed"
    for exchange in exchanges:
        for end, sent in ((exchange.ours, exchange.down), (exchange.theirs, exchange.up)):
            if end is not None:
                assert end.over or end in world.silenced
                assert len(end.heard) == world.silenced.get(end, len(end.heard))
                check_order(end, sent)


@given(moves)
def test_whatever_happens_every_handler_hears_a_prefix_and_an_end(script: list[tuple[str, int]]) -> None:
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: ClockLoop(clock)) as runner:
        runner.run(play(script, clock))
