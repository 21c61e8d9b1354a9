"""WebSocket through the tunnel, with a real implementation at both ends and what they negotiate between them.

The service hands each connection to the test, which plays both ends in step.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from queue import Queue
from threading import Event, Thread

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.e2e.support.lab import Lab, Tunnel, in_background

LIMIT_S = 10.0
LARGE_BYTES = 16 * 1024 * 1024


class Service:
    """A WebSocket service. `next` is its end of the next connection."""

    def __init__(self) -> None:
        self.stopped = Event()
        self._connections: Queue[ServerConnection] = Queue()
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self._server = serve(
            self._handle,
            sock=self._sock,
            max_size=None,
            ping_interval=None,
            subprotocols=[Subprotocol("squeak.v2")],
            extensions=[ServerPerMessageDeflateFactory(server_max_window_bits=10, client_max_window_bits=11)],
            process_request=_refuse,
        )
        Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self) -> ServerConnection:
        return self._connections.get(timeout=LIMIT_S)

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()

    def _handle(self, connection: ServerConnection) -> None:
        self._connections.put(connection)
        self.stopped.wait()


def _refuse(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(HTTPStatus.FORBIDDEN, "not you\n") if request.path == "/refused" else None


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture(scope="module")
def tunnel(module_lab: Lab, service: Service) -> Tunnel:
    return module_lab.tunnel(service.url)


def visit(tunnel: Tunnel, path: str = "/chat?a=b", compress: bool = False, **fields: str) -> ClientConnection:
    """Connect as a visitor."""
    return connect(
        f"ws://{tunnel.host.decode()}{path}",
        sock=socket.create_connection(("127.0.0.1", tunnel.port), LIMIT_S),
        compression=None,
        extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=12)] if compress else None,
        subprotocols=[Subprotocol("other"), Subprotocol("squeak.v2")],
        additional_headers={name.replace("_", "-"): value for name, value in fields.items()},
        max_size=None,
        ping_interval=None,
        proxy=None,
    )


@contextmanager
def both(
    tunnel: Tunnel, service: Service, compress: bool = False
) -> Iterator[tuple[ClientConnection, ServerConnection]]:
    """Both ends of a connection."""
    with visit(tunnel, compress=compress) as visitor:
        peer = service.next()
        yield visitor, peer
        peer.close()


def closed(connection: ClientConnection | ServerConnection) -> tuple[int, str] | None:
    """Code and reason of the peer's Close; None without one."""
    with pytest.raises(ConnectionClosed) as error:
        connection.recv(LIMIT_S)
    close = error.value.rcvd
    return (close.code, close.reason) if close is not None else None


@pytest.mark.parametrize("message", ["", "text", "\u00e9\U0001f9c0 \x00\r\n", b"", b"\x00\xff", b"x" * 70_000])
@pytest.mark.parametrize("compress", [False, True])
def test_a_message_arrives_both_ways_before_the_next_is_sent(
    tunnel: Tunnel, service: Service, message: str | bytes, compress: bool
) -> None:
    with both(tunnel, service, compress) as (visitor, peer):
        for _ in range(5):
            visitor.send(message)
            assert peer.recv(LIMIT_S) == message
            peer.send(message)
            assert visitor.recv(LIMIT_S) == message


@pytest.mark.parametrize("path", ["/ws", "/_health", "/?flag", "//p%2Fq"])
def test_every_path_of_a_tunnel_is_the_services(tunnel: Tunnel, service: Service, path: str) -> None:
    with visit(tunnel, path) as visitor, service.next() as peer:
        assert peer.request is not None
        assert peer.request.path == path
        visitor.send("hello")
        assert peer.recv(LIMIT_S) == "hello"


def test_what_the_ends_agree_on_is_theirs(tunnel: Tunnel, service: Service) -> None:
    with visit(tunnel, compress=True, Origin="http://elsewhere", Cookie="a=b") as visitor:
        peer = service.next()
        sent, received, answered = visitor.request, peer.request, visitor.response
        assert sent is not None
        assert received is not None
        assert answered is not None
        given = answered.headers
        asked = received.headers
        assert received.path == "/chat?a=b"
        assert (asked["Origin"], asked["Cookie"]) == ("http://elsewhere", "a=b")
        assert asked["Sec-WebSocket-Key"] == sent.headers["Sec-WebSocket-Key"]
        assert asked["Sec-WebSocket-Protocol"] == "other, squeak.v2"
        assert visitor.subprotocol == peer.subprotocol == "squeak.v2"
        assert (
            asked["Sec-WebSocket-Extensions"] == "permessage-deflate; server_max_window_bits=12; client_max_window_bits"
        )
        assert "permessage-deflate" in given["Sec-WebSocket-Extensions"]
        assert "server_max_window_bits=10" in given["Sec-WebSocket-Extensions"]
        peer.close()


def test_compression_is_used_only_where_both_ends_want_it(tunnel: Tunnel, service: Service) -> None:
    for compress in (True, False):
        with both(tunnel, service, compress) as (visitor, peer):
            assert len(visitor.protocol.extensions) == len(peer.protocol.extensions) == int(compress)


def test_the_fragments_of_a_message_arrive_as_fragments_and_in_step(tunnel: Tunnel, service: Service) -> None:
    with both(tunnel, service) as (visitor, peer):
        for sender, receiver in ((visitor, peer), (peer, visitor)):
            seen = [Event() for _ in range(3)]

            def fragments(seen: list[Event] = seen) -> Iterator[str]:
                for number, event in enumerate(seen):
                    yield f"fragment {number}"
                    assert event.wait(LIMIT_S)

            sending = in_background(sender.send, fragments())
            arriving = receiver.recv_streaming()
            for number, event in enumerate(seen):
                assert next(arriving) == f"fragment {number}"
                event.set()
            assert "".join(str(rest) for rest in arriving) == ""
            sending.result(LIMIT_S)


def test_a_ping_is_answered_by_the_other_end(tunnel: Tunnel, service: Service) -> None:
    with both(tunnel, service) as (visitor, peer):
        for connection in (visitor, peer):
            for payload in (b"", b"\x00\xff", b"p" * 125):
                assert connection.ping(payload).wait(LIMIT_S)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (1011, "\u00e9"), (4999, "x" * 123)])
def test_close_codes_arrive_both_ways(tunnel: Tunnel, service: Service, code: int, reason: str) -> None:
    with both(tunnel, service) as (visitor, peer):
        closing = in_background(visitor.close, code, reason)
        assert closed(peer) == (code, reason)
        closing.result(LIMIT_S)
    with both(tunnel, service) as (visitor, peer):
        closing = in_background(peer.close, code, reason)
        assert closed(visitor) == (code, reason)
        closing.result(LIMIT_S)


def test_an_end_without_a_close_is_none_for_the_other(tunnel: Tunnel, service: Service) -> None:
    with both(tunnel, service) as (visitor, peer):
        visitor.socket.shutdown(socket.SHUT_RDWR)
        assert closed(peer) is None
    with both(tunnel, service) as (visitor, peer):
        peer.socket.shutdown(socket.SHUT_RDWR)
        assert closed(visitor) is None


def test_a_refusal_of_the_service_reaches_the_visitor(tunnel: Tunnel, service: Service) -> None:
    with pytest.raises(InvalidStatus) as error:
        visit(tunnel, "/refused")
    assert (error.value.response.status_code, error.value.response.body) == (403, b"not you\n")


@pytest.mark.parametrize("compress", [False, True])
def test_messages_of_16_mib_arrive_both_ways(tunnel: Tunnel, service: Service, compress: bool) -> None:
    messages = [random.Random(1).randbytes(LARGE_BYTES), "0123456789abcde\u00e9" * (LARGE_BYTES // 17)]
    with both(tunnel, service, compress) as (visitor, peer):
        for message in messages:
            for sender, receiver in ((visitor, peer), (peer, visitor)):
                # One way at a time: this library reads nothing while it sends. Pipes are tried both ways at once.
                sending = in_background(sender.send, message)
                assert receiver.recv(3 * LIMIT_S) == message
                sending.result(LIMIT_S)
