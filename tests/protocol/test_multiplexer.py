"""The multiplexer, both ends of it: exchanges, credit, checked bodies, endings, liveness, broken peers."""

from hashlib import sha256

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.protocol.errors import GoAwayCode, LinkError, ResetCode
from terratunnel.protocol.events import HeadersReceived
from terratunnel.protocol.frames import (
    CHECKSUM,
    GOAWAY,
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    SETTING,
    U32,
    Flag,
    FrameType,
    frame,
    split_frames,
)
from terratunnel.protocol.multiplexer import (
    CONTROL_HIGH_BYTES,
    MAX_CONTROL_BYTES,
    MAX_STREAM_ID,
    MIN_CHUNK_BYTES,
    SMALL_DATA_BYTES,
    Multiplexer,
)
from terratunnel.protocol.outbox import LINK_GRANT_BYTES, MESSAGE_BYTES, PENDING_HIGH_BYTES, PENDING_LOW_BYTES
from terratunnel.protocol.pacing import PROBE_EVERY_S, START_BYTES
from terratunnel.protocol.scheduler import SLICE_ALONE_BYTES, SLICE_CONTENDED_BYTES, SMALL_EXCHANGE_BYTES
from terratunnel.protocol.settings import DEFAULTS, Setting, Settings
from terratunnel.protocol.streams import DONE, RESET, Stream
from terratunnel.protocol.windows import MAX_WINDOW
from tests.protocol.pair import (
    REQUEST,
    RESPONSE,
    Frame,
    Pair,
    answering,
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

DEFAULT_SETTINGS = {int(key): value for key, value in DEFAULTS.items()}
PLENTY = {**DEFAULT_SETTINGS, Setting.INITIAL_STREAM_WINDOW: MAX_WINDOW, Setting.INITIAL_LINK_WINDOW: MAX_WINDOW}


def checksum(index: int, chunk: bytes) -> bytes:
    return CHECKSUM.pack(index, sha256(chunk).digest())


def bodies(frames: list[Frame]) -> bytes:
    return b"".join(payload for kind, _, _, payload in frames if kind == FrameType.DATA)


def kinds(frames: list[Frame]) -> list[FrameType]:
    return [FrameType(kind) for kind, _, _, _ in frames]


def sending(
    peer: dict[int, int] | None = None, checked: bool = False, count: int = 1
) -> tuple[Multiplexer, list[Stream]]:
    """A server with streams whose heads have been sent, the peer played by the test."""
    server = lone(opener=True, peer=peer or PLENTY)
    streams = [server.open_stream(0.0) for _ in range(count)]
    for stream in streams:
        server.send_headers(stream, REQUEST, checked=checked)
    frames_of(server)
    return server, streams


def fails(multiplexer: Multiplexer, *frames: bytes, code: GoAwayCode = GoAwayCode.PROTOCOL_ERROR, match: str) -> None:
    with pytest.raises(LinkError, match=match) as caught:
        hear(multiplexer, *frames)
    assert caught.value.code is code


# ---------------------------------------------------------------------- opening


def test_a_link_opens_with_settings_and_a_ping() -> None:
    frames = frames_of(Multiplexer(True, Settings(), 0.0))
    assert kinds(frames) == [FrameType.SETTINGS, FrameType.PING]
    assert dict(SETTING.iter_unpack(frames[0][3])) == DEFAULT_SETTINGS


def test_both_ends_hear_that_the_link_is_open() -> None:
    pair = Pair(opened=False)
    assert not pair.server.can_open
    pair.run()
    assert pair.events("server") == pair.events("agent") == [("opened",)]
    assert pair.server.can_open


def test_no_stream_is_opened_before_the_peers_settings() -> None:
    with pytest.raises(LocalProtocolError, match="no stream can be opened"):
        Multiplexer(True, Settings(), 0.0).open_stream(0.0)


def test_the_first_frame_must_be_settings() -> None:
    fails(Multiplexer(False, Settings(), 0.0), ping(), match="first frame is not SETTINGS")


def test_settings_come_once() -> None:
    fails(lone(), settings_frame({}), match="second SETTINGS")


def test_unknown_settings_are_ignored_and_missing_ones_have_their_default() -> None:
    server = lone(opener=True, peer={77: 5})
    stream = server.open_stream(0.0)
    assert stream.send_credit == DEFAULTS[Setting.INITIAL_STREAM_WINDOW]
    assert repr(server) == "<Multiplexer streams=1 credit=8388608 rtt=0.0ms>"


def test_the_peers_settings_are_kept() -> None:
    server = lone(opener=True, peer={1: 10, 2: 15, 3: 1})
    stream = server.open_stream(0.0)
    server.send_headers(stream, REQUEST)
    server.send_data(stream, b"x" * 100)
    assert not server.can_open
    assert bodies(frames_of(server)) == b"x" * 10
    hear(server, window(1, 90))
    assert bodies(frames_of(server)) == b"x" * 5


def test_a_peer_that_allows_any_number_of_streams_does_not_decide_alone() -> None:
    server = lone(opener=True, settings=Settings(max_streams=2), peer={3: MAX_WINDOW})
    server.open_stream(0.0)
    server.open_stream(0.0)
    assert not server.can_open


# ---------------------------------------------------------------------- exchanges


def test_an_exchange_without_bodies_is_two_heads() -> None:
    pair = Pair()
    stream = pair.server.open_stream(pair.now)
    pair.server.send_headers(stream, REQUEST, end=True)
    pair.run()
    assert pair.events("agent") == [("headers", 1, REQUEST, "opened", "end")]
    pair.agent.send_headers(pair.streams[1], RESPONSE, end=True)
    pair.run()
    assert pair.events("server") == [("headers", 1, RESPONSE, "end")]
    assert pair.server.open_streams == pair.agent.open_streams == 0


def test_a_body_travels_with_its_end_on_the_last_data() -> None:
    pair = Pair()
    mine, _ = pair.exchange()
    pair.server.send_data(mine, b"hello, ")
    pair.server.send_data(mine, b"world", end=True)
    pair.run()
    assert pair.events("agent") == [("data", 1, b"hello, world", "end")]


def test_head_and_body_go_out_in_one_message() -> None:
    server = lone(opener=True)
    stream = server.open_stream(0.0)
    server.send_headers(stream, REQUEST)
    server.send_data(stream, b"hi", end=True)
    assert message_of(server) == headers(1, REQUEST) + data(1, b"hi", Flag.END)
    assert not server.has_output


def test_an_interim_head_comes_before_the_final_one() -> None:
    pair = Pair()
    mine = pair.server.open_stream(pair.now)
    pair.server.send_headers(mine, REQUEST)
    pair.run()
    pair.agent.send_headers(pair.streams[1], [b"103", b""], interim=True)
    pair.agent.send_headers(pair.streams[1], [b"100", b""], interim=True)
    pair.agent.send_headers(pair.streams[1], RESPONSE)
    pair.run()
    assert pair.events("server") == [
        ("headers", 1, [b"103", b""], "interim"),
        ("headers", 1, [b"100", b""], "interim"),
        ("headers", 1, RESPONSE),
    ]


def test_trailers_follow_the_body() -> None:
    pair = Pair()
    mine, _ = pair.exchange()
    pair.server.send_data(mine, b"body")
    pair.server.send_end(mine, [b"Sum", b"7"])
    pair.run()
    assert pair.events("agent") == [("data", 1, b"body"), ("end", 1, [b"Sum", b"7"])]


@pytest.mark.parametrize("by_data", [True, False])
def test_a_body_without_bytes_ends(by_data: bool) -> None:
    pair = Pair()
    mine, _ = pair.exchange()
    if by_data:
        pair.server.send_data(mine, b"", end=True)
    else:
        pair.server.send_end(mine, [])
    pair.run()
    assert pair.events("agent") == [("end", 1, [])]
    assert mine.sending == DONE


def test_data_without_bytes_is_not_passed_on() -> None:
    agent, _ = answering()
    assert hear(agent, data(1, b""), data(1, b"x"), data(1, b"", Flag.END)) == [("data", 1, b"x"), ("end", 1, [])]


def test_the_two_directions_end_by_themselves() -> None:
    pair = Pair()
    mine, theirs = pair.exchange()
    pair.agent.send_data(theirs, b"early answer", end=True)
    pair.run()
    assert pair.events("server") == [("data", 1, b"early answer", "end")]
    pair.server.send_data(mine, b"the rest", end=True)
    pair.run()
    assert pair.events("agent") == [("data", 1, b"the rest", "end")]
    assert pair.server.streams() == pair.agent.streams() == []


def test_streams_under_way_are_listed_and_numbered_by_twos() -> None:
    pair = Pair()
    opened = [pair.server.open_stream(pair.now) for _ in range(3)]
    assert [stream.id for stream in pair.server.streams()] == [1, 3, 5]
    assert pair.server.streams() == opened
    assert pair.server.next_id == 7


def test_identifiers_are_never_used_again() -> None:
    pair = Pair()
    for expected in (1, 3, 5):
        mine, _ = pair.exchange()
        assert mine.id == expected
        pair.server.reset_stream(mine, ResetCode.CANCELLED)
        pair.run()


def test_a_link_whose_identifiers_ran_out_opens_nothing() -> None:
    server = lone(opener=True)
    server.next_id = MAX_STREAM_ID - 1
    assert server.can_open
    assert not server.exhausted
    assert server.open_stream(0.0).id == 2**32 - 3
    assert server.exhausted
    assert not server.can_open


def test_an_identifier_may_be_left_out() -> None:
    assert hear(lone(), headers(9, REQUEST), headers(13, REQUEST)) == [
        ("headers", 9, REQUEST, "opened"),
        ("headers", 13, REQUEST, "opened"),
    ]


def test_a_stream_that_is_overtaken_cannot_send_its_head() -> None:
    server = lone(opener=True)
    first, second = server.open_stream(0.0), server.open_stream(0.0)
    server.send_headers(second, REQUEST)
    with pytest.raises(LocalProtocolError, match="overtaken by stream 3"):
        server.send_headers(first, REQUEST)
    server.reset_stream(first, ResetCode.INTERNAL)
    assert frames_of(server) == list(split_frames(headers(3, REQUEST)))
    assert server.open_streams == 1


# ---------------------------------------------------------------------- what our own code may not ask


def test_a_direction_that_is_done_sends_nothing() -> None:
    server = lone(opener=True)
    stream = server.open_stream(0.0)
    server.send_headers(stream, REQUEST, end=True)
    with pytest.raises(LocalProtocolError, match="<Stream 1 sending=DONE"):
        server.send_headers(stream, REQUEST)
    with pytest.raises(LocalProtocolError, match="<Stream 1 sending=DONE"):
        server.send_data(stream, b"x")
    with pytest.raises(LocalProtocolError, match="<Stream 1 sending=DONE"):
        server.send_end(stream, [])
    assert frames_of(server) == list(split_frames(headers(1, REQUEST, Flag.END)))


def test_a_body_before_its_head_or_behind_its_end_is_our_error() -> None:
    server = lone(opener=True, peer={1: 0})
    stream = server.open_stream(0.0)
    with pytest.raises(LocalProtocolError, match="sends no body now"):
        server.send_data(stream, b"x")
    server.send_headers(stream, REQUEST)
    server.send_data(stream, b"x", end=True)
    with pytest.raises(LocalProtocolError, match="sends no body now"):
        server.send_data(stream, b"y")


@pytest.mark.parametrize(("end_flag", "checked"), [(True, False), (False, True)])
def test_an_interim_head_ends_nothing_and_is_not_checked(end_flag: bool, checked: bool) -> None:
    agent, stream = answering()
    with pytest.raises(LocalProtocolError, match="interim head that cannot be one"):
        agent.send_headers(stream, [b"103", b""], end=end_flag, checked=checked, interim=True)


def test_a_request_has_no_interim_head() -> None:
    server = lone(opener=True)
    stream = server.open_stream(0.0)
    with pytest.raises(LocalProtocolError, match="interim head that cannot be one"):
        server.send_headers(stream, REQUEST, interim=True)


@pytest.mark.parametrize("items", [[b"x" * 40_000] * 2, [b""] * 1_025], ids=["bytes", "strings"])
def test_a_head_over_the_peers_budget_is_not_sent_and_the_stream_can_still_answer(items: list[bytes]) -> None:
    agent, stream = answering()
    with pytest.raises(LocalProtocolError, match="is over the budget"):
        agent.send_headers(stream, items)
    agent.send_headers(stream, RESPONSE)
    with pytest.raises(LocalProtocolError, match="is over the budget"):
        agent.send_end(stream, items)
    agent.send_end(stream, [])
    assert kinds(frames_of(agent)) == [FrameType.HEADERS, FrameType.END]


# ---------------------------------------------------------------------- credit


def test_a_stream_without_credit_waits_for_its_window() -> None:
    server, (stream,) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 10})
    server.send_data(stream, b"0123456789abcdef", end=True)
    assert bodies(frames_of(server)) == b"0123456789"
    assert not server.has_output
    hear(server, window(1, 4))
    assert bodies(frames_of(server)) == b"abcd"
    hear(server, window(1, 100))
    assert frames_of(server) == [(FrameType.DATA, Flag.END, 1, b"ef")]


def test_a_link_without_credit_holds_all_streams() -> None:
    server, streams = sending({**PLENTY, Setting.INITIAL_LINK_WINDOW: 10}, count=2)
    for stream in streams:
        server.send_data(stream, b"01234567", end=True)
    assert [frame_[2:] for frame_ in frames_of(server)] == [(1, b"01234567"), (3, b"01")]
    assert not server.has_output
    hear(server, window(0, 2))
    assert frames_of(server) == [(FrameType.DATA, 0, 3, b"23")]
    hear(server, window(0, 100))
    assert frames_of(server) == [(FrameType.DATA, Flag.END, 3, b"4567")]


def test_an_end_needs_no_credit() -> None:
    server, (blocked, ended) = sending({**PLENTY, Setting.INITIAL_LINK_WINDOW: 0}, count=2)
    server.send_data(blocked, b"x")
    server.send_end(ended, [b"a", b"b"])
    assert server.has_output
    assert kinds(frames_of(server)) == [FrameType.END]
    assert ended.sending == DONE


def test_credit_for_one_stream_leaves_another_blocked() -> None:
    server, (first, second) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 1}, count=2)
    server.send_data(first, b"aa")
    server.send_data(second, b"bb")
    frames_of(server)
    hear(server, window(3, 1))
    assert frames_of(server) == [(FrameType.DATA, 0, 3, b"b")]


def test_credit_with_nothing_to_send_is_kept() -> None:
    server, (stream,) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 0})
    hear(server, window(1, 0), window(1, 3))
    assert not server.has_output
    server.send_data(stream, b"abcd")
    assert bodies(frames_of(server)) == b"abc"


def test_link_credit_returns_on_receipt_and_stream_credit_when_handed_on() -> None:
    agent, stream = answering(Settings(initial_stream_window=100, initial_link_window=200))
    hear(agent, data(1, b"x" * 100))
    assert frames_of(agent) == list(split_frames(window(0, 100)))
    agent.consume(stream, 49, 1.0)
    assert not agent.has_output
    agent.consume(stream, 1, 1.0)
    assert frames_of(agent) == list(split_frames(window(1, 50)))


def test_a_direction_that_is_over_gets_no_credit() -> None:
    agent, stream = answering(Settings(initial_stream_window=100))
    hear(agent, data(1, b"x" * 100, Flag.END))
    agent.consume(stream, 100, 1.0)
    assert not agent.has_output


def test_a_peer_that_sends_more_than_the_stream_allows_ends_the_link() -> None:
    agent, _ = answering(Settings(initial_stream_window=10))
    hear(agent, data(1, b"x" * 10))
    fails(agent, data(1, b"y"), code=GoAwayCode.FLOW_CONTROL_ERROR, match="stream 1 has no credit for 1 bytes")


def test_a_peer_that_sends_more_than_the_link_allows_ends_the_link() -> None:
    agent, _ = answering(Settings(initial_link_window=10))
    fails(agent, data(1, b"x" * 11), code=GoAwayCode.FLOW_CONTROL_ERROR, match="the link has no credit for 11 bytes")


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_never_exceeds_its_maximum(stream_id: int) -> None:
    server, _ = sending()
    fails(server, window(stream_id, 1), code=GoAwayCode.FLOW_CONTROL_ERROR, match="a window over 2147483647 bytes")


@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_window_frame_holds_four_bytes(stream_id: int) -> None:
    server, _ = sending()
    fails(server, frame(FrameType.WINDOW, 0, stream_id, b"\0\0\1"), match="holds 4 bytes")


def grown(pair: Pair, checked: bool = False) -> tuple[Stream, Stream]:
    """An exchange whose request body came in fast enough for the agent's window to grow to its ceiling."""
    pair.server.handle_timer(pair.now)
    mine, theirs = pair.exchange(checked=checked)
    for _ in range(5):
        pair.server.send_data(mine, b"x" * 1_000_000)
        pair.run()
    return mine, theirs


def growing() -> Pair:
    """A pair whose round trip is 1 s by what both have seen, so that every reader is fast."""
    pair = Pair(agent=Settings(max_stream_window=1_048_576, window_growth_budget=1_000_000), opened=False)
    pair.now = 1.0
    pair.run()
    return pair


def test_windows_grow_within_the_budget_and_give_it_back_at_the_end() -> None:
    pair = growing()
    assert pair.agent.round_trip_s == 1.0
    mine, theirs = grown(pair)
    assert theirs.window.capacity == 1_048_576
    _, other = grown(pair)
    assert other.window.capacity == DEFAULTS[Setting.INITIAL_STREAM_WINDOW]
    pair.server.send_end(mine, [])
    pair.run()
    _, third = grown(pair)
    assert third.window.capacity == 1_048_576


def test_a_reset_gives_growth_back() -> None:
    pair = growing()
    mine, theirs = grown(pair)
    pair.consumes = False
    pair.server.send_data(mine, b"x" * 1_000_000)
    pair.run()
    pair.server.reset_stream(mine, ResetCode.CANCELLED)
    pair.run()
    pair.agent.consume(theirs, 1_000_000, pair.now)
    pair.consumes = True
    _, other = grown(pair)
    assert other.window.capacity == 1_048_576


def test_bytes_handed_on_behind_the_end_take_no_growth() -> None:
    pair = growing()
    pair.consumes = False
    for _ in range(10):
        mine, theirs = pair.exchange()
        pair.server.send_data(mine, b"x" * 200_000, end=True)
        pair.run()
        pair.agent.consume(theirs, 200_000, pair.now)
    pair.consumes = True
    _, last = grown(pair)
    assert last.window.capacity == 1_048_576


# ---------------------------------------------------------------------- sources and turns


def test_a_source_pauses_above_the_high_mark_and_hears_below_the_low_one() -> None:
    server, (stream,) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 0})
    server.send_data(stream, b"x" * PENDING_HIGH_BYTES)
    assert server.has_room(stream)
    server.send_data(stream, b"x")
    assert not server.has_room(stream)
    hear(server, window(1, PENDING_HIGH_BYTES - PENDING_LOW_BYTES))
    frames_of(server)
    assert server.writable == []
    hear(server, window(1, 1))
    frames_of(server)
    assert server.writable == [stream]
    server.writable.clear()
    hear(server, window(1, 1))
    frames_of(server)
    assert server.writable == []


def test_a_source_that_did_not_pause_hears_nothing() -> None:
    server, (stream,) = sending()
    server.send_data(stream, b"x" * PENDING_HIGH_BYTES)
    frames_of(server)
    assert server.writable == []


def test_a_stream_that_was_reset_is_never_writable() -> None:
    server, (stream,) = sending()
    server.send_data(stream, b"x" * (PENDING_HIGH_BYTES + 1))
    assert not server.has_room(stream)
    server.reset_stream(stream, ResetCode.CANCELLED)
    assert kinds(frames_of(server)) == [FrameType.RESET]
    assert server.writable == []
    assert server.has_room(stream)


def test_pieces_are_cut_to_the_credit_without_loss() -> None:
    server, (stream,) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 3})
    for piece in (b"ab", b"cdefgh", b"i"):
        server.send_data(stream, piece)
    found = bodies(frames_of(server))
    for _ in range(4):
        hear(server, window(1, 2))
        found += bodies(frames_of(server))
    assert found == b"abcdefghi"


def test_streams_take_turns_in_slices() -> None:
    server, streams = sending(count=3)
    for stream in streams:
        server.send_data(stream, b"x" * (2 * SLICE_CONTENDED_BYTES + 1))
    turns = [(stream_id, len(payload)) for _, _, stream_id, payload in frames_of(server)]
    assert turns[:6] == [(stream_id, SLICE_CONTENDED_BYTES) for stream_id in (1, 3, 5)] * 2


def test_a_turn_that_the_end_of_credit_interrupts_goes_on_with_what_is_left_of_it() -> None:
    server, streams = sending({**PLENTY, Setting.INITIAL_LINK_WINDOW: 10_000}, count=2)
    for stream in streams:
        server.send_data(stream, b"x" * 100_000)
    frames_of(server)
    hear(server, window(0, 2 * SLICE_CONTENDED_BYTES))
    turns = [(stream_id, len(payload)) for _, _, stream_id, payload in frames_of(server)]
    assert turns == [(1, SLICE_CONTENDED_BYTES - 10_000), (3, SLICE_CONTENDED_BYTES), (1, 10_000)]


def test_a_stream_alone_fills_a_message_with_one_frame() -> None:
    server, (stream,) = sending()
    server.send_data(stream, b"x" * (2 * SLICE_ALONE_BYTES + 1_000))
    sizes = [len(message) for message in iter(lambda: message_of(server), b"")]
    assert sizes == [SLICE_ALONE_BYTES + HEADER_BYTES] * 2 + [1_000 + HEADER_BYTES]


def test_a_small_exchange_overtakes_bulk() -> None:
    server, (bulk, small) = sending(count=2)
    server.send_data(bulk, b"x" * 1_000_000)
    message_of(server)
    server.send_data(small, b"quick", end=True)
    assert next(iter(split_frames(message_of(server)))) == (FrameType.DATA, Flag.END, 3, b"quick")


def test_bulk_is_not_starved_by_small_exchanges_without_end() -> None:
    server = lone(opener=True, settings=Settings(max_streams=10_000), peer={**PLENTY, Setting.MAX_STREAMS: 10_000})
    bulk = server.open_stream(0.0)
    server.send_headers(bulk, REQUEST)
    server.send_data(bulk, b"x" * 1_000_000)
    message_of(server)
    turns: list[int] = []
    for _ in range(10):
        for _ in range(2):
            small = server.open_stream(0.0)
            server.send_headers(small, REQUEST)
            server.send_data(small, b"y" * (SMALL_EXCHANGE_BYTES - 1), end=True)
        turns += [frame_[2] for frame_ in split_frames(message_of(server)) if frame_[0] == FrameType.DATA]
    assert turns.count(bulk.id) >= 5


def test_control_frames_go_ahead_of_data() -> None:
    server, (stream,) = sending()
    server.send_data(stream, b"x")
    hear(server, ping(b"12345678"))
    assert kinds(frames_of(server)) == [FrameType.PONG, FrameType.DATA]


def test_data_never_overtakes_its_own_head() -> None:
    server = lone(opener=True, peer=PLENTY)
    streams = [server.open_stream(0.0) for _ in range(10)]
    for stream in streams:
        server.send_headers(stream, [b"GET", b"/", b"X", b"x" * 40_000])
        server.send_data(stream, b"body", end=True)
    seen: set[int] = set()
    while message := message_of(server):
        assert len(message) <= 2 * MESSAGE_BYTES
        for kind, _, stream_id, _ in split_frames(message):
            assert (kind == FrameType.HEADERS) != (stream_id in seen)
            seen.add(stream_id)
    assert len(seen) == 10


def test_a_frame_larger_than_a_message_still_goes_out() -> None:
    server = lone(opener=True, settings=Settings(max_block_bytes=400_000))
    stream = server.open_stream(0.0)
    server.send_headers(stream, [b"x" * 50_000] * 6, end=True)
    assert kinds(frames_of(server)) == [FrameType.HEADERS]


# ---------------------------------------------------------------------- pace


def paced() -> tuple[Multiplexer, list[Stream]]:
    """A server with as much bulk of two streams in flight as its pace allows, more waiting, and an idle stream."""
    server, streams = sending(count=3)
    for bulk in streams[:2]:
        server.send_data(bulk, b"x" * 4_000_000)
    assert 0 <= len(bodies(frames_of(server))) - START_BYTES < SLICE_CONTENDED_BYTES
    assert not server.has_output
    return server, streams


def test_bulk_beside_other_streams_goes_on_as_link_credit_returns() -> None:
    server, _ = paced()
    hear(server, window(0, START_BYTES))
    assert abs(len(bodies(frames_of(server))) - START_BYTES) < SLICE_CONTENDED_BYTES


def test_a_stream_alone_is_bounded_by_its_credit_only() -> None:
    server, (bulk,) = sending()
    server.send_data(bulk, b"x" * 4_000_000)
    assert len(bodies(frames_of(server))) == 4_000_000


def test_bulk_that_is_alone_again_goes_on() -> None:
    server, (bulk, *others) = paced()
    for other in others:
        server.reset_stream(other, ResetCode.CANCELLED)
    frames_of(server)
    assert bulk.pending_bytes == 0


def test_a_small_exchange_does_not_wait_for_the_pace() -> None:
    server, (_, _, small) = paced()
    server.send_data(small, b"quick", end=True)
    assert frames_of(server) == [(FrameType.DATA, Flag.END, small.id, b"quick")]


def test_the_pace_follows_the_delay_that_bulk_causes() -> None:
    server, _ = paced()
    hear(server, frame(FrameType.PONG, 0, 0, b"\0\0\0\0\0\0\0\1"), now=PROBE_EVERY_S / 2)
    assert not server.has_output
    hear(server, window(1, 0), now=PROBE_EVERY_S)
    assert frames_of(server) == list(split_frames(ping(b"\0\0\0\0\0\0\0\2")))
    hear(server, window(1, 0), now=1.0)
    assert not server.has_output
    hear(server, frame(FrameType.PONG, 0, 0, b"\0\0\0\0\0\0\0\2"), now=1.0)
    assert kinds(frames_of(server)) == [FrameType.PING]
    hear(server, window(0, START_BYTES), now=1.0)
    slower = START_BYTES * 3 // 4
    assert abs(len(bodies(frames_of(server))) - slower) < SLICE_CONTENDED_BYTES


@pytest.mark.parametrize("link", [1_000, LINK_GRANT_BYTES - 1, 300_000, 600_000, START_BYTES, 8_388_608])
@pytest.mark.parametrize("delayed", [False, True])
def test_no_link_window_locks_streams_that_compete(link: int, delayed: bool) -> None:
    pair = Pair(agent=Settings(initial_link_window=link))
    for _ in range(3):
        stream = pair.exchange()[0]
        pair.server.send_data(stream, b"x" * 1_500_000, end=True)
    while pair.carry("server") or pair.carry("agent"):
        pair.now += 1.0 if delayed and pair.now < 60 else 0.0
    assert [stream.sending for stream in pair.server.streams()] == [DONE] * 3


# ---------------------------------------------------------------------- checked bodies


def test_a_checked_body_arrives_behind_its_checksum() -> None:
    pair = Pair()
    _, theirs = pair.exchange(checked=True)
    pair.agent.send_data(theirs, b"hello")
    pair.run()
    assert pair.events("server") == [("data", 1, b"hello")]
    pair.agent.send_end(theirs, [b"Trailer", b"x"])
    pair.run()
    assert pair.events("server") == [("end", 1, [b"Trailer", b"x"])]


def test_a_chunk_ends_when_the_source_pauses() -> None:
    server, (stream,) = sending(checked=True)
    server.send_data(stream, b"event")
    assert message_of(server) == data(1, b"event") + frame(FrameType.CHECKSUM, 0, 1, checksum(0, b"event"))


def test_a_chunk_ends_at_its_size() -> None:
    server, (stream,) = sending(checked=True)
    server.send_data(stream, b"x" * 1_200_000, end=True)
    frames = frames_of(server)
    size = server.settings.chunk_size
    sums = [payload for kind, _, _, payload in frames if kind == FrameType.CHECKSUM]
    assert sums == [checksum(0, b"x" * size), checksum(1, b"x" * size), checksum(2, b"x" * (1_200_000 - 2 * size))]
    assert frames[-1] == (FrameType.END, 0, 1, b"")
    assert {flags for _, flags, _, _ in frames} == {0}


@pytest.mark.parametrize("where", [Setting.INITIAL_STREAM_WINDOW, Setting.INITIAL_LINK_WINDOW])
def test_a_chunk_ends_when_the_credit_runs_out(where: Setting) -> None:
    server, (stream,) = sending({**PLENTY, where: 5}, checked=True)
    server.send_data(stream, b"hello, world")
    assert message_of(server) == data(1, b"hello") + frame(FrameType.CHECKSUM, 0, 1, checksum(0, b"hello"))


def test_a_chunk_is_at_most_half_the_window() -> None:
    server, (stream,) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 20_000}, checked=True)
    server.send_data(stream, b"x" * 20_000)
    assert [len(payload) for kind, _, _, payload in frames_of(server) if kind == FrameType.DATA] == [10_000, 10_000]


def test_a_tiny_window_does_not_make_tiny_chunks() -> None:
    server, (stream,) = sending({**PLENTY, Setting.INITIAL_STREAM_WINDOW: 2}, checked=True)
    hear(server, window(1, 1_000_000))
    server.send_data(stream, b"x" * 100_000)
    assert kinds(frames_of(server)).count(FrameType.CHECKSUM) == -(-100_000 // MIN_CHUNK_BYTES)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("link", [1, 5, 1_048_576])
def test_a_window_smaller_than_a_chunk_does_not_lock(size: int, link: int) -> None:
    tiny = Settings(initial_stream_window=size, initial_link_window=link, max_stream_window=size)
    pair = Pair(server=tiny)
    _, theirs = pair.exchange(checked=True)
    body = bytes(range(250))
    pair.agent.send_data(theirs, body)
    pair.agent.send_end(theirs, [])
    pair.run()
    heard = pair.events("server")
    assert b"".join(bytes(event[2]) for event in heard if event[0] == "data") == body  # type: ignore[call-overload]
    assert heard[-1] == ("end", 1, [])


def test_a_flipped_byte_resets_the_stream_and_passes_nothing_on() -> None:
    pair = Pair()
    mine, theirs = pair.exchange(checked=True)
    pair.agent.send_data(theirs, b"good")
    pair.run()
    pair.agent.send_data(theirs, b"better")
    message = bytearray(message_of(pair.agent))
    message[HEADER_BYTES] ^= 1
    pair.deliver(pair.server, "server", bytes(message))
    reason = "chunk 1 (after 4 bytes) does not match its SHA-256"
    assert pair.events("server") == [("data", 1, b"good"), ("reset", 1, ResetCode.CHECKSUM_MISMATCH, reason)]
    pair.run()
    assert pair.events("agent") == [("reset", 1, ResetCode.CHECKSUM_MISMATCH, reason)]
    assert mine.receiving == theirs.sending == RESET
    assert pair.server.open_streams == pair.agent.open_streams == 0


def test_a_checked_head_without_a_body_is_only_a_head() -> None:
    agent = lone()
    assert hear(agent, headers(1, REQUEST, Flag.CHECKED | Flag.END)) == [("headers", 1, REQUEST, "opened", "end")]


def test_an_end_closes_a_checked_body_whose_chunks_are_verified() -> None:
    agent, _ = answering(checked=True)
    hear(agent, data(1, b"x"), data(1, b""), frame(FrameType.CHECKSUM, 0, 1, checksum(0, b"x")))
    assert hear(agent, end(1)) == [("end", 1, [])]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([data(1, b"x", Flag.END)], "DATA ends a checked body"),
        ([data(1, b"x"), end(1)], "END before the last CHECKSUM"),
        ([frame(FrameType.CHECKSUM, 0, 1, checksum(0, b""))], "came where chunk 0 was due"),
        ([data(1, b"x"), frame(FrameType.CHECKSUM, 0, 1, checksum(1, b"x"))], "came where chunk 0 was due"),
    ],
)
def test_a_checked_body_keeps_its_rules(frames: list[bytes], reason: str) -> None:
    agent, _ = answering(checked=True)
    fails(agent, *frames, match=reason)


def test_a_checksum_belongs_to_a_checked_body() -> None:
    agent, _ = answering()
    fails(agent, data(1, b"x"), frame(FrameType.CHECKSUM, 0, 1, checksum(0, b"x")), match="CHECKSUM in an unchecked")


# ---------------------------------------------------------------------- resets


def test_a_reset_ends_both_directions() -> None:
    pair = Pair()
    mine, _ = pair.exchange()
    pair.server.reset_stream(mine, ResetCode.CANCELLED, "the visitor left")
    pair.run()
    assert pair.events("agent") == [("reset", 1, ResetCode.CANCELLED, "the visitor left")]
    assert pair.server.open_streams == pair.agent.open_streams == 0


def test_a_reset_drops_what_was_queued_even_while_the_link_is_blocked() -> None:
    server, (stream, other) = sending({**PLENTY, Setting.INITIAL_LINK_WINDOW: 0}, count=2)
    server.send_data(stream, b"never", end=True)
    server.send_data(other, b"later")
    server.reset_stream(stream, ResetCode.TOO_LARGE, "why")
    assert frames_of(server) == list(split_frames(reset(1, ResetCode.TOO_LARGE, b"why")))
    hear(server, window(0, 100))
    assert bodies(frames_of(server)) == b"later"


def test_a_second_reset_says_nothing() -> None:
    server, (stream,) = sending()
    server.reset_stream(stream, ResetCode.STOPPED)
    server.reset_stream(stream, ResetCode.INTERNAL)
    assert frames_of(server) == list(split_frames(reset(1, ResetCode.STOPPED)))


def test_the_peer_never_hears_of_a_stream_whose_head_was_not_sent() -> None:
    pair = Pair()
    pair.server.reset_stream(pair.server.open_stream(pair.now), ResetCode.CANCELLED)
    assert not pair.server.has_output
    assert pair.server.open_streams == 0
    mine, theirs = pair.exchange()
    assert mine.id == theirs.id == 3


def test_the_peer_hears_of_a_stream_that_is_reset_before_it_is_answered() -> None:
    agent, stream = answering()
    agent.reset_stream(stream, ResetCode.UPSTREAM_UNREACHABLE, "refused")
    assert frames_of(agent) == list(split_frames(reset(1, ResetCode.UPSTREAM_UNREACHABLE, b"refused")))


def test_frames_that_crossed_with_a_reset_are_ignored_but_their_data_is_counted() -> None:
    agent, stream = answering(Settings(initial_link_window=20))
    agent.reset_stream(stream, ResetCode.UPSTREAM_BROKEN)
    frames_of(agent)
    late = [
        data(1, b"x" * 10),
        frame(FrameType.CHECKSUM, 0, 1, b"?"),
        window(1, 5),
        end(1),
        reset(1, 1),
        headers(1, []),
    ]
    assert hear(agent, *late) == []
    assert frames_of(agent) == list(split_frames(window(0, 10)))
    fails(agent, data(1, b"x" * 21), code=GoAwayCode.FLOW_CONTROL_ERROR, match="the link has no credit")


def test_frames_that_crossed_are_ignored_by_the_opener_too() -> None:
    server, (stream,) = sending()
    server.reset_stream(stream, ResetCode.CANCELLED)
    assert hear(server, headers(1, RESPONSE), data(1, b"x"), end(1)) == []


def test_an_unknown_code_is_a_fault_of_the_peer() -> None:
    agent, _ = answering()
    assert hear(agent, reset(1, 4_000, b"new")) == [("reset", 1, ResetCode.INTERNAL, "new")]


def test_a_reset_needs_a_code() -> None:
    agent, _ = answering()
    fails(agent, frame(FrameType.RESET, 0, 1, b"\0\0\0"), match="a RESET frame without a code")


# ---------------------------------------------------------------------- draining


def test_after_its_goaway_an_agent_refuses_what_crossed_and_ends_what_it_has() -> None:
    pair = Pair()
    mine, theirs = pair.exchange()
    crossing = pair.server.open_stream(pair.now)
    pair.server.send_headers(crossing, REQUEST)
    pair.agent.go_away(GoAwayCode.DRAINING, "restart")
    pair.run()
    assert pair.events("server") == [
        ("goaway", GoAwayCode.DRAINING, "restart"),
        ("reset", 3, ResetCode.REFUSED, "restart"),
    ]
    assert pair.events("agent") == []
    assert not pair.server.can_open
    pair.server.send_data(mine, b"x", end=True)
    pair.agent.send_data(theirs, b"y", end=True)
    pair.run()
    assert pair.events("agent") == [("data", 1, b"x", "end")]
    assert pair.server.open_streams == pair.agent.open_streams == 0


def test_after_its_goaway_a_server_opens_nothing_and_answers_still_arrive() -> None:
    pair = Pair()
    _, theirs = pair.exchange()
    pair.server.go_away(GoAwayCode.REPLACED, "a newer link")
    pair.agent.send_data(theirs, b"answer", end=True)
    pair.run()
    assert not pair.server.can_open
    assert pair.events("agent") == [("goaway", GoAwayCode.REPLACED, "a newer link")]
    assert pair.events("server") == [("data", 1, b"answer", "end")]
    assert pair.agent.goaway_received


def test_a_goaway_keeps_the_streams_it_names() -> None:
    server, _ = sending(count=3)
    goaway = frame(FrameType.GOAWAY, 0, 0, GOAWAY.pack(3, 99) + b"bye")
    assert hear(server, goaway) == [
        ("goaway", GoAwayCode.PROTOCOL_ERROR, "bye"),
        ("reset", 5, ResetCode.REFUSED, "bye"),
    ]
    assert [stream.id for stream in server.streams()] == [1, 3]


def test_a_goaway_of_the_opener_ends_no_stream_of_its_own() -> None:
    agent, _ = answering()
    hear(agent, frame(FrameType.GOAWAY, 0, 0, GOAWAY.pack(0, 0)))
    assert agent.open_streams == 1


def test_a_goaway_that_is_cut_short_is_an_error() -> None:
    fails(lone(), frame(FrameType.GOAWAY, 0, 0, b"\0" * 7), match="a GOAWAY frame that is cut short")


# ---------------------------------------------------------------------- liveness


def test_the_round_trip_is_the_shortest_seen() -> None:
    pair = Pair(opened=False)
    opening = message_of(pair.server)
    pair.now = 0.25
    pair.deliver(pair.agent, "agent", opening)
    pair.carry("agent")
    assert pair.server.round_trip_s == 0.25
    for sent_at, answered_at in ((5.0, 6.0), (10.0, 10.125)):
        pair.now = sent_at
        pair.server.handle_timer(pair.now)
        pair.carry("server")
        pair.now = answered_at
        pair.carry("agent")
    assert pair.server.round_trip_s == 0.125


def test_a_pong_to_an_older_ping_says_nothing() -> None:
    server = lone(opener=True)
    server.handle_timer(5.0)
    hear(server, frame(FrameType.PONG, 0, 0, b"\0\0\0\0\0\0\0\1"), now=5.5)
    assert server.round_trip_s == 0.0


def test_an_instant_pong_is_still_a_round_trip() -> None:
    pair = Pair()
    assert pair.server.round_trip_s > 0.0


def test_a_ping_goes_out_every_five_seconds() -> None:
    server = lone(opener=True)
    assert server.next_deadline() == 5.0
    server.handle_timer(4.9)
    assert not server.has_output
    server.handle_timer(5.0)
    assert frames_of(server) == list(split_frames(ping(b"\0\0\0\0\0\0\0\2")))
    assert server.next_deadline() == 10.0


def test_silence_for_fifteen_seconds_ends_the_link() -> None:
    server = lone(opener=True)
    server.handle_timer(14.9)
    assert server.next_deadline() == 15.0
    with pytest.raises(LinkError, match="nothing heard for 15 s") as caught:
        server.handle_timer(15.0)
    assert caught.value.code is GoAwayCode.DEAD


def test_any_message_is_a_sign_of_life() -> None:
    server = lone(opener=True)
    hear(server, ping(), now=14.0)
    server.handle_timer(28.9)
    assert server.next_deadline() == 29.0


def test_what_is_due_by_the_deadline_is_due_by_the_timer() -> None:
    for tenths in range(1, 2_000):
        now = tenths / 10
        multiplexer = Multiplexer(True, Settings(), now)
        frames_of(multiplexer)
        deadline = multiplexer.next_deadline()
        multiplexer.handle_timer(deadline)
        assert multiplexer.next_deadline() > deadline
        with pytest.raises(LinkError):
            multiplexer.handle_timer(now + 15.0)


def test_a_ping_holds_eight_bytes() -> None:
    fails(lone(), ping(b"1234567"), match="a PING frame holds 8 bytes")


# ---------------------------------------------------------------------- broken peers


def test_a_message_of_any_allowed_size_is_taken() -> None:
    whole = frame(200, 0, 0, b"x" * (MAX_MESSAGE_BYTES - HEADER_BYTES))
    assert hear(lone(), whole) == []
    fails(lone(), whole + b"x", match="a message of 1048577 bytes")
    fails(lone(), match="a message of 0 bytes")


@pytest.mark.parametrize("kept", [1, 11, 12, 16])
def test_a_message_that_is_cut_short_is_an_error(kept: int) -> None:
    agent, _ = answering()
    fails(agent, data(1, b"hello")[:kept], match="a message ends inside a frame")


@pytest.mark.parametrize("kind", [0, 11, 255])
@pytest.mark.parametrize("stream_id", [0, 1, 99])
def test_an_unknown_type_is_skipped(kind: int, stream_id: int) -> None:
    agent, _ = answering()
    assert hear(agent, frame(kind, 255, stream_id, b"new"), data(1, b"x")) == [("data", 1, b"x")]


def test_unknown_flags_are_ignored() -> None:
    assert hear(lone(), headers(1, REQUEST, 0xF8)) == [("headers", 1, REQUEST, "opened")]


@pytest.mark.parametrize(
    "kind", [FrameType.HEADERS, FrameType.DATA, FrameType.CHECKSUM, FrameType.END, FrameType.RESET]
)
def test_frames_of_a_stream_need_one(kind: FrameType) -> None:
    fails(lone(), frame(kind, 0, 0, b"\0\0\0\0"), match=f"a frame of type {kind.value} needs a stream")


@pytest.mark.parametrize("kind", [FrameType.PING, FrameType.PONG, FrameType.SETTINGS, FrameType.GOAWAY])
def test_frames_of_the_link_have_no_stream(kind: FrameType) -> None:
    fails(lone(), frame(kind, 0, 1, b"\0" * 8), match=f"a frame of type {kind.value} belongs to the link")


@pytest.mark.parametrize("late", [data(1, b"x"), end(1), reset(1, 0), window(1, 1), headers(1, REQUEST, Flag.INTERIM)])
def test_a_stream_is_opened_by_its_head_alone(late: bytes) -> None:
    fails(lone(), late, match="stream 1 was never opened")


@pytest.mark.parametrize("frame_", [headers(3, RESPONSE), data(3, b"x"), window(3, 1)])
def test_a_peer_cannot_speak_of_streams_this_side_has_yet_to_open(frame_: bytes) -> None:
    server, _ = sending()
    fails(server, frame_, match="stream 3 was never opened")


def test_a_server_opens_odd_streams_only() -> None:
    fails(lone(), headers(2, REQUEST), match="stream 2 was never opened")


def test_an_agent_opens_no_streams() -> None:
    assert not lone().can_open
    fails(lone(opener=True), headers(2, REQUEST), match="an agent opens no streams")


@pytest.mark.parametrize(
    "frames",
    [
        [headers(1, REQUEST), headers(1, REQUEST)],
        [headers(1, REQUEST, Flag.END), data(1, b"x")],
        [headers(1, REQUEST), data(1, b"x", Flag.END), data(1, b"x")],
        [headers(1, REQUEST), end(1), end(1)],
        [headers(1, REQUEST, Flag.END), frame(FrameType.CHECKSUM, 0, 1, b"\0" * 36)],
        [headers(1, REQUEST), headers(1, REQUEST, Flag.INTERIM)],
    ],
    ids=["two heads", "data behind end", "data behind data end", "two ends", "checksum behind end", "interim request"],
)
def test_what_is_not_in_the_table_ends_the_link(frames: list[bytes]) -> None:
    fails(lone(), *frames, match="stream 1: a frame that is not allowed there")


@pytest.mark.parametrize("early", [data(1, b"x"), end(1), frame(FrameType.CHECKSUM, 0, 1, b"\0" * 36)])
def test_a_response_begins_with_its_head(early: bytes) -> None:
    server, _ = sending()
    fails(server, early, match="stream 1: a frame that is not allowed there")


@pytest.mark.parametrize("flag", [Flag.END, Flag.CHECKED])
def test_an_interim_head_has_no_other_flag(flag: Flag) -> None:
    server, _ = sending()
    fails(server, headers(1, RESPONSE, Flag.INTERIM | flag), match="an interim head with another flag")


def test_what_came_before_the_fault_is_still_delivered() -> None:
    pair = Pair()
    _, theirs = pair.exchange()
    pair.server.send_end(pair.server.streams()[0], [])
    pair.run()
    pair.agent.send_data(theirs, b"the whole answer", end=True)
    with pytest.raises(LinkError):
        pair.server.receive_message(message_of(pair.agent) + b"?", pair.now)
    assert [said(event) for event in pair.server.undelivered] == [("data", 1, b"the whole answer", "end")]
    assert pair.server.open_streams == 0


# ---------------------------------------------------------------------- budgets


def test_one_stream_too_many_is_refused_and_its_body_ignored() -> None:
    agent = lone(settings=Settings(max_streams=1))
    heard = hear(agent, headers(1, REQUEST), headers(3, REQUEST), data(3, b"x", Flag.END), data(1, b"y"))
    assert heard == [("headers", 1, REQUEST, "opened"), ("data", 1, b"y")]
    assert frames_of(agent) == list(split_frames(reset(3, ResetCode.REFUSED, b"more than 1 streams")))


def test_streams_opened_have_a_rate() -> None:
    agent = lone(settings=Settings(max_opens_per_s=2, max_streams=1))
    hear(agent, *(headers(stream_id, REQUEST) for stream_id in (1, 3, 5, 7)))
    fails(agent, headers(9, REQUEST), code=GoAwayCode.BUDGET_EXCEEDED, match="streams opened: more than 2 per second")


def test_streams_are_refused_while_their_opener_resets_too_many() -> None:
    agent = lone(settings=Settings(max_resets_per_s=2))
    for stream_id in (1, 3, 5, 7):
        assert len(hear(agent, headers(stream_id, REQUEST), reset(stream_id, ResetCode.CANCELLED))) == 2
    assert hear(agent, headers(9, REQUEST)) == []
    assert frames_of(agent) == list(split_frames(reset(9, ResetCode.REFUSED, b"resets: more than 2 per second")))
    assert hear(agent, headers(11, REQUEST), now=0.5) == [("headers", 11, REQUEST, "opened")]


def test_a_service_that_is_down_costs_its_agent_no_resets() -> None:
    pair = Pair(server=Settings(max_resets_per_s=1))
    for _ in range(50):
        _, theirs = pair.exchange()
        pair.agent.reset_stream(theirs, ResetCode.UPSTREAM_UNREACHABLE)
        pair.run()
    assert len(pair.events("server")) == 1
    assert pair.server.can_open


@pytest.mark.parametrize(
    "flood",
    [
        ping(),
        frame(FrameType.PONG, 0, 0, b""),
        window(0, 0),
        window(1, 0),
        frame(99, 0, 0, b""),
        data(1, b""),
        data(3, b""),
        end(3),
    ],
    ids=["PING", "PONG", "link WINDOW", "WINDOW", "unknown", "empty DATA", "late empty DATA", "late END"],
)
def test_control_frames_have_a_rate(flood: bytes) -> None:
    agent, _ = answering(Settings(max_control_per_s=5))
    hear(agent, headers(3, REQUEST), reset(3, 0))
    hear(agent, *[flood] * 9)
    fails(agent, flood, code=GoAwayCode.BUDGET_EXCEEDED, match="control frames: more than 5 per second")


def test_interim_heads_are_control_frames() -> None:
    server = lone(opener=True, settings=Settings(max_control_per_s=5))
    server.send_headers(server.open_stream(0.0), REQUEST)
    hear(server, *[headers(1, [b"102", b""], Flag.INTERIM)] * 9)
    fails(
        server,
        headers(1, [b"102", b""], Flag.INTERIM),
        code=GoAwayCode.BUDGET_EXCEEDED,
        match="control frames: more than 5 per second",
    )


def test_small_data_has_a_rate() -> None:
    agent, _ = answering(Settings(max_small_data_per_s=2))
    full = data(1, b"x" * SMALL_DATA_BYTES)
    hear(agent, *[full] * 20, *[data(1, b"x" * (SMALL_DATA_BYTES - 1))] * 4)
    fails(agent, data(1, b"x"), code=GoAwayCode.BUDGET_EXCEEDED, match="small frames: more than 2 per second")


@pytest.mark.parametrize(
    ("items", "reason"),
    [([b"x" * 101], "block size"), ([b""] * 11, "block items: 11 where 10 are allowed")],
)
def test_blocks_have_a_size(items: list[bytes], reason: str) -> None:
    small = Settings(max_block_bytes=100, max_block_items=10)
    code = GoAwayCode.BUDGET_EXCEEDED
    fails(lone(settings=small), headers(1, items), code=code, match=reason)
    agent, _ = answering(small)
    (_, _, _, block) = next(split_frames(headers(1, items)))
    fails(agent, end(1, block), code=code, match=reason)


def test_a_peer_that_does_not_read_the_answers_is_cut_off_and_told() -> None:
    agent = lone(settings=Settings(max_control_per_s=1e9))
    flood = ping() * (MAX_MESSAGE_BYTES // 20)
    for _ in range(MAX_CONTROL_BYTES // len(flood)):
        hear(agent, flood)
    fails(agent, flood, code=GoAwayCode.BUDGET_EXCEEDED, match="the peer does not read the answers")
    agent.go_away(GoAwayCode.BUDGET_EXCEEDED, "over")
    assert frames_of(agent)[-1][0] == FrameType.GOAWAY


def test_visitors_who_come_and_go_while_the_link_is_stalled_leave_nothing_behind() -> None:
    server = lone(opener=True)
    head = [b"GET", b"/", b"Cookie", b"x" * 8_000]
    while server.can_open:
        stream = server.open_stream(0.0)
        server.send_headers(stream, head)
        server.reset_stream(stream, ResetCode.CANCELLED)
    waiting = message_of(server)
    assert server.can_open
    while message := message_of(server):
        waiting += message
    assert CONTROL_HIGH_BYTES < len(waiting) < CONTROL_HIGH_BYTES + 10_000


def test_the_streams_of_a_link_are_reset_with_a_reason_of_bounded_length() -> None:
    server, (stream,) = sending()
    server.reset_stream(stream, ResetCode.INTERNAL, "x" * 5_000)
    ((_, _, _, payload),) = frames_of(server)
    assert payload == U32.pack(ResetCode.INTERNAL) + b"x" * 1_024


def test_an_event_names_the_very_stream_its_opener_is_to_use() -> None:
    agent = lone()
    (event,) = agent.receive_message(headers(1, REQUEST), 0.0)
    assert isinstance(event, HeadersReceived)
    event.stream.owner = "whoever"
    assert [stream.owner for stream in agent.streams()] == ["whoever"]
