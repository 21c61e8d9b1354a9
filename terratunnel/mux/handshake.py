"""The WebSocket handshake (RFC 6455 §4) at both ends. Used by the server's acceptor and by the client.

The server's half is plain functions on a parsed head; the client's half opens the connection. Frames are for the link.
"""

import asyncio
import base64
import hashlib
import json
import os
import ssl
from dataclasses import dataclass
from typing import Final, cast

from terratunnel.errors import RemoteProtocolError, TerratunnelError
from terratunnel.http1 import writer
from terratunnel.http1.fields import Fields
from terratunnel.http1.parser import HeadLimits, RequestHead, ResponseHead, ResponseParser
from terratunnel.mux.websocket import Transport, WebSocketLink

SUBPROTOCOL: Final = b"terratunnel.v1"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_REFUSAL_BYTES: Final = 65_536
_MAX_SENTENCE_CHARS: Final = 1_000


class HandshakeRefused(TerratunnelError):
    """The server answered with an HTTP status instead of the upgrade; `message` is its sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def accept_key(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def field(fields: Fields, name: bytes) -> bytes:
    """Return the first field with this lower-case name, or nothing."""
    for key, value in fields:
        if key.lower() == name:
            return value
    return b""


def offers_link(head: RequestHead) -> bool:
    """Whether a request asks for a WebSocket that speaks our subprotocol."""
    offered = [item.strip() for item in field(head.fields, b"sec-websocket-protocol").split(b",")]
    return asks_websocket(head) and SUBPROTOCOL in offered


def asks_websocket(head: RequestHead) -> bool:
    """Whether a request is a well-formed opening of a WebSocket (RFC 6455 §4.2.1)."""
    return (
        head.method == b"GET"
        and head.upgrade is not None
        and head.upgrade.lower() == b"websocket"
        and field(head.fields, b"sec-websocket-version") == b"13"
        and len(field(head.fields, b"sec-websocket-key")) == 24
    )


def accepting_response(head: RequestHead, extra: list[bytes]) -> bytes:
    """Return the 101 that opens the link, with `extra` fields as `[name, value, …]`."""
    key = field(head.fields, b"sec-websocket-key")
    items = [b"101", b"Switching Protocols", b"Upgrade", b"websocket", b"Sec-WebSocket-Accept", accept_key(key)]
    items += [b"Sec-WebSocket-Protocol", SUBPROTOCOL, *extra]
    return writer.response_head(items, writer.UPGRADE)


@dataclass(frozen=True)
class ServerAddress:
    """Where a client opens its link."""

    host: str
    port: int
    tls: bool
    path: str = "/ws"

    @property
    def authority(self) -> bytes:
        """The Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls else 80
        name = host.encode("ascii" if host.isascii() else "idna")
        return name if self.port == default else name + b":%d" % self.port


@dataclass
class OpenedLink:
    """A link after its handshake; it reads nothing until `link.start(receiver, buffered)`."""

    link: WebSocketLink
    fields: Fields
    buffered: bytes


async def open_link(
    address: ServerAddress, extra: list[bytes], context: ssl.SSLContext | None, timeout_s: float
) -> OpenedLink:
    """Open a WebSocket to a server. `context` is used when the address says TLS; None verifies as usual.

    Raises HandshakeRefused, OSError, TimeoutError or RemoteProtocolError; cancelling it closes the connection.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        transport, handshake = await loop.create_connection(
            lambda: _ClientHandshake(address, extra, loop.create_future()),  # type: ignore[type-var]
            address.host,
            address.port,
            ssl=(context or ssl.create_default_context()) if address.tls else None,
        )
        try:
            return await handshake.done
        except BaseException:
            transport.abort()
            raise


class _ClientHandshake:
    """The asyncio protocol of a client's connection until the server has answered."""

    _transport: asyncio.Transport

    def __init__(self, address: ServerAddress, extra: list[bytes], done: "asyncio.Future[OpenedLink]") -> None:
        self.done = done
        self._address = address
        self._extra = extra
        self._key: bytes = base64.b64encode(os.urandom(16))
        self._parser = ResponseParser(HeadLimits())
        self._head: ResponseHead | None = None
        self._body = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser.expect(b"GET")
        items = [b"GET", self._address.path.encode(), b"Host", self._address.authority, b"Upgrade", b"websocket"]
        items += [b"Sec-WebSocket-Version", b"13", b"Sec-WebSocket-Key", self._key]
        items += [b"Sec-WebSocket-Protocol", SUBPROTOCOL, *self._extra]
        transport.write(writer.request_head(items, writer.UPGRADE))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
            self._read_events()
        except RemoteProtocolError as error:
            self._fail(RemoteProtocolError(f"the server's answer is not HTTP: {error}"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head is not None:
            self._refuse(self._head)
        self._fail(ConnectionResetError("the server closed the connection during the handshake"))

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def _read_events(self) -> None:
        while not self.done.done():
            event = self._parser.next_event()
            if event is None:
                break
            if isinstance(event, bytes):
                self._body += event
            elif isinstance(event, ResponseHead):
                self._head_received(event)
            if self._head is not None and (self._parser.complete or len(self._body) > _MAX_REFUSAL_BYTES):
                self._refuse(self._head)

    def _head_received(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._open(head)
        elif head.status >= 200:
            self._head = head

    def _open(self, head: ResponseHead) -> None:
        if field(head.fields, b"sec-websocket-accept") != accept_key(self._key):
            self._fail(
                RemoteProtocolError("the server's Sec-WebSocket-Accept is wrong: something between answers for it")
            )
        elif field(head.fields, b"sec-websocket-protocol") != SUBPROTOCOL:
            self._fail(RemoteProtocolError("the server did not choose terratunnel.v1"))
        else:
            # The link reads on in `start`; what comes before waits in the kernel.
            self._transport.pause_reading()
            link = WebSocketLink(cast(Transport, self._transport), client=True)
            self._transport.set_protocol(cast(asyncio.BaseProtocol, link))
            self.done.set_result(OpenedLink(link, head.fields, self._parser.take_buffered()))

    def _refuse(self, head: ResponseHead) -> None:
        self._fail(HandshakeRefused(head.status, _message_of(self._body, head)))

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
        self._transport.abort()


def _message_of(body: bytes, head: ResponseHead) -> str:
    """Return the sentence of a refusal: its JSON's `message`, or the status line. Whoever shows it escapes it."""
    try:
        return str(json.loads(body)["message"])[:_MAX_SENTENCE_CHARS]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{head.status} {head.reason.decode('latin-1')}".strip()
