"""The server: builds edge, acceptor, routes and pages from one configuration, starts them and drains them.

Used by the command line, the demo and the test harness. Nothing else builds these parts.
"""

import asyncio
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from terratunnel.logs import LineWriter
from terratunnel.mux.connection import MuxConnection
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.acceptor import Acceptor, AgentLink
from terratunnel.server.auth.authenticator import AnonymousOrKey, Authenticator, StaticKeys
from terratunnel.server.auth.names import NameTokens
from terratunnel.server.config import ConfigError, ServerConfig
from terratunnel.server.control.agent import PagesAgent
from terratunnel.server.control.pages import build_pages
from terratunnel.server.edge.access_log import AccessLog
from terratunnel.server.edge.listener import Edge
from terratunnel.server.routes import Route, RouteTable

log = logging.getLogger(__name__)

_DRAIN_POLL_S = 0.05
MIN_SECRET_BYTES = 32


class Server:
    """A running server. `start`, then `drain` and `close`."""

    def __init__(
        self, config: ServerConfig, output: TextIO = sys.stdout, clock: Callable[[], float] = time.monotonic
    ) -> None:
        config.check()
        loop = asyncio.get_running_loop()
        self.config = config
        self.port = config.port
        self.routes = RouteTable(config.domain)
        self._links: set[MuxConnection] = set()
        self._clock = clock
        self._lines = LineWriter(output, loop.call_later)
        self._acceptor = Acceptor(
            self.routes, self._links, _authenticator(config), config.link, self._hostname_of, self._url_of, clock
        )
        proto = b"https" if config.base_url(0).startswith("https") else b"http"
        self._edge = Edge(self.routes, self._acceptor, AccessLog(self._lines), config.edge, proto, clock)
        self._pages: PagesAgent | None = None

    @property
    def public_url(self) -> str:
        """The URL of the server's own pages."""
        return self.config.base_url(self.port)

    async def start(self) -> None:
        """Listen, and serve the pages. Raises OSError when the port cannot be had."""
        self.port = await self._edge.listen(self.config.host, self.config.port)
        self._pages = PagesAgent(build_pages(self.config.domain, self.public_url), self.config.link)
        owner = AgentLink(self.routes, self._links)
        link = await self._pages.start()
        connection = MuxConnection(link, owner, True, self.config.link, self._clock)
        link.attach(connection)
        self._links.add(connection)
        owner.route = Route("", self.config.domain, self.public_url, connection, self._clock())
        self.routes.add(owner.route)

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting, tell the clients, and wait for what is under way, at most `timeout_s`."""
        self._acceptor.draining = True
        self._edge.stop_listening()
        for connection in list(self._links):
            connection.close(GoAwayCode.DRAINING, "the server is restarting")
        deadline = self._clock() + timeout_s
        while self._clock() < deadline and (self._links or self._edge.connections):
            await asyncio.sleep(_DRAIN_POLL_S)

    async def close(self) -> None:
        """Stop at once; what is under way is cut."""
        self._acceptor.close()
        for connection in list(self._links):
            connection.close_now(GoAwayCode.DRAINING, "the server stops")
        self._edge.close()
        if self._pages is not None:
            await self._pages.close()
        self._lines.close()

    def _hostname_of(self, name: str) -> str:
        return f"{name}.{self.config.domain}"

    def _url_of(self, name: str) -> str:
        return self.config.tunnel_url(name, self.port)


def _authenticator(config: ServerConfig) -> Authenticator:
    keys = StaticKeys(config.static_keys)
    if config.require_auth:
        return keys
    log.warning("anyone_may_connect: REQUIRE_AUTH_FOR_TUNNELS is false; this is for trying out")
    return AnonymousOrKey(keys, NameTokens(server_secret(config)))


def server_secret(config: ServerConfig) -> bytes:
    """Return the secret that signs tokens. On localhost one is made and kept beside the database; elsewhere it must
    be set.

    Raises ConfigError.
    """
    if config.secret:
        if len(config.secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigError("JWT_SECRET is shorter than 32 bytes; set the output of: openssl rand -hex 32")
        return config.secret.encode()
    if not config.is_local:
        raise ConfigError("JWT_SECRET is not set; set it to the output of: openssl rand -hex 32")
    path = Path(config.db_path).with_suffix(".secret")
    try:
        secret = _kept_secret(path)
    except OSError as error:
        raise ConfigError(f"The secret cannot be kept in {path} ({error.strerror}); name another --db-path.") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(f"The secret in {path} is shorter than {MIN_SECRET_BYTES} bytes; remove the file.")
    return secret


def _kept_secret(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_hex(MIN_SECRET_BYTES).encode()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    return secret
