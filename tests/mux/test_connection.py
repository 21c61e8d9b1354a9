"""A mux connection at both ends of a link: opening, liveness, draining, loss, and faults of those it serves."""

import logging
from collections.abc import Awaitable, Callable

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.mux.connection import CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR, MuxConnection
from terratunnel.mux.stream import Stream
from terratunnel.protocol.errors import GoAwayCode, ResetCode
from terratunnel.protocol.frames import SETTING, Flag, FrameType, frame
from terratunnel.protocol.headers import encode_block
from terratunnel.protocol.multiplexer import CONTROL_HIGH_BYTES, MAX_STREAM_ID
from terratunnel.protocol.outbox import PENDING_HIGH_BYTES
from terratunnel.protocol.settings import Settings
from terratunnel.testing.clock import Clock, clocked, settled, turns
from terratunnel.testing.links import JoinedLinks, join_in_memory, join_over_sockets
from terratunnel.testing.streams import OwnerRecorder, StreamRecorder

GET = [b"GET", b"/", b"Host", b"a"]
OK = [b"200", b"OK"]
MIB = 1_048_576
SETTINGS = frame(FrameType.SETTINGS, 0, 0, b"")


def head(stream_id: int, items: list[bytes], end: bool = False) -> bytes:
    return frame(FrameType.HEADERS, Flag.END if end else 0, stream_id, encode_block(items))


class LinkRecorder:
    """A link that keeps what is sent; nothing comes back but what the test hands in."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: list[tuple[int, str]] = []

    def send_message(self, parts: list[bytes | memoryview]) -> None:
        self.sent.append(b"".join(parts))

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def abort(self) -> None:
        self.closed.append((1006, "abort"))


class Failing(StreamRecorder):
    """A handler with a fault in the call that is named."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault = fault

    def note(self, *what: object) -> None:
        super().note(*what)
        if what[0] == self._fault:
            raise RuntimeError(f"a fault in {self._fault}")


class FailingOwner(OwnerRecorder):
    """An owner with a fault in the call that is named."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def note(self, *what: object) -> None:
        super().note(*what)
        if what[0] == self.fault:
            raise RuntimeError(f"a fault in {self.fault}")


def alone(
    opener: bool = True, settings: Settings | None = None, owner: OwnerRecorder | None = None
) -> tuple[MuxConnection, LinkRecorder, OwnerRecorder]:
    """One connection whose peer is the test."""
    link, owner = LinkRecorder(), owner or OwnerRecorder()
    return MuxConnection(link, owner, opener, settings or Settings()), link, owner


async def theirs(links: JoinedLinks, number: int = -1) -> StreamRecorder:
    """The agent's end of a stream of the server."""
    wanted = links.agent_owner.streams
    await links.agent_owner.until(lambda: len(wanted) > max(number, 0))
    return wanted[number]


Join = Callable[[], Awaitable[JoinedLinks]]


async def in_memory() -> JoinedLinks:
    return await join_in_memory().opened()


async def over_sockets() -> JoinedLinks:
    return await (await join_over_sockets()).opened()


both = pytest.mark.parametrize("join", [in_memory, over_sockets])


# ---------------------------------------------------------------------- traffic


@both
async def test_a_megabyte_goes_up_and_down_at_once(join: Join) -> None:
    links = await join()
    ours = links.open(GET, end=False, checked=True)
    far = await theirs(links)
    assert ours.stream is not None
    assert far.stream is not None
    far.stream.send_headers(OK, checked=False)
    ours.stream.send_data(b"u" * MIB, end=False)
    ours.stream.send_end([])
    far.stream.send_data(b"d" * MIB, end=True)
    await far.finish()
    await ours.finish()
    assert far.body == b"u" * MIB
    assert ours.body == b"d" * MIB
    await settled()
    assert links.server.open_streams == links.agent.open_streams == 0
    links.server.close_now(GoAwayCode.NORMAL, "")


@both
async def test_a_round_trip_is_measured_at_the_opening(join: Join) -> None:
    links = await join()
    await settled()
    assert links.server.round_trip_s > 0
    assert links.agent.round_trip_s > 0
    links.server.close_now(GoAwayCode.NORMAL, "")


async def test_a_slow_reader_stalls_its_own_stream_only() -> None:
    links = await join_in_memory(settings=Settings(initial_stream_window=1000)).opened()
    slow, fast = links.open(GET, end=False), links.open(GET, end=False)
    far_slow, far_fast = await theirs(links, 0), await theirs(links, 1)
    far_slow.hold = True
    assert slow.stream is not None
    assert fast.stream is not None
    slow.stream.send_data(b"s" * 5000, end=True)
    fast.stream.send_data(b"f" * 5000, end=True)
    await far_fast.finish()
    await settled()
    assert len(far_slow.body) == 1000
    far_slow.release()
    await far_slow.finish()
    assert far_slow.body == b"s" * 5000


async def test_messages_wait_while_the_link_is_full() -> None:
    connection, link, _ = alone()
    connection.message_received(SETTINGS)
    stream = connection.open_stream(StreamRecorder())
    connection.pause_sending()
    stream.send_headers(GET)
    stream.send_data(b"x" * 1000)
    await turns(2)
    assert link.sent == []
    connection.resume_sending()
    await turns()
    assert link.sent[-1].endswith(b"x" * 1000)


async def test_a_link_that_fills_up_midway_is_waited_for() -> None:
    links = await over_sockets()
    ours = links.open(GET, end=False)
    far = await theirs(links)
    assert ours.stream is not None
    for _ in range(40):
        ours.stream.send_data(b"x" * 100_000)
    ours.stream.send_end([])
    await far.finish()
    assert len(far.body) == 4_000_000
    links.server.close_now(GoAwayCode.NORMAL, "")


# ---------------------------------------------------------------------- how many streams


async def test_no_stream_is_opened_before_the_peers_settings() -> None:
    connection, _, owner = alone()
    assert not connection.can_open
    with pytest.raises(LocalProtocolError):
        connection.open_stream(StreamRecorder())
    connection.message_received(SETTINGS)
    assert owner.names() == ["opened", "capacity"]
    assert connection.can_open


async def test_capacity_comes_back_when_the_peer_ends_a_stream() -> None:
    links = await join_in_memory(settings=Settings(max_streams=1)).opened()
    ours = links.open(GET)
    assert not links.server.can_open
    far = await theirs(links)
    assert far.stream is not None
    far.stream.send_headers(OK, end=True)
    await ours.finish()
    await links.server_owner.until_heard("capacity")
    assert links.server.can_open


async def test_capacity_comes_back_when_this_side_resets_a_stream() -> None:
    links = await join_in_memory(settings=Settings(max_streams=1)).opened()
    ours = links.open(GET)
    assert not links.server.can_open
    assert ours.stream is not None
    ours.stream.reset(ResetCode.CANCELLED)
    await turns()
    assert links.server_owner.names() == ["opened", "capacity"]


async def test_capacity_comes_back_when_the_last_byte_of_a_stream_has_left() -> None:
    links = await join_in_memory(settings=Settings(max_streams=1)).opened()
    ours = links.open(GET, end=False)
    far = await theirs(links)
    assert ours.stream is not None
    assert far.stream is not None
    far.stream.send_headers(OK, end=True)
    await ours.finish()
    assert not links.server.can_open
    ours.stream.send_data(b"x", end=True)
    await turns()
    assert links.server_owner.names() == ["opened", "capacity"]


async def test_capacity_comes_back_when_heads_that_waited_have_left() -> None:
    connection, _, owner = alone()
    connection.message_received(SETTINGS)
    connection.pause_sending()
    large = [*GET, b"X", b"x" * 60_000]
    for _ in range(CONTROL_HIGH_BYTES // 60_000 + 1):
        connection.open_stream(StreamRecorder()).send_headers(large)
    assert not connection.can_open
    connection.resume_sending()
    await turns()
    assert owner.names() == ["opened", "capacity"]


async def test_capacity_is_told_once_for_each_time_it_was_asked_for() -> None:
    links = await join_in_memory(settings=Settings(max_streams=1)).opened()
    ours = links.open(GET)
    assert ours.stream is not None
    ours.stream.reset(ResetCode.CANCELLED)
    await settled()
    assert links.server_owner.names() == ["opened"]


# ---------------------------------------------------------------------- liveness


@clocked
async def test_a_quiet_link_lives_on_pings(clock: Clock) -> None:
    links = await join_in_memory(clock=clock).opened()
    await clock.advance(120)
    assert not links.server.closed
    assert not links.agent.closed
    assert links.server_owner.names() == ["opened"]
    links.server.close_now(GoAwayCode.NORMAL, "")


@clocked
async def test_a_silent_peer_is_dead_after_fifteen_seconds(clock: Clock) -> None:
    link, owner = LinkRecorder(), OwnerRecorder()
    connection = MuxConnection(link, owner, True, Settings(), clock)
    connection.message_received(SETTINGS)
    recorder = StreamRecorder()
    connection.open_stream(recorder).send_headers(GET)
    await clock.advance(14.9)
    assert not connection.closed
    await clock.advance(0.2)
    assert owner.heard[-1] == ("closed", GoAwayCode.DEAD, "nothing heard for 15 s")
    assert recorder.heard == [
        ("reset", ResetCode.UPSTREAM_UNREACHABLE, "the link was lost: nothing heard for 15 s"),
    ]
    assert link.closed == [(CLOSE_NORMAL, "nothing heard for 15 s")]
    assert FrameType.GOAWAY in [message[8] for message in link.sent]


@clocked
async def test_a_half_open_link_that_takes_no_bytes_is_found_as_well(clock: Clock) -> None:
    link, owner = LinkRecorder(), OwnerRecorder()
    connection = MuxConnection(link, owner, False, Settings(), clock)
    connection.message_received(SETTINGS)
    connection.pause_sending()
    await clock.advance(15.1)
    assert owner.names() == ["opened", "closed"]
    assert link.sent == []


@clocked
async def test_a_closed_connection_has_no_timer(clock: Clock) -> None:
    links = await join_in_memory(clock=clock).opened()
    links.server.close_now(GoAwayCode.NORMAL, "")
    await clock.advance(60)
    assert links.server_owner.names() == ["opened", "closed"]
    assert links.agent_owner.names() == ["opened", "goaway", "closed"]


# ---------------------------------------------------------------------- the end, in good order


@both
async def test_close_lets_streams_end_and_then_the_link(join: Join) -> None:
    links = await join()
    ours = links.open(GET)
    far = await theirs(links)
    links.server.close(GoAwayCode.DRAINING, "the server restarts")
    links.server.close(GoAwayCode.NORMAL, "once is enough")
    await links.agent_owner.until_heard("goaway")
    assert not links.server.can_open
    assert far.stream is not None
    far.stream.send_headers(OK)
    far.stream.send_data(b"late but whole", end=True)
    await ours.finish()
    assert ours.body == b"late but whole"
    await links.agent_owner.until_heard("closed")
    await links.server_owner.until_heard("closed")
    assert links.server_owner.heard[-1] == ("closed", GoAwayCode.DRAINING, "the server restarts")
    assert links.agent_owner.heard[-2:] == [
        ("goaway", GoAwayCode.DRAINING, "the server restarts"),
        ("closed", GoAwayCode.DRAINING, "the server restarts"),
    ]


@both
async def test_an_idle_link_closes_at_once(join: Join) -> None:
    links = await join()
    links.agent.close(GoAwayCode.NORMAL, "the client stops")
    await links.server_owner.until_heard("closed")
    await links.agent_owner.until_heard("closed")
    assert links.agent.closed
    assert links.server_owner.heard[-1] == ("closed", GoAwayCode.NORMAL, "the client stops")


async def test_a_draining_link_closes_when_its_last_stream_is_reset() -> None:
    links = await in_memory()
    ours = links.open(GET)
    links.server.close(GoAwayCode.DRAINING, "")
    await settled()
    assert not links.server.closed
    assert ours.stream is not None
    ours.stream.reset(ResetCode.CANCELLED)
    await links.server_owner.until_heard("closed")


async def test_a_draining_link_waits_for_its_last_bytes() -> None:
    connection, link, _ = alone()
    connection.message_received(SETTINGS)
    connection.pause_sending()
    connection.close(GoAwayCode.DRAINING, "restart")
    await turns(2)
    assert link.closed == []
    connection.resume_sending()
    await turns()
    assert link.closed == [(CLOSE_NORMAL, "restart")]


async def test_a_link_that_has_used_up_its_identifiers_drains_so_that_the_peer_opens_another() -> None:
    links = await join_in_memory().opened()
    links.server.multiplexer.next_id = MAX_STREAM_ID - 1
    last = links.open([b"GET", b"/last"])
    note = await links.agent_owner.until_heard("goaway")
    assert note[1] is GoAwayCode.DRAINING
    agent = await theirs(links)
    assert agent.stream is not None
    agent.stream.send_headers([b"204", b""], end=True)
    await last.until_heard("headers")
    await links.server_owner.until_heard("closed")
    await links.agent_owner.until_heard("closed")


async def test_the_first_goaway_is_the_reason_that_counts() -> None:
    links = await in_memory()
    links.open(GET)
    links.server.close(GoAwayCode.REPLACED, "a newer client took over")
    await links.agent_owner.until_heard("goaway")
    links.server.close_now(GoAwayCode.DRAINING, "time is up")
    await links.agent_owner.until_heard("closed")
    assert links.agent_owner.heard[-1] == ("closed", GoAwayCode.REPLACED, "a newer client took over")
    assert [note[0] for note in links.agent_owner.heard].count("goaway") == 1


# ---------------------------------------------------------------------- the end, at once


@both
async def test_close_now_ends_every_stream_at_both_ends_with_the_reason(join: Join) -> None:
    links = await join()
    ours, other = links.open(GET, end=False), links.open(GET)
    far = await theirs(links, 1)
    links.server.close_now(GoAwayCode.REVOKED, "the key was revoked")
    links.server.close_now(GoAwayCode.NORMAL, "twice")
    assert links.server.closed
    reset = ("reset", ResetCode.UPSTREAM_UNREACHABLE, "the link was lost: the key was revoked")
    assert ours.heard == other.heard == [reset]
    assert links.server_owner.heard[-1] == ("closed", GoAwayCode.REVOKED, "the key was revoked")
    assert await far.until_heard("reset") == reset
    await links.agent_owner.until_heard("closed")
    assert links.agent_owner.heard[-1] == ("closed", GoAwayCode.REVOKED, "the key was revoked")


async def test_a_lost_link_ends_every_stream_with_a_reason() -> None:
    links = await over_sockets()
    ours = links.open(GET)
    far = await theirs(links)
    links.server.link.abort()
    await ours.finish()
    await far.finish()
    assert ours.heard == [("reset", ResetCode.UPSTREAM_UNREACHABLE, "the link was lost: the connection was closed")]
    await links.server_owner.until_heard("closed")
    assert links.server_owner.heard[-1] == ("closed", None, "the connection was closed")


async def test_nothing_is_sent_received_or_opened_on_a_closed_connection() -> None:
    connection, link, owner = alone(opener=False)
    connection.message_received(SETTINGS + head(1, GET))
    connection.close_now(GoAwayCode.NORMAL, "")
    heard, sent = len(owner.heard), len(link.sent)
    recorder = owner.streams[0]
    assert recorder.stream is not None
    recorder.stream.send_headers(OK)
    recorder.stream.send_data(b"x")
    recorder.stream.reset(ResetCode.INTERNAL)
    connection.message_received(head(3, GET))
    connection.link_lost("again")
    connection.close(GoAwayCode.NORMAL, "again")
    connection.resume_sending()
    await turns(3)
    assert (len(owner.heard), len(link.sent)) == (heard, sent)
    assert not connection.can_open
    with pytest.raises(LocalProtocolError):
        connection.open_stream(StreamRecorder())
    assert recorder.names() == ["headers", "reset"]


async def test_a_stream_in_the_same_message_as_the_end_is_not_opened() -> None:
    connection, _, owner = alone(opener=False)
    closes = ClosesTheLink(connection)
    owner._opens = lambda stream: closes
    connection.message_received(SETTINGS + head(1, GET) + head(3, GET))
    assert owner.names() == ["opened", "stream", "closed"]


async def test_what_was_whole_when_the_link_broke_is_handed_on_whole() -> None:
    connection, link, owner = alone()
    connection.message_received(SETTINGS)
    whole, half = StreamRecorder(), StreamRecorder()
    for recorder in (whole, half):
        recorder.stream = connection.open_stream(recorder)
        recorder.stream.send_headers(GET, end=True)
    message = head(1, OK, end=True) + head(3, OK) + frame(FrameType.PING, 0, 7, b"")
    connection.message_received(message)
    assert whole.heard == [("headers", OK, "end")]
    assert half.names() == ["headers", "reset"]
    assert link.closed[0][0] == CLOSE_PROTOCOL_ERROR
    assert owner.heard[-1][:2] == ("closed", GoAwayCode.PROTOCOL_ERROR)


async def test_a_peer_that_makes_us_answer_and_does_not_read_is_cut_off() -> None:
    connection, link, owner = alone(settings=Settings(max_control_per_s=1e9))
    connection.message_received(SETTINGS)
    connection.pause_sending()
    ping = frame(FrameType.PING, 0, 0, b"12345678") * 40_000
    for _ in range(10):
        connection.message_received(ping)
    assert connection.closed
    assert owner.heard[-1][1] is GoAwayCode.BUDGET_EXCEEDED
    assert len(link.closed) == 1


# ---------------------------------------------------------------------- faults of those it serves


@pytest.mark.parametrize("fault", ["headers", "data", "end"])
async def test_a_handler_that_fails_ends_its_stream_alone(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    failing, other = Failing(fault), StreamRecorder()
    links = await join_in_memory(lambda stream: taken(failing if stream.id == 1 else other, stream)).opened()
    ours, fine = links.open(GET, end=False), links.open(GET, end=False)
    for recorder in (ours, fine):
        assert recorder.stream is not None
        recorder.stream.send_data(b"x")
        recorder.stream.send_end([b"a", b"b"])
    await ours.finish()
    await other.finish()
    assert ours.heard == [("reset", ResetCode.INTERNAL, "a fault in Terratunnel; see its log")]
    assert failing.names()[-2:] == [fault, "reset"]
    assert other.body == b"x"
    assert not links.agent.closed
    assert "a fault in " + fault in caplog.text


def taken(handler: StreamRecorder, stream: Stream) -> StreamRecorder:
    handler.stream = stream
    return handler


async def test_an_owner_that_names_no_handler_costs_one_stream() -> None:
    def refuse(stream: Stream) -> StreamRecorder:
        raise RuntimeError("no handler")

    links = await join_in_memory(refuse).opened()
    ours = links.open(GET)
    await ours.finish()
    assert ours.heard == [("reset", ResetCode.INTERNAL, "a fault in Terratunnel; see its log")]
    assert not links.agent.closed


async def test_a_fault_on_waking_one_source_leaves_no_other_asleep() -> None:
    links = await join_in_memory(settings=Settings(initial_stream_window=1000)).opened()
    sources = [Failing("room"), StreamRecorder()]
    for source in sources:
        source.stream = links.server.open_stream(source)
        source.stream.send_headers(GET)
        source.stream.send_data(b"x" * (PENDING_HIGH_BYTES + 1))
        assert not source.stream.has_room()
    await sources[0].until_heard("room")
    await sources[1].until_heard("room")
    assert sources[0].heard[-1] == ("reset", ResetCode.INTERNAL, "a fault in Terratunnel; see its log")
    assert "reset" not in sources[1].names()


async def test_a_source_reset_while_others_are_woken_is_left_alone() -> None:
    links = await join_in_memory(settings=Settings(initial_stream_window=1000)).opened()
    second = StreamRecorder()
    first = ResetsAnother(second)
    for source in (first, second):
        source.stream = links.server.open_stream(source)
        source.stream.send_headers(GET)
        source.stream.send_data(b"x" * (PENDING_HIGH_BYTES + 1))
        assert not source.stream.has_room()
    await first.until_heard("room")
    await settled()
    assert second.heard == []


class ResetsAnother(StreamRecorder):
    """Resets another stream when it is woken."""

    def __init__(self, other: StreamRecorder) -> None:
        super().__init__()
        self._other = other

    def room_available(self) -> None:
        super().room_available()
        assert self._other.stream is not None
        self._other.stream.reset(ResetCode.CANCELLED)


async def test_a_fault_on_a_lost_link_leaves_no_stream_and_no_owner_in_the_dark() -> None:
    connection, _, owner = alone()
    connection.message_received(SETTINGS)
    failing, other = Failing("reset"), StreamRecorder()
    for recorder in (failing, other):
        connection.open_stream(recorder).send_headers(GET)
    connection.link_lost("gone")
    assert other.names() == ["reset"]
    assert owner.names() == ["opened", "closed"]


@pytest.mark.parametrize("fault", ["opened", "goaway", "capacity", "closed"])
async def test_an_owner_that_fails_does_not_break_the_link(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    owner = FailingOwner(fault)
    connection, _, _ = alone(owner=owner)
    assert not connection.can_open
    connection.message_received(SETTINGS)
    recorder = StreamRecorder()
    connection.open_stream(recorder).send_headers(GET, end=True)
    goaway = frame(FrameType.GOAWAY, 0, 0, b"\0\0\0\1" + b"\0\0\0\0" + b"bye")
    connection.message_received(head(1, OK, end=True) + goaway)
    connection.link_lost("gone")
    assert recorder.ended
    assert owner.names() == ["opened", "capacity", "goaway", "closed"]
    assert "a fault in " + fault in caplog.text


class ClosesTheLink(StreamRecorder):
    """Closes the connection in the middle of a message."""

    def __init__(self, connection: MuxConnection) -> None:
        super().__init__()
        self._connection = connection

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        super().headers_received(items, end, interim)
        self._connection.close_now(GoAwayCode.NORMAL, "enough")


class ResetsItself(StreamRecorder):
    """Resets its stream at the first data."""

    def data_received(self, data: bytes | memoryview, end: bool) -> None:
        super().data_received(data, end)
        assert self.stream is not None
        self.stream.reset(ResetCode.STOPPED)


async def test_a_handler_that_resets_in_the_middle_of_a_message_hears_no_more() -> None:
    connection, _, owner = alone(opener=False)
    owner._opens = lambda stream: taken(resets, stream)
    resets = ResetsItself()
    data = frame(FrameType.DATA, 0, 1, b"x")
    connection.message_received(SETTINGS + head(1, GET) + data + data + frame(FrameType.END, 0, 1, b""))
    await turns()
    assert resets.names() == ["headers", "data"]
    assert connection.open_streams == 0


class ResetsAtAHint(StreamRecorder):
    """Resets its stream at an interim head."""

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        super().headers_received(items, end, interim)
        assert self.stream is not None
        self.stream.reset(ResetCode.CANCELLED)


async def test_a_handler_that_resets_at_an_interim_head_hears_no_final_one() -> None:
    connection, _, _ = alone()
    connection.message_received(SETTINGS)
    resets = ResetsAtAHint()
    resets.stream = connection.open_stream(resets)
    resets.stream.send_headers(GET)
    hint = frame(FrameType.HEADERS, Flag.INTERIM, 1, encode_block([b"103", b"Early Hints"]))
    connection.message_received(hint + head(1, OK) + frame(FrameType.END, 0, 1, b""))
    assert resets.names() == ["headers"]


async def test_a_reset_by_the_peer_in_the_same_message_is_heard_after_the_opening() -> None:
    connection, _, owner = alone(opener=False)
    reset = frame(FrameType.RESET, 0, 1, b"\0\0\0\1left")
    connection.message_received(SETTINGS + head(1, GET) + reset)
    assert owner.streams[0].heard == [("headers", GET), ("reset", ResetCode.CANCELLED, "left")]


async def test_a_wrong_checksum_is_logged_with_its_chunk_and_escaped(caplog: pytest.LogCaptureFixture) -> None:
    connection, _, _ = alone()
    connection.message_received(SETTINGS)
    recorder = StreamRecorder()
    connection.open_stream(recorder).send_headers(GET)
    with caplog.at_level(logging.WARNING):
        connection.message_received(frame(FrameType.RESET, 0, 1, b"\0\0\0\5chunk 3\n\x1b[31m"))
    assert recorder.heard[-1] == ("reset", ResetCode.CHECKSUM_MISMATCH, "chunk 3\n\x1b[31m")
    assert r"checksum_mismatch reason=chunk 3\x0a\x1b[31m" in caplog.text


async def test_the_debug_log_shows_how_far_a_checked_body_has_come(caplog: pytest.LogCaptureFixture) -> None:
    links = await join_in_memory(settings=Settings(chunk_size=1000)).opened()
    ours = links.open(GET, end=False, checked=True)
    assert ours.stream is not None
    with caplog.at_level(logging.DEBUG, "terratunnel.mux.connection"):
        ours.stream.send_data(b"x" * 2500)
        ours.stream.send_end([])
        far = await theirs(links)
        await far.until(lambda: far.ended)
    assert "body_progress stream=1 chunks=3 bytes=2500" in caplog.text


async def test_a_goaway_refuses_the_streams_it_never_saw() -> None:
    connection, _, owner = alone()
    connection.message_received(SETTINGS)
    seen, unseen = StreamRecorder(), StreamRecorder()
    for recorder in (seen, unseen):
        connection.open_stream(recorder).send_headers(GET)
    connection.message_received(frame(FrameType.GOAWAY, 0, 0, b"\0\0\0\1" + b"\0\0\0\6" + b"restart"))
    assert unseen.heard == [("reset", ResetCode.REFUSED, "restart")]
    assert seen.heard == []
    assert owner.heard[-1] == ("goaway", GoAwayCode.DRAINING, "restart")


async def test_settings_are_announced_first() -> None:
    _, link, _ = alone(settings=Settings(max_streams=7))
    await turns()
    assert link.sent[0][8] == FrameType.SETTINGS
    assert SETTING.pack(3, 7) in link.sent[0]


async def test_a_connection_says_how_it_stands() -> None:
    connection, _, _ = alone()
    assert repr(connection).startswith("<MuxConnection <Multiplexer streams=0 ")
    assert repr(connection).endswith(" closed=False>")
