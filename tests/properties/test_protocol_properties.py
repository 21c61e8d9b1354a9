"""The laws of the link protocol, under attack: any cut, any order, any bytes.

Used by pytest. Rule: a law is stated over events and bytes alone; the shape of the code may change under it.
"""

from dataclasses import dataclass, field
from hashlib import sha256

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from terratunnel.protocol.errors import GoAwayCode, LinkError, ResetCode
from terratunnel.protocol.events import DataReceived, EndReceived, GoAwayReceived, HeadersReceived, StreamReset
from terratunnel.protocol.frames import CHECKSUM, HEADER_BYTES, Flag, FrameType, frame, split_frames
from terratunnel.protocol.headers import decode_block, encode_block
from terratunnel.protocol.multiplexer import Multiplexer
from terratunnel.protocol.scheduler import SLICE_CONTENDED_BYTES, SMALL_EXCHANGE_BYTES
from terratunnel.protocol.settings import Setting, Settings
from terratunnel.protocol.streams import BODY, DONE, HEAD, RESET, Stream
from terratunnel.protocol.windows import MAX_WINDOW
from tests.protocol.pair import (
    REQUEST,
    RESPONSE,
    Said,
    data,
    end,
    frames_of,
    headers,
    hear,
    lone,
    message_of,
    ping,
    reset,
    said,
    settings_frame,
    window,
)

SMALL = Settings(
    initial_stream_window=40,
    initial_link_window=100,
    max_streams=4,
    max_stream_window=160,
    window_growth_budget=200,
    chunk_size=16,
    ping_after_s=1.0,
    dead_after_s=1e9,
)
items = st.lists(st.binary(max_size=8), max_size=6)
sizes = st.sampled_from([1, 3, 16, 39, 40, 41, 100, 300])
both = st.sampled_from(["server", "agent"])
stream_ids = st.sampled_from([0, 1, 2, 3, 5, 7, 2**32 - 1])


# ---------------------------------------------------------------------- blocks and messages


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_a_block_comes_back_as_it_was(strings: list[bytes]) -> None:
    assert decode_block(encode_block(strings), 65_536, 1_024) == strings


@given(st.binary(max_size=200))
def test_a_block_that_is_read_was_written_so(block: bytes) -> None:
    try:
        strings = decode_block(block, 100, 10)
    except LinkError:
        return
    assert block in (b"", encode_block(strings))


@st.composite
def valid_frames(draw: st.DrawFn) -> list[bytes]:
    """What a server may say to an agent, in an order that breaks no rule; flow control aside, which is wide open."""
    said_so_far: list[bytes] = []
    bodies: dict[int, list[bytes]] = {}
    indices: dict[int, int] = {}
    next_id = 1
    for _ in range(draw(st.integers(0, 25))):
        choice = draw(st.sampled_from(["open", "data", "end", "reset", "ping", "unknown", "window"]))
        stream_id = draw(st.sampled_from([*bodies, *indices])) if bodies or indices else 0
        if choice == "open":
            checked = draw(st.booleans())
            said_so_far.append(headers(next_id, draw(items), Flag.CHECKED if checked else 0))
            if checked:
                indices[next_id] = 0
            else:
                bodies[next_id] = []
            next_id += 2
        elif choice == "ping":
            said_so_far.append(ping(draw(st.binary(min_size=8, max_size=8))))
        elif choice == "unknown":
            said_so_far.append(frame(draw(st.integers(11, 255)), 0, draw(stream_ids), draw(st.binary(max_size=20))))
        elif stream_id == 0:
            continue
        elif choice == "window":
            said_so_far.append(window(stream_id, draw(st.integers(0, 1000))))
        elif choice == "data" and stream_id in indices:
            chunk = draw(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=3))
            said_so_far += [data(stream_id, piece) for piece in chunk]
            summed = CHECKSUM.pack(indices[stream_id], sha256(b"".join(chunk)).digest())
            said_so_far.append(frame(FrameType.CHECKSUM, 0, stream_id, summed))
            indices[stream_id] += 1
        elif choice == "data":
            said_so_far.append(data(stream_id, draw(st.binary(max_size=20))))
        else:
            said_so_far.append(end(stream_id) if choice == "end" else reset(stream_id, draw(st.integers(0, 20)), b"x"))
            bodies.pop(stream_id, None)
            indices.pop(stream_id, None)
    return said_so_far


def hear_grouped(frames: list[bytes], groups: list[int]) -> tuple[list[Said], list[tuple[int, int, int, bytes]]]:
    """Let a fresh agent hear frames in messages of so many each; its events, an error at the end, and its answers."""
    agent = lone()
    heard: list[Said] = []
    frames = list(frames)
    try:
        for group in groups:
            if frames:
                heard += hear(agent, *frames[:group])
                del frames[:group]
        for each in frames:
            heard += hear(agent, each)
    except LinkError as error:
        heard += [said(event) for event in agent.undelivered]
        heard.append(("error", error.code, error.reason))
    return heard, frames_of(agent)


groupings = st.lists(st.integers(1, 10), max_size=20)


@given(valid_frames(), groupings)
def test_any_grouping_of_frames_gives_the_same_events_and_answers(frames: list[bytes], groups: list[int]) -> None:
    apart = hear_grouped(frames, [])
    assert hear_grouped(frames, groups) == apart
    assert all(event[0] != "error" for event in apart[0])


@given(valid_frames(), st.data())
def test_any_grouping_gives_the_same_events_up_to_a_fault(frames: list[bytes], draw: st.DataObject) -> None:
    kinds = st.integers(0, 12)
    wild = st.builds(frame, kinds, st.integers(0, 7), stream_ids, st.binary(max_size=40))
    for _ in range(draw.draw(st.integers(1, 3))):
        frames.insert(draw.draw(st.integers(0, len(frames))), draw.draw(wild))
    assert hear_grouped(frames, draw.draw(groupings)) == hear_grouped(frames, [])


def survives(multiplexer: Multiplexer, message: bytes) -> None:
    try:
        multiplexer.receive_message(message, 0.0)
    except LinkError as error:
        multiplexer.go_away(error.code, error.reason)
        assert frames_of(multiplexer)[-1][0] == FrameType.GOAWAY
        return
    frames_of(multiplexer)


@given(st.booleans(), st.booleans(), st.lists(st.binary(max_size=200), max_size=5))
def test_arbitrary_bytes_raise_link_errors_alone(opener: bool, opened: bool, messages: list[bytes]) -> None:
    multiplexer = lone(opener) if opened else Multiplexer(opener, Settings(), 0.0)
    for message in messages:
        survives(multiplexer, message)


@given(st.booleans(), st.data())
def test_arbitrary_frames_raise_link_errors_alone(opener: bool, draw: st.DataObject) -> None:
    multiplexer = lone(opener, settings=SMALL)
    if opener:
        multiplexer.send_headers(multiplexer.open_stream(0.0), REQUEST)
    payload = st.one_of(st.binary(max_size=60), st.builds(encode_block, items), st.integers(0, 2**32 - 1).map(_u32))
    wild = st.builds(frame, st.integers(0, 11), st.integers(0, 255), stream_ids, payload)
    for frames in draw.draw(st.lists(st.lists(wild, min_size=1, max_size=4), max_size=8)):
        survives(multiplexer, b"".join(frames))


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


# ---------------------------------------------------------------------- fairness

WIDE_OPEN: dict[int, int] = {
    Setting.INITIAL_STREAM_WINDOW: MAX_WINDOW,
    Setting.INITIAL_LINK_WINDOW: MAX_WINDOW,
    Setting.MAX_STREAMS: 64,
}


def bulk(count: int, checked: list[bool], link: int, chunk: int = 524_288) -> tuple[Multiplexer, list[Stream]]:
    """A server with streams that have more to send than they will be asked for."""
    server = lone(
        opener=True, settings=Settings(chunk_size=chunk), peer={**WIDE_OPEN, Setting.INITIAL_LINK_WINDOW: link}
    )
    streams = []
    for index in range(count):
        stream = server.open_stream(0.0)
        server.send_headers(stream, REQUEST, checked=checked[index])
        server.send_data(stream, bytes(4_000_000))
        streams.append(stream)
    return server, streams


def carried(server: Multiplexer) -> list[int]:
    """Take a message and give the link's credit for it back; whose DATA was in it, in order."""
    found = [(stream_id, len(payload)) for kind, _, stream_id, payload in split_frames(message_of(server)) if kind == 2]
    hear(server, window(0, sum(size for _, size in found)))
    return [stream_id for stream_id, _ in found]


@settings(max_examples=30)
@given(
    st.integers(2, 8),
    st.lists(st.booleans(), min_size=8, max_size=8),
    st.sampled_from([1_000, 20_000, 40_000, 131_072, 524_288]),
    st.integers(1, 40),
)
def test_bulk_streams_stay_within_two_slices_of_each_other(
    count: int, checked: list[bool], chunk: int, messages: int
) -> None:
    server, streams = bulk(count, checked, MAX_WINDOW, chunk)
    for _ in range(messages):
        assert carried(server)
        sent = [stream.sent_bytes for stream in streams]
        assert max(sent) - min(sent) <= 2 * SLICE_CONTENDED_BYTES


@settings(max_examples=30)
@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=30))
def test_bulk_streams_stay_fair_whatever_the_credit_of_the_link(grants: list[int]) -> None:
    server, streams = bulk(3, [False, True, False], 0)
    total = 0
    for grant in grants:
        total += grant
        hear(server, window(0, grant))
        frames_of(server)
        sent = [stream.sent_bytes for stream in streams]
        assert sum(sent) == total
        assert max(sent) - min(sent) <= 2 * SLICE_CONTENDED_BYTES


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, SMALL_EXCHANGE_BYTES - 1), st.integers(1, 6))
def test_a_small_exchange_is_sent_ahead_of_bulk(count: int, size: int, messages: int) -> None:
    server, streams = bulk(count, [False] * count, MAX_WINDOW)
    for _ in range(count + messages):
        carried(server)
    assert min(stream.sent_bytes for stream in streams) >= SMALL_EXCHANGE_BYTES
    small = server.open_stream(0.0)
    server.send_headers(small, REQUEST)
    server.send_data(small, bytes(size), end=True)
    needed = -(-size // SLICE_CONTENDED_BYTES)
    turns = carried(server)
    assert turns[:needed] == [small.id] * needed
    assert small.sending == DONE


# ---------------------------------------------------------------------- two ends, any interleaving


@dataclass
class Direction:
    """One direction of a stream as the test knows it."""

    checked: bool = False
    head: list[bytes] | None = None
    interims: int = 0
    sent: bytearray = field(default_factory=bytearray)
    trailers: list[bytes] | None = None
    got_head: list[bytes] | None = None
    got_interims: int = 0
    got: bytearray = field(default_factory=bytearray)
    got_trailers: list[bytes] | None = None
    handed_on: int = 0


@dataclass
class Exchange:
    """A stream on both ends. Directions by who sends: the server's request, the agent's response."""

    server: Stream
    agent: Stream | None = None
    request: Direction = field(default_factory=Direction)
    response: Direction = field(default_factory=Direction)
    reset: bool = False
    told: set[str] = field(default_factory=set)


class TwoEnds(RuleBasedStateMachine):
    """A server and an agent; every operation of either, and every delivery, in any order, over tiny windows."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ends = {"server": Multiplexer(True, SMALL, 0.0), "agent": Multiplexer(False, SMALL, 0.0)}
        self.wires: dict[str, list[bytes]] = {"server": [], "agent": []}
        self.exchanges: dict[int, Exchange] = {}
        self.draining = False
        self.made = 0

    # ---- helpers

    def stream(self, exchange: Exchange, end_name: str) -> Stream | None:
        return exchange.server if end_name == "server" else exchange.agent

    def standing(self, end_name: str, state: int) -> list[tuple[Stream, Direction]]:
        """The directions out of this end that stand in `state`, their end not asked for yet."""
        return [
            (stream, exchange.request if end_name == "server" else exchange.response)
            for exchange in self.exchanges.values()
            if (stream := self.stream(exchange, end_name)) is not None
            and stream.sending == state
            and stream.pending_end is None
        ]

    def sendable(self) -> list[tuple[str, Stream, Direction]]:
        return [(name, stream, direction) for name in self.ends for stream, direction in self.standing(name, BODY)]

    def unread(self) -> list[tuple[str, Stream, Direction, int]]:
        """What was heard and not handed on yet: by whom, of which stream, and how many bytes."""
        return [
            (end_name, stream, direction, waiting)
            for exchange in self.exchanges.values()
            for end_name, direction in (("server", exchange.response), ("agent", exchange.request))
            if (stream := self.stream(exchange, end_name)) is not None
            and (waiting := len(direction.got) - direction.handed_on)
        ]

    def body(self, size: int) -> bytes:
        """Bytes that differ from those before them, so that a loss or a wrong order shows."""
        start = self.made
        self.made += size
        return bytes(number % 251 for number in range(start, start + size))

    def write(self, end_name: str, most: int) -> None:
        while most and (message := message_of(self.ends[end_name])):
            self.wires[end_name].append(message)
            most -= 1

    def deliver(self, end_name: str) -> bool:
        """Let the other end hear the oldest message of this one."""
        if not self.wires[end_name]:
            return False
        hearer = "agent" if end_name == "server" else "server"
        for event in self.ends[hearer].receive_message(self.wires[end_name].pop(0), self.now):
            self.heard(hearer, event)
        return True

    def heard(self, hearer: str, event: object) -> None:
        if isinstance(event, GoAwayReceived):
            return
        if not isinstance(event, (HeadersReceived, DataReceived, EndReceived, StreamReset)):
            assert said(event) == ("opened",)  # type: ignore[arg-type]
            return
        exchange = self.exchanges[event.stream.id]
        assert hearer not in exchange.told, "nothing follows a reset"
        direction = exchange.response if hearer == "server" else exchange.request
        if isinstance(event, StreamReset):
            assert exchange.reset or self.draining
            exchange.told.add(hearer)
        elif isinstance(event, HeadersReceived):
            if event.opened:
                assert exchange.agent is None
                exchange.agent = event.stream
            if event.interim:
                assert direction.got_head is None
                direction.got_interims += 1
            else:
                assert direction.got_head is None
                direction.got_head = event.items
                direction.got_trailers = [] if event.end else None
        else:
            assert direction.got_head is not None
            assert direction.got_trailers is None
            if isinstance(event, DataReceived):
                assert event.data
                direction.got += event.data
                direction.got_trailers = [] if event.end else None
            else:
                direction.got_trailers = event.trailers

    # ---- what may happen

    @initialize(checked=st.lists(st.booleans(), min_size=4, max_size=4))
    def open_link(self, checked: list[bool]) -> None:
        self.settle()
        for index in (0, 1):
            self.request(checked[index], False, REQUEST)
        self.settle()
        for index, (stream, direction) in enumerate(self.standing("agent", HEAD)):
            direction.head, direction.checked = RESPONSE, checked[2 + index]
            self.ends["agent"].send_headers(stream, RESPONSE, checked=direction.checked)

    @precondition(lambda self: self.ends["server"].can_open)
    @rule(checked=st.booleans(), end_flag=st.booleans(), strings=items)
    def request(self, checked: bool, end_flag: bool, strings: list[bytes]) -> None:
        server = self.ends["server"]
        stream = server.open_stream(self.now)
        exchange = self.exchanges[stream.id] = Exchange(stream)
        exchange.request.checked = checked
        exchange.request.head = strings
        exchange.request.trailers = [] if end_flag else None
        server.send_headers(stream, strings, end=end_flag, checked=checked)

    @precondition(lambda self: self.ends["server"].can_open)
    @rule()
    def give_up_before_the_head(self) -> None:
        server = self.ends["server"]
        server.reset_stream(server.open_stream(self.now), ResetCode.CANCELLED)

    @precondition(lambda self: self.standing("agent", HEAD))
    @rule(draw=st.data(), strings=items, kind=st.sampled_from(["interim", "plain", "checked", "end"]))
    def respond(self, draw: st.DataObject, strings: list[bytes], kind: str) -> None:
        stream, direction = draw.draw(st.sampled_from(self.standing("agent", HEAD)))
        if kind == "interim":
            direction.interims += 1
            self.ends["agent"].send_headers(stream, strings, interim=True)
            return
        direction.head = strings
        direction.checked = kind == "checked"
        direction.trailers = [] if kind == "end" else None
        self.ends["agent"].send_headers(stream, strings, end=kind == "end", checked=direction.checked)

    @precondition(lambda self: self.sendable())
    @rule(draw=st.data(), size=sizes)
    def send(self, draw: st.DataObject, size: int) -> None:
        end_name, stream, direction = draw.draw(st.sampled_from(self.sendable()))
        body = self.body(size)
        direction.sent += body
        self.ends[end_name].send_data(stream, body)

    @precondition(lambda self: self.sendable())
    @rule(draw=st.data(), size=st.sampled_from([0, 1, 41, 100]), trailers=st.none() | items)
    def send_last(self, draw: st.DataObject, size: int, trailers: list[bytes] | None) -> None:
        end_name, stream, direction = draw.draw(st.sampled_from(self.sendable()))
        body = self.body(size)
        direction.sent += body
        direction.trailers = trailers or []
        self.ends[end_name].send_data(stream, body, end=trailers is None)
        if trailers is not None:
            self.ends[end_name].send_end(stream, trailers)

    @precondition(lambda self: self.exchanges)
    @rule(draw=st.data(), end_name=both)
    def reset(self, draw: st.DataObject, end_name: str) -> None:
        exchange = draw.draw(st.sampled_from(list(self.exchanges.values())))
        stream = self.stream(exchange, end_name)
        if stream is None:
            return
        if stream in self.ends[end_name].streams():
            exchange.reset = True
            exchange.told.add(end_name)
        self.ends[end_name].reset_stream(stream, ResetCode.CANCELLED)
        assert stream not in self.ends[end_name].streams()

    @precondition(lambda self: self.unread())
    @rule(draw=st.data())
    def hand_on(self, draw: st.DataObject) -> None:
        end_name, stream, direction, waiting = draw.draw(st.sampled_from(self.unread()))
        size = draw.draw(st.integers(1, waiting))
        direction.handed_on += size
        self.ends[end_name].consume(stream, size, self.now)

    @rule(end_name=both, most=st.integers(1, 3))
    def write_some(self, end_name: str, most: int) -> None:
        self.write(end_name, most)

    @precondition(lambda self: self.wires["server"] or self.wires["agent"])
    @rule(end_name=both)
    def deliver_one(self, end_name: str) -> None:
        self.deliver(end_name)

    @rule(end_name=both)
    def carry(self, end_name: str) -> None:
        self.write(end_name, 10)
        while self.deliver(end_name):
            pass

    @rule(seconds=st.sampled_from([0.001, 0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for multiplexer in self.ends.values():
            multiplexer.handle_timer(self.now)

    @precondition(lambda self: not self.draining)
    @rule(end_name=both, chance=st.integers(0, 9))
    def drain(self, end_name: str, chance: int) -> None:
        if chance == 0:
            self.draining = True
            self.ends[end_name].go_away(GoAwayCode.DRAINING, "restart")

    # ---- what must hold

    @invariant()
    def credit_is_never_negative(self) -> None:
        for multiplexer in self.ends.values():
            for stream in multiplexer.streams():
                assert stream.send_credit >= 0
                assert stream.window.available >= 0
                assert stream.window.held >= 0
                assert stream.window.capacity <= SMALL.max_stream_window
                assert stream.pending_bytes == sum(map(len, stream.pending))

    @invariant()
    def bytes_out_are_a_prefix_of_bytes_in(self) -> None:
        for exchange in self.exchanges.values():
            for direction in (exchange.request, exchange.response):
                assert direction.sent.startswith(direction.got)
                assert direction.got_head in (None, direction.head)
                assert direction.got_interims <= direction.interims
                if direction.got_trailers is not None:
                    assert direction.got_trailers == direction.trailers
                    assert direction.got == direction.sent

    def settle(self) -> None:
        """Carry and hand on everything until nothing moves."""
        moved = True
        while moved:
            moved = False
            for end_name in ("server", "agent"):
                self.write(end_name, 1_000)
                while self.deliver(end_name):
                    moved = True
            for end_name, stream, direction, waiting in self.unread():
                direction.handed_on += waiting
                self.ends[end_name].consume(stream, waiting, self.now)
                moved = True

    def teardown(self) -> None:
        """At the end everything arrives exactly once, and no stream is left open."""
        self.settle()
        for exchange in self.exchanges.values():
            if not exchange.told:
                self.complete(exchange)
        self.settle()
        self.bytes_out_are_a_prefix_of_bytes_in()
        for exchange in self.exchanges.values():
            note(f"{exchange}")
            if exchange.told:
                assert exchange.told == {"server", "agent"} or exchange.agent is None or self.over(exchange)
                continue
            for direction in (exchange.request, exchange.response):
                assert direction.got == direction.sent
                assert direction.got_head == direction.head
                assert direction.got_interims == direction.interims
                assert direction.got_trailers == direction.trailers
        for multiplexer in self.ends.values():
            assert multiplexer.open_streams == 0
            assert not multiplexer.has_output
            assert message_of(multiplexer) == b""

    def over(self, exchange: Exchange) -> bool:
        """Whether one end had seen the whole exchange when the other reset it."""
        return exchange.agent is not None and {exchange.server.sending, exchange.agent.sending} == {DONE, RESET}

    def complete(self, exchange: Exchange) -> None:
        """End both directions of an exchange that nobody has reset."""
        assert exchange.agent is not None
        for end_name, stream, direction in (
            ("server", exchange.server, exchange.request),
            ("agent", exchange.agent, exchange.response),
        ):
            if direction.trailers is None:
                if direction.head is None:
                    direction.head = RESPONSE
                    self.ends[end_name].send_headers(stream, RESPONSE)
                direction.trailers = [b"last"]
                self.ends[end_name].send_end(stream, [b"last"])


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("flipped", range(5))
@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_byte_in_a_checked_body_is_never_passed_on(flipped: int, position: int, bit: int) -> None:
    agent = lone(settings=SMALL)
    (opened,) = agent.receive_message(headers(1, REQUEST, Flag.CHECKED), 0.0)
    assert isinstance(opened, HeadersReceived)
    heard: list[Said] = []
    for index in range(5):
        chunk = bytes([index]) * 8
        body = bytearray(data(1, chunk))
        if index == flipped:
            body[HEADER_BYTES + position % len(chunk)] ^= 1 << bit
        heard += hear(agent, bytes(body), frame(FrameType.CHECKSUM, 0, 1, CHECKSUM.pack(index, sha256(chunk).digest())))
        agent.consume(opened.stream, 8 if index < flipped else 0, 0.0)
    reason = f"chunk {flipped} (after {8 * flipped} bytes) does not match its SHA-256"
    assert heard == [
        *(("data", 1, bytes([index]) * 8) for index in range(flipped)),
        ("reset", 1, ResetCode.CHECKSUM_MISMATCH, reason),
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2**31 - 1)), max_size=8))
def test_settings_are_read_whatever_they_say(pairs: list[tuple[int, int]]) -> None:
    server = Multiplexer(True, Settings(), 0.0)
    assert hear(server, settings_frame(dict(pairs))) == [("opened",)]
    known = dict(pairs)
    assert server.can_open == (known.get(Setting.MAX_STREAMS, 1) > 0)
    if server.can_open:
        stream = server.open_stream(0.0)
        assert stream.send_credit == known.get(Setting.INITIAL_STREAM_WINDOW, stream.send_credit)
