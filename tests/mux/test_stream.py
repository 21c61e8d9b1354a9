"""A stream as its user sees it, driven through a joined pair of connections."""

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.protocol.errors import ResetCode
from terratunnel.protocol.outbox import PENDING_HIGH_BYTES
from terratunnel.protocol.settings import Settings
from terratunnel.testing.clock import settled
from terratunnel.testing.links import JoinedLinks, join_in_memory
from terratunnel.testing.streams import StreamRecorder

GET = [b"GET", b"/", b"Host", b"a"]
OK = [b"200", b"OK"]


async def pair(settings: Settings | None = None) -> JoinedLinks:
    return await join_in_memory(settings=settings).opened()


async def answered(links: JoinedLinks) -> StreamRecorder:
    """The agent's end of the stream that the server has just opened."""
    await links.agent_owner.until(lambda: bool(links.agent_owner.streams))
    return links.agent_owner.streams[-1]


async def test_an_exchange_travels_there_and_back() -> None:
    links = await pair()
    ours = links.open([b"POST", b"/hook", b"Host", b"a"], end=False)
    assert ours.stream is not None
    ours.stream.send_data(b"to")
    ours.stream.send_data(b" you")
    ours.stream.send_end([b"X-Sum", b"1"])
    theirs = await answered(links)
    await theirs.finish()
    assert theirs.heard == [
        ("headers", [b"POST", b"/hook", b"Host", b"a"]),
        ("data", b"to you"),
        ("end", [b"X-Sum", b"1"]),
    ]
    assert theirs.stream is not None
    theirs.stream.send_headers([b"103", b"Early Hints"], interim=True)
    theirs.stream.send_headers(OK)
    theirs.stream.send_data(b"and back", end=True)
    await ours.finish()
    assert ours.heard == [
        ("headers", [b"103", b"Early Hints"], "interim"),
        ("headers", OK),
        ("data", b"and back", "end"),
    ]
    await settled()
    assert links.server.open_streams == links.agent.open_streams == 0


class AfterMessage(StreamRecorder):
    """Asks at the head to be called back when its message is through; `faulty`: and fails then."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.faulty = faulty

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        super().headers_received(items, end, interim)
        assert self.stream is not None
        self.stream.after_message(self._through)

    def _through(self) -> None:
        self.note("through")
        if self.faulty:
            raise ValueError


async def test_a_handler_is_called_back_when_its_message_is_through_whatever_others_do() -> None:
    links = await pair()
    asking = [AfterMessage(faulty) for faulty in (True, False)]
    for handler in asking:
        handler.stream = links.server.open_stream(handler)
        handler.stream.send_headers(GET, end=True)
    await links.agent_owner.until(lambda: len(links.agent_owner.streams) == 2)
    for theirs in links.agent_owner.streams:
        assert theirs.stream is not None
        theirs.stream.send_headers(OK)
        theirs.stream.send_data(b"x", end=True)
    for handler in asking:
        await handler.finish()
    await settled()
    assert [handler.names() for handler in asking] == [["headers", "data", "through"]] * 2


async def test_what_is_said_after_the_end_is_not_sent() -> None:
    links = await pair()
    ours = links.open(GET)
    stream = ours.stream
    assert stream is not None
    assert not stream.can_send
    stream.send_headers(GET)
    stream.send_data(b"x")
    stream.send_end([])
    theirs = await answered(links)
    await settled()
    assert theirs.heard == [("headers", GET, "end")]


async def test_an_end_that_waits_for_credit_closes_the_direction() -> None:
    links = await pair(Settings(initial_stream_window=100))
    ours = links.open(GET, end=False)
    stream = ours.stream
    assert stream is not None
    stream.send_data(b"x" * 200)
    stream.send_end([])
    assert not stream.can_send
    assert not stream.sent
    theirs = await answered(links)
    await theirs.finish()
    assert stream.sent
    assert theirs.body == b"x" * 200


async def test_a_reset_silences_its_own_handler_and_tells_the_other() -> None:
    links = await pair()
    ours = links.open(GET, end=False)
    theirs = await answered(links)
    assert theirs.stream is not None
    assert ours.stream is not None
    theirs.stream.send_headers(OK)
    ours.stream.reset(ResetCode.CANCELLED, "the visitor left")
    ours.stream.send_data(b"never")
    ours.stream.reset(ResetCode.CANCELLED, "twice")
    await theirs.finish()
    await settled()
    assert theirs.heard[1:] == [("reset", ResetCode.CANCELLED, "the visitor left")]
    assert ours.heard == []
    assert not ours.stream.sent
    assert links.server.open_streams == links.agent.open_streams == 0


async def test_room_is_gone_above_the_mark_and_announced_when_it_is_back() -> None:
    links = await pair(Settings(initial_stream_window=1000))
    ours = links.open(GET, end=False)
    theirs = await answered(links)
    stream = ours.stream
    assert stream is not None
    theirs.hold = True
    stream.send_data(b"x" * PENDING_HIGH_BYTES)
    assert stream.has_room()
    stream.send_data(b"y" * 1001)
    assert not stream.has_room()
    await settled()
    assert ours.heard == []
    assert len(theirs.body) == 1000
    theirs.release()
    await ours.until_heard("room")
    assert stream.has_room()


async def test_credit_given_back_for_a_finished_stream_is_not_sent() -> None:
    links = await pair()
    ours = links.open(GET, end=False)
    theirs = await answered(links)
    theirs.hold = True
    assert ours.stream is not None
    ours.stream.send_data(b"x" * 200_000, end=True)
    await theirs.finish()
    await settled()
    theirs.release()
    assert not links.agent.multiplexer.has_output


async def test_a_body_before_its_head_is_our_own_bug() -> None:
    links = await pair()
    stream = links.server.open_stream(StreamRecorder())
    with pytest.raises(LocalProtocolError):
        stream.send_data(b"x")


async def test_a_stream_says_how_it_stands() -> None:
    links = await pair()
    ours = links.open(GET)
    assert ours.stream is not None
    assert ours.stream.id == 1
    assert repr(ours.stream) == "<Stream 1 sending=DONE receiving=HEAD pending=0 credit=262144>"
