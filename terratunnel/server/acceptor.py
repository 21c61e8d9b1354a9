"""The acceptor: turns a request for `/ws` into a link and puts its route in the table. Used by the edge.

It asks the Authenticator once for each agent. A newer agent with the same name takes over, and the older one is told.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from terratunnel.http1.parser import RequestHead
from terratunnel.logs import escape
from terratunnel.mux import handshake
from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.stream import Stream, StreamHandler
from terratunnel.mux.websocket import Transport, WebSocketLink
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.settings import Settings
from terratunnel.server.actors import Origin
from terratunnel.server.auditing import MAX_TEXT, AuditLog, Event
from terratunnel.server.auth.authenticator import Authenticator, Credentials, Grant, Refused
from terratunnel.server.proxies import Network, visitor_of
from terratunnel.server.routes import Route, RouteTable

log = logging.getLogger(__name__)

_RESTARTING: Final = "The server is restarting; try again in a moment."


class Asking(Protocol):
    """The exchange that asks for a link."""

    @property
    def head(self) -> RequestHead:
        """The request."""

    @property
    def over(self) -> bool:
        """Whether the visitor has left, or was answered."""

    def fail(self, status: int, sentence: str, extra: list[bytes] | None = None) -> None:
        """Answer with an error."""


class Visitor(Protocol):
    """The connection it came on."""

    @property
    def client_ip(self) -> bytes:
        """Who asks."""

    def detach(self) -> tuple[object, bytes]:
        """Give away the transport and the bytes behind the request."""


class AgentLink:
    """The owner of one agent's mux connection: keeps its route for as long as the link lives."""

    def __init__(self, routes: RouteTable, audit: AuditLog | None = None) -> None:
        self._routes = routes
        self._audit = audit
        self.route: Route | None = None

    def link_opened(self, connection: MuxConnection) -> None:
        """The agent's settings are here: serve who has waited."""
        self._serve_waiting()

    def stream_opened(self, stream: Stream) -> StreamHandler:
        """Agents open no streams; the multiplexer has refused it before."""
        raise NotImplementedError

    def goaway_received(self, code: GoAwayCode, reason: str) -> None:
        """The agent stops: its name is free for others, what is under way goes on."""
        if self.route is not None:
            self._routes.remove(self.route.connection)
            self.route.refuse_waiting()

    def capacity_available(self, connection: MuxConnection) -> None:
        """A stream became free."""
        self._serve_waiting()

    def link_closed(self, connection: MuxConnection, code: GoAwayCode | None, reason: str) -> None:
        """The link is gone: remove this route, and this one only."""
        route = self.route
        if route is not None:
            self._routes.forget(route)
            if route.name:  # the server's own pages have none
                address = route.agent_address
                log.info("agent_gone hostname=%s address=%s reason=%s", route.hostname, address, escape(reason))
            if self._audit is not None:
                counts = {"requests": route.requests, "bytes_in": route.bytes_in, "bytes_out": route.bytes_out}
                _record(self._audit, Event.DISCONNECT, route, {"reason": reason[:MAX_TEXT], **counts})
            route.refuse_waiting()

    def _serve_waiting(self) -> None:
        if self.route is not None:
            self.route.serve_waiting()


class Acceptor:
    """Answers requests for a link."""

    def __init__(
        self,
        routes: RouteTable,
        authenticator: Authenticator,
        settings: Settings,
        hostname_of: Callable[[str], str],
        url_of: Callable[[str], str],
        audit: AuditLog,
        clock: Callable[[], float],
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self.draining = False
        self._routes = routes
        self._authenticator = authenticator
        self._settings = settings
        self._hostname_of = hostname_of
        self._url_of = url_of
        self._audit = audit
        self._clock = clock
        self._trusted_proxies = trusted_proxies
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, connection: Visitor, exchange: Asking) -> None:
        """Check the form of the request, then ask about the agent in a task of its own."""
        head = exchange.head
        if self.draining:
            exchange.fail(503, _RESTARTING, [b"Retry-After", b"1"])
        elif not handshake.asks_websocket(head):
            exchange.fail(426, "This address takes WebSocket connections of Terratunnel clients.", _UPGRADE)
        elif not handshake.offers_link(head):
            exchange.fail(426, "This server speaks terratunnel.v1 only; update the client.", _UPGRADE)
        else:
            task = asyncio.get_running_loop().create_task(self._decide(connection, exchange))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop deciding."""
        for task in self._tasks:
            task.cancel()

    async def _decide(self, connection: Visitor, exchange: Asking) -> None:
        credentials = _credentials_of(exchange.head, self._address_of(exchange.head, connection))
        try:
            grant = await self._authenticator.authenticate(credentials)
        except Refused as refusal:
            self._refuse(exchange, credentials, refusal)
            return
        except Exception:
            log.exception("authenticator_failed")
            unable = Refused(503, "The server cannot check keys at the moment; try again.")
            self._refuse(exchange, credentials, unable)
            return
        if self.draining:  # since it was asked
            exchange.fail(503, _RESTARTING, [b"Retry-After", b"1"])
        elif not exchange.over:
            self._open(connection, exchange, grant, credentials)

    def _address_of(self, head: RequestHead, connection: Visitor) -> str:
        """Return where an agent is, also behind proxies."""
        theirs = [value for name, value in head.fields if name.lower() == b"x-forwarded-for"]
        return visitor_of(_text(b", ".join([*theirs, connection.client_ip])), self._trusted_proxies)

    def _refuse(self, exchange: Asking, credentials: Credentials, refusal: Refused) -> None:
        log.info("agent_refused address=%s status=%s reason=%s", credentials.address, refusal.status, refusal.message)
        whose = refusal.whose
        self._audit.record(
            Event.REFUSED,
            origin=Origin(credentials.address, credentials.user_agent),
            subdomain=whose.name,
            hostname=self._hostname_of(whose.name) if whose.name else "",
            local_endpoint=credentials.local_endpoint,
            user_id=whose.user_id,
            username=whose.username or None,
            api_key_id=whose.key_id,
            details={"status": refusal.status, "reason": refusal.message},
        )
        exchange.fail(refusal.status, refusal.message, _REFUSAL_FIELDS.get(refusal.status))

    def _open(self, connection: Visitor, exchange: Asking, grant: Grant, credentials: Credentials) -> None:
        transport, buffered = connection.detach()
        url = self._url_of(grant.name)
        extra = [b"Terratunnel-Url", url.encode()]
        if grant.token:
            extra += [b"Terratunnel-Token", grant.token.encode()]
        plain = cast(Transport, transport)
        plain.write(handshake.accepting_response(exchange.head, extra))
        link = WebSocketLink(plain, client=False)
        # The link reads in another way, and not before `start`.
        cast(asyncio.Transport, transport).pause_reading()
        cast(asyncio.Transport, transport).set_protocol(cast(asyncio.BaseProtocol, link))
        owner = AgentLink(self._routes, self._audit)
        mux = MuxConnection(link, owner, True, self._settings, self._clock)
        owner.route = route = Route(grant.name, self._hostname_of(grant.name), url, mux, self._clock())
        _describe(route, grant, credentials, self._audit.now().timestamp())
        before = self._routes.add(route)
        _record(self._audit, Event.CONNECT, route, {})
        log.info("agent_connected hostname=%s address=%s", route.hostname, route.agent_address)
        if before is not None:
            before.connection.close(GoAwayCode.REPLACED, f"another client connected as {grant.name}")
            before.refuse_waiting()
        link.start(mux, buffered)


_REFUSAL_FIELDS: Final = {401: [b"WWW-Authenticate", b"Bearer"], 503: [b"Retry-After", b"2"]}
_UPGRADE: Final = [b"Upgrade", b"websocket", b"Sec-WebSocket-Protocol", handshake.SUBPROTOCOL]


def _describe(route: Route, grant: Grant, credentials: Credentials, now: float) -> None:
    """Note on a route whose it is and where its agent is."""
    route.connection_id = secrets.token_hex(16)
    route.connected_at = now
    route.agent_address = credentials.address
    route.user_agent = credentials.user_agent
    route.local_endpoint = credentials.local_endpoint
    route.tunnel_id = grant.tunnel_id
    route.user_id = grant.user_id
    route.key_id = grant.key_id
    route.username = grant.username


def _record(audit: AuditLog, event: Event, route: Route, details: dict[str, object]) -> None:
    audit.record(
        event,
        origin=Origin(route.agent_address, route.user_agent),
        subdomain=route.name,
        hostname=route.hostname,
        local_endpoint=route.local_endpoint,
        connection_id=route.connection_id,
        user_id=route.user_id,
        username=route.username or None,
        api_key_id=route.key_id,
        details=details,
    )


def _credentials_of(head: RequestHead, address: str) -> Credentials:
    fields = head.fields
    scheme, _, key = handshake.field(fields, b"authorization").partition(b" ")
    return Credentials(
        key=_text(key.strip()) if scheme.lower() == b"bearer" else "",
        token=_text(handshake.field(fields, b"terratunnel-token")),
        address=address,
        user_agent=_text(handshake.field(fields, b"user-agent")),
        local_endpoint=_text(handshake.field(fields, b"terratunnel-local-endpoint")),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
