"""A visitor's end of a link in memory, a forwarder at the other, and a scripted service behind it on a real socket.

Used by the tests of this folder, as are the scripts and the recorder below. Rule: what is asserted is what the
visitor's end hears and what the service reads.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from terratunnel.forwarding.endpoint import parse_endpoint
from terratunnel.forwarding.exchange import Exchange
from terratunnel.forwarding.forwarder import STREAMING_THRESHOLD_BYTES, Forwarder
from terratunnel.forwarding.pool import UpstreamPool, UpstreamTimeouts
from terratunnel.forwarding.upstream import UpstreamConnection
from terratunnel.http1.parser import ResponseHead, Trailers
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.settings import Settings
from terratunnel.testing.clock import settled
from terratunnel.testing.links import JoinedLinks, join_in_memory
from terratunnel.testing.services import Caller, Script, ScriptedService
from terratunnel.testing.streams import Notes, StreamRecorder

HOST = [b"Host", b"app.test"]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KIB, MIB = 1_024, 1_048_576
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
END: tuple[object, ...] = ("end", [])
CUT_SHORT = "The local service closed the connection before its response was complete."


class Rig:
    """`async with Rig(script) as rig`: everything is up, and gone afterwards with nothing left over."""

    links: JoinedLinks
    forwarder: Forwarder
    pool: UpstreamPool

    def __init__(
        self,
        script: Script,
        clock: Callable[[], float] = time.monotonic,
        timeouts: UpstreamTimeouts | None = None,
        settings: Settings | None = None,
        threshold: int = STREAMING_THRESHOLD_BYTES,
        service: ScriptedService | None = None,
        url: str = "",
    ) -> None:
        self.service = service or ScriptedService(script)
        self.finished: list[Exchange] = []
        self._clock = clock
        self._timeouts = timeouts or UpstreamTimeouts()
        self._settings = settings or Settings()
        self._threshold = threshold
        self._url = url

    async def __aenter__(self) -> Self:
        await self.service.__aenter__()
        self.pool = UpstreamPool(parse_endpoint(self._url or self.service.url), self._clock, self._timeouts)
        self.forwarder = Forwarder(self.pool, self, self._threshold, self._clock)
        self.links = await join_in_memory(self.forwarder.stream_opened, self._settings, clock=self._clock).opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.links.server.close_now(GoAwayCode.NORMAL, "the test is over")
        self.forwarder.close()
        await settled()
        await self.service.__aexit__(kind, error, trace)
        if error is None:
            assert self.forwarder.under_way == 0

    def exchange_finished(self, exchange: Exchange) -> None:
        """Observer."""
        self.finished.append(exchange)

    def send(
        self,
        method: bytes = b"GET",
        fields: list[bytes] | None = None,
        end: bool = True,
        checked: bool = False,
        hold: bool = False,
        target: bytes = b"/",
    ) -> StreamRecorder:
        """Open a stream with the head of a request."""
        return self.links.open([method, target, *HOST, *(fields or [])], end, checked, hold)

    async def get(self, method: bytes = b"GET") -> StreamRecorder:
        """A whole exchange without a body."""
        visit = self.send(method)
        await visit.until(lambda: visit.over)
        return visit


def body(visit: StreamRecorder, data: bytes, end: bool = False) -> None:
    """Send bytes of the request's body."""
    assert visit.stream is not None
    visit.stream.send_data(data, end)


def finish(visit: StreamRecorder, trailers: list[bytes] | None = None) -> None:
    """End the request."""
    assert visit.stream is not None
    visit.stream.send_end(trailers or [])


def replying(*answers: bytes) -> Script:
    """A service that answers each request with the next answer, whatever it was; then it closes."""

    async def script(caller: Caller) -> None:
        for answer in answers:
            await caller.head()
            caller.send(answer)
        await caller.gone()

    return script


async def serve_forever(caller: Caller) -> None:
    """A service that says OK to every request without a body."""
    async for _ in caller.heads():
        caller.send(OK)


async def silent(caller: Caller) -> None:
    """A service that reads and never answers."""
    await caller.gone()


def visited(visit: StreamRecorder) -> list[object]:
    """What the visitor heard, wherever the cuts and the END flag were: heads, body, `("end", trailers)`, reset."""
    heads = [note[1:] if "interim" in note else note[1] for note in visit.heard if note[0] == "headers"]
    trailers = [note[1] for note in visit.heard if note[0] == "end"] or [[]]
    ends = [("end", trailers[0])] if visit.ended else []
    return [*heads, visit.body, *ends, *[note for note in visit.heard if note[0] == "reset"]]


class ResponseRecorder(Notes):
    """An UpstreamHandler that writes down what it hears."""

    def response_head(self, head: ResponseHead) -> None:
        self.note("head", head.status)

    def response_data(self, data: bytes) -> None:
        self.note("data", data)

    def response_end(self, trailers: Trailers | None) -> None:
        self.note("end")

    def upstream_failed(self, sentence: str) -> None:
        self.note("failed", sentence)

    def upstream_room(self) -> None:
        self.note("room")


def pool_for(url: str, timeouts: UpstreamTimeouts | None = None, max_idle: int = 128) -> UpstreamPool:
    loop = asyncio.get_running_loop()
    return UpstreamPool(parse_endpoint(url), loop.time, timeouts or UpstreamTimeouts(), max_idle=max_idle)


async def exchange(connection: UpstreamConnection) -> ResponseRecorder:
    """A whole exchange on a connection."""
    recorder = ResponseRecorder()
    connection.begin(recorder, b"GET")
    connection.write(GET)
    connection.request_ended()
    await recorder.until(lambda: bool({"end", "failed"} & set(recorder.names())))
    return recorder
