"""The WebSocket handshake: our server's half, our client's half, and every answer a client may get instead."""

import asyncio
import json
import ssl
from collections.abc import Callable

import pytest
from websockets.client import ClientProtocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from terratunnel.errors import RemoteProtocolError
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser
from terratunnel.mux import handshake
from terratunnel.mux.handshake import HandshakeRefused, OpenedLink, ServerAddress, open_link
from terratunnel.testing.clock import Clock, clocked, settled, turns
from terratunnel.testing.services import Caller, Script, ScriptedService
from terratunnel.testing.streams import ReceiverRecorder
from tests.certificates import client_context, server_context

# RFC 6455 §1.3.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def request(**changes: bytes | None) -> RequestHead:
    """The head of an opening request with some fields changed, or left out."""
    fields: dict[str, bytes | None] = {
        "Host": b"example.com",
        "Connection": b"Upgrade",
        "Upgrade": b"websocket",
        "Sec_WebSocket_Version": b"13",
        "Sec_WebSocket_Key": KEY,
        "Sec_WebSocket_Protocol": b"chat, terratunnel.v1",
    }
    method = changes.pop("method", b"GET")
    assert method is not None
    lines = [b"%s /ws HTTP/1.1" % method]
    lines += [
        name.replace("_", "-").encode() + b": " + value
        for name, value in (fields | changes).items()
        if value is not None
    ]
    parser = RequestParser(HeadLimits())
    parser.receive_data(b"\r\n".join(lines) + b"\r\n\r\n")
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return head


# ---------------------------------------------------------------------- the server's half


def test_the_key_of_the_standard_has_the_answer_of_the_standard() -> None:
    assert handshake.accept_key(KEY) == ACCEPT


def test_an_opening_request_is_known() -> None:
    assert handshake.asks_websocket(request())
    assert handshake.offers_link(request())
    assert handshake.asks_websocket(request(Upgrade=b"WebSocket"))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": b"POST"},
        {"Upgrade": None},
        {"Upgrade": b"other"},
        {"Connection": None},
        {"Sec_WebSocket_Version": b"8"},
        {"Sec_WebSocket_Version": None},
        {"Sec_WebSocket_Key": b"short"},
        {"Sec_WebSocket_Key": None},
    ],
)
def test_what_is_no_opening_request_is_known_too(changes: dict[str, bytes | None]) -> None:
    assert not handshake.asks_websocket(request(**changes))
    assert not handshake.offers_link(request(**changes))


@pytest.mark.parametrize("offered", [None, b"", b"terratunnel.v2", b"terratunnel.v1x, chat"])
def test_another_subprotocol_is_a_websocket_and_no_link(offered: bytes | None) -> None:
    assert handshake.asks_websocket(request(Sec_WebSocket_Protocol=offered))
    assert not handshake.offers_link(request(Sec_WebSocket_Protocol=offered))


def test_the_answer_is_what_a_client_of_theirs_accepts() -> None:
    client = ClientProtocol(parse_uri("ws://example.com/ws"), subprotocols=[Subprotocol("terratunnel.v1")])
    theirs = client.connect()
    client.send_request(theirs)
    parser = RequestParser(HeadLimits())
    for data in client.data_to_send():
        parser.receive_data(data)
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    assert handshake.offers_link(head)
    client.receive_data(handshake.accepting_response(head, [b"Terratunnel-Url", b"http://x.example.com"]))
    answers = client.events_received()
    assert client.handshake_exc is None
    assert isinstance(answers[0], Response)
    assert answers[0].headers["Terratunnel-Url"] == "http://x.example.com"
    assert client.subprotocol == "terratunnel.v1"


# ---------------------------------------------------------------------- the client's half


def read_head(raw: bytes) -> RequestHead:
    parser = RequestParser(HeadLimits())
    parser.receive_data(raw)
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return head


def answering(answer: bytes | Callable[[RequestHead], bytes], then: Script | None = None) -> Script:
    """A server that answers the opening request, and closes unless it has something else to do."""

    async def script(caller: Caller) -> None:
        head = read_head(await caller.head())
        caller.send(answer if isinstance(answer, bytes) else answer(head))
        if then is not None:
            await then(caller)

    return script


async def listen(caller: Caller) -> None:
    await caller.read_to_end()


def accepting(head: RequestHead) -> bytes:
    return handshake.accepting_response(head, [b"Terratunnel-Url", b"http://x.localhost"])


async def opened(service: ScriptedService, timeout_s: float = 10, extra: list[bytes] | None = None) -> OpenedLink:
    return await open_link(ServerAddress("127.0.0.1", service.port, tls=False), extra or [], None, timeout_s)


async def refusal(script: Script) -> Exception:
    async with ScriptedService(script) as service:
        with pytest.raises((HandshakeRefused, RemoteProtocolError, OSError)) as caught:
            await opened(service)
        return caught.value


async def test_a_link_opens_and_carries_what_follows() -> None:
    async def talk(caller: Caller) -> None:
        caller.send(b"\x82\x02hi")
        assert (await caller.read(2))[0] == 0x82
        await listen(caller)

    async with ScriptedService(answering(accepting, talk)) as service:
        open_ = await opened(service)
        assert handshake.field(open_.fields, b"terratunnel-url") == b"http://x.localhost"
        assert handshake.field(open_.fields, b"terratunnel-token") == b""
        receiver = ReceiverRecorder()
        open_.link.start(receiver, open_.buffered)
        open_.link.send_message([b"hello"])
        await receiver.until_heard("message")
        assert receiver.messages == [b"hi"]
        open_.link.abort()
        await receiver.until_heard("lost")


async def test_frames_that_come_with_the_answer_are_kept() -> None:
    async with ScriptedService(answering(lambda head: accepting(head) + b"\x82\x05first", listen)) as service:
        open_ = await opened(service)
        receiver = ReceiverRecorder()
        open_.link.start(receiver, open_.buffered)
        await receiver.until_heard("message")
        assert receiver.messages == [b"first"]
        open_.link.abort()


async def test_a_link_that_goes_before_it_is_started_is_still_reported() -> None:
    async def reset(caller: Caller) -> None:
        caller.reset()

    async with ScriptedService(answering(accepting, reset)) as service:
        open_ = await opened(service)
        await settled()
        receiver = ReceiverRecorder()
        open_.link.start(receiver, open_.buffered)
        await receiver.until_heard("lost")


async def test_the_request_is_what_a_server_of_theirs_accepts() -> None:
    seen: list[Request] = []

    async def script(caller: Caller) -> None:
        server = ServerProtocol(subprotocols=[Subprotocol("terratunnel.v1")])
        server.receive_data(await caller.head())
        (event,) = server.events_received()
        assert isinstance(event, Request)
        seen.append(event)
        response = server.accept(event)
        server.send_response(response)
        for data in server.data_to_send():
            caller.send(data)
        await listen(caller)

    async with ScriptedService(script) as service:
        open_ = await opened(service, extra=[b"Authorization", b"Bearer k"])
        open_.link.abort()
        await settled()
    assert seen[0].path == "/ws"
    assert seen[0].headers["Authorization"] == "Bearer k"
    assert seen[0].headers["Host"] == f"127.0.0.1:{service.port}"


def json_refusal(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (json_refusal(b"401 Unauthorized", json.dumps({"message": "This key is not valid."}).encode()), 401, None),
        (json_refusal(b"403 Forbidden", b"<html>proxy</html>"), 403, "403 Forbidden"),
        (json_refusal(b"409 Conflict", b'["no object"]'), 409, "409 Conflict"),
        (json_refusal(b"426 Upgrade Required", b"{}"), 426, "426 Upgrade Required"),
        (json_refusal(b"502 ", b"\xff\xfe"), 502, "502"),
        (json_refusal(b"500 Deep", b"[" * 60_000), 500, "500 Deep"),
        (b"HTTP/1.1 503 Busy\r\n\r\nuntil the close", 503, "503 Busy"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "204 No Content"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nhalf", 404, "404 Not Found"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 302, "302 Found"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, 200, "200 OK"),
    ],
)
async def test_a_refusal_carries_its_status_and_sentence(answer: bytes, status: int, message: str | None) -> None:
    error = await refusal(answering(answer))
    assert isinstance(error, HandshakeRefused)
    assert error.status == status
    assert error.message == (message or "This key is not valid.")


async def test_an_endless_refusal_is_cut_off() -> None:
    async def pour(caller: Caller) -> None:
        try:
            while True:
                caller.send(b"x" * 10_000)
                await caller.sent()
        except ConnectionError:
            return

    error = await refusal(answering(b"HTTP/1.1 500 Endless\r\n\r\n", pour))
    assert isinstance(error, HandshakeRefused)


async def test_a_long_sentence_is_cut() -> None:
    body = json.dumps({"message": "x" * 5_000}).encode()
    error = await refusal(answering(json_refusal(b"403 Forbidden", body)))
    assert str(error) == "x" * 1_000


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the server's answer is not HTTP"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "the server's answer is not HTTP"),
        (
            b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            "Sec-WebSocket-Accept is wrong",
        ),
    ],
)
async def test_an_answer_that_is_none_is_the_servers_fault(answer: bytes, sentence: str) -> None:
    error = await refusal(answering(answer, listen))
    assert isinstance(error, RemoteProtocolError)
    assert sentence in str(error)


async def test_a_server_that_chose_another_subprotocol_is_no_server_of_ours() -> None:
    def other(head: RequestHead) -> bytes:
        return accepting(head).replace(b"terratunnel.v1", b"terratunnel.v9")

    error = await refusal(answering(other, listen))
    assert isinstance(error, RemoteProtocolError)
    assert "did not choose terratunnel.v1" in str(error)


async def test_a_server_that_hangs_up_says_nothing() -> None:
    async def hang_up(caller: Caller) -> None:
        await caller.head()

    assert isinstance(await refusal(hang_up), ConnectionResetError)


async def test_what_follows_a_broken_answer_is_not_read() -> None:
    async def twice(caller: Caller) -> None:
        await settled()
        caller.send(b"more of it")
        await settled()

    error = await refusal(answering(b"garbage\n\n", twice))
    assert isinstance(error, RemoteProtocolError)


async def test_a_port_nobody_listens_on_is_an_oserror() -> None:
    async with ScriptedService(listen) as service:
        pass
    with pytest.raises(OSError):  # noqa: PT011 - its text is the system's
        await opened(service)


@clocked
async def test_a_server_that_says_nothing_is_given_up(clock: Clock) -> None:
    async with ScriptedService(listen) as service:
        opening = asyncio.ensure_future(opened(service, timeout_s=5))
        await settled()
        await clock.advance(5.1)
        with pytest.raises(TimeoutError):
            await opening


async def test_cancelling_closes_the_connection() -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(caller: Caller) -> None:
        await caller.head()
        ended.set_result(await caller.read_to_end())

    async with ScriptedService(script) as service:
        opening = asyncio.ensure_future(opened(service))
        while not service.connections:
            await turns()
        await settled()
        opening.cancel()
        assert await ended == b""
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_a_tls_address_never_speaks_in_the_clear() -> None:
    heard: list[bytes] = []

    async def script(caller: Caller) -> None:
        heard.append(await caller.read_some())

    async with ScriptedService(script) as service:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await open_link(ServerAddress("127.0.0.1", service.port, tls=True), [], None, 10)
    assert heard[0][:1] == b"\x16"  # a TLS handshake record


async def test_a_link_over_tls_opens_where_the_certificate_is_trusted() -> None:
    async def talk(caller: Caller) -> None:
        caller.send(b"\x82\x02hi" + b"\x82\x7f" + (700_000).to_bytes(8, "big") + b"x" * 700_000)
        assert await caller.read(10) == b"\x82\xff" + (600_000).to_bytes(8, "big")
        await listen(caller)

    async with ScriptedService(answering(accepting, talk), context=server_context()) as service:
        address = ServerAddress("127.0.0.1", service.port, tls=True)
        open_ = await open_link(address, [], client_context(), 10)
        receiver = ReceiverRecorder()
        open_.link.start(receiver, open_.buffered)
        open_.link.send_message([b"y" * 600_000])
        await receiver.until(lambda: len(receiver.messages) == 2)
        assert receiver.messages == [b"hi", b"x" * 700_000]
        open_.link.abort()
        await receiver.until_heard("lost")


async def test_a_certificate_nobody_vouches_for_is_refused() -> None:
    async with ScriptedService(answering(accepting, listen), context=server_context()) as service:
        with pytest.raises(ssl.SSLCertVerificationError):
            await open_link(ServerAddress("127.0.0.1", service.port, tls=True), [], None, 10)


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        (ServerAddress("example.com", 443, tls=True), b"example.com"),
        (ServerAddress("example.com", 80, tls=False), b"example.com"),
        (ServerAddress("example.com", 443, tls=False), b"example.com:443"),
        (ServerAddress("::1", 8000, tls=False), b"[::1]:8000"),
        (ServerAddress("bücher.example", 80, tls=False), b"xn--bcher-kva.example"),
    ],
)
def test_the_host_field_names_a_port_that_is_not_the_usual(address: ServerAddress, authority: bytes) -> None:
    assert address.authority == authority
