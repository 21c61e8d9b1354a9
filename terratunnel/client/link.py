"""One link to the server, from the finished handshake to its end. Used by `client.app`, which keeps opening new ones.

Rule: it ends once, with a code and a reason; requests under way are finished, or answered by the server.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from terratunnel.forwarding.forwarder import Forwarder
from terratunnel.http1.fields import Fields
from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.handshake import OpenedLink, field
from terratunnel.mux.stream import Stream, StreamHandler
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.settings import Settings


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a link ended or never began. `code` is what one side said before; None when nobody could."""

    code: GoAwayCode | None
    reason: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the server says in the handshake."""

    url: str
    hostname: str
    token: str


def welcome_in(fields: Fields) -> Welcome:
    """Return what the server's fields say; they are a stranger's words."""
    url = field(fields, b"terratunnel-url").decode("latin-1")
    try:
        hostname = urlsplit(url).hostname or ""
    except ValueError:
        hostname = ""
    return Welcome(url, hostname, field(fields, b"terratunnel-token").decode("latin-1"))


def sentence(what: str, reason: str) -> str:
    """Return what happened and, where a reason is known, why."""
    reason = reason.strip().rstrip(".")
    return f"{what}: {reason}." if reason else f"{what}."


def why(error: Exception) -> str:
    """Return why a link could not be opened, without the numbers and addresses of the system's own words."""
    if isinstance(error, TimeoutError) and not error.args:
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted ({error.verify_message})"
    if isinstance(error, (ssl.SSLError, socket.gaierror)):
        return str(error.strerror or error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


class ServerLink:
    """Owns a mux connection. `over` is set when another link is needed: at the end, or when the server drains."""

    def __init__(
        self,
        opened: OpenedLink,
        forwarder: Forwarder,
        settings: Settings,
        drain_s: float,
        on_online: Callable[["ServerLink"], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.welcome: Welcome = welcome_in(opened.fields)
        self.over: asyncio.Future[Ending] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._forwarder: Forwarder = forwarder
        self._drain_s: float = drain_s
        self._on_online: Callable[[ServerLink], None] = on_online
        self._limit: asyncio.TimerHandle | None = None
        self.connection: MuxConnection = MuxConnection(opened.link, self, False, settings)
        opened.link.start(self.connection, opened.buffered)

    def drain(self, reason: str) -> None:
        """Take no more requests, finish those under way within the limit, then close."""
        if self._limit is None and not self.connection.closed:
            self._limit = asyncio.get_running_loop().call_later(self._drain_s, self.cut, GoAwayCode.NORMAL, reason)
            self.connection.close(GoAwayCode.NORMAL, reason)

    def cut(self, code: GoAwayCode, reason: str) -> None:
        """Close at once."""
        self.connection.close_now(code, reason)

    # ------------------------------------------------------------------ ConnectionOwner

    def link_opened(self, connection: MuxConnection) -> None:
        """The server has sent its settings: visitors may come."""
        self._on_online(self)

    def stream_opened(self, stream: Stream) -> StreamHandler:
        """A visitor's request begins."""
        return self._forwarder.stream_opened(stream)

    def goaway_received(self, code: GoAwayCode, reason: str) -> None:
        """Finish what is under way. A server that drains is left for another one meanwhile."""
        if code is GoAwayCode.DRAINING:
            self._end(Ending(code, reason))
        self.drain(reason)

    def capacity_available(self, connection: MuxConnection) -> None:
        """Nothing: an agent opens no streams."""

    def link_closed(self, connection: MuxConnection, code: GoAwayCode | None, reason: str) -> None:
        """The link is gone."""
        if self._limit is not None:
            self._limit.cancel()
        self._end(Ending(code, reason))
        if not self.closed.done():
            self.closed.set_result(None)

    def _end(self, ending: Ending) -> None:
        if not self.over.done():
            self.over.set_result(ending)
