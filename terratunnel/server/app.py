"""The server: builds edge, acceptor, routes and pages from one configuration, starts them and drains them.

Used by the command line, the demo and the test harness. Nothing else builds these parts.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from terratunnel.logs import LineWriter
from terratunnel.mux.connection import MuxConnection
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.acceptor import Acceptor, AgentLink
from terratunnel.server.auditing import AuditLog
from terratunnel.server.auth.authenticator import AnonymousOrKey, Authenticator, StaticKeys
from terratunnel.server.auth.keys import KeyAuthenticator
from terratunnel.server.auth.links import Links
from terratunnel.server.auth.oauth import OAuth
from terratunnel.server.auth.sessions import Sessions, Signing
from terratunnel.server.config import ConfigError, ServerConfig
from terratunnel.server.control.agent import PagesAgent
from terratunnel.server.control.app import build_app
from terratunnel.server.edge.access_log import AccessLog
from terratunnel.server.edge.listener import Edge
from terratunnel.server.live import LiveLinks, LiveWatch
from terratunnel.server.names import NameTokens
from terratunnel.server.routes import Route, RouteTable
from terratunnel.server.secret import server_secret
from terratunnel.server.services import Services
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.migrate import MigrationReport, migrate
from terratunnel.server.storage.urls import database_url
from terratunnel.server.storage.users import Users
from terratunnel.server.tunnels import Accounts

log = logging.getLogger(__name__)

_DRAIN_POLL_S: Final = 0.05
_NOBODY: Final = (
    "Clients need a key and nobody can sign in to get one; set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or "
    "GITLAB_CLIENT_ID and GITLAB_CLIENT_SECRET, or make a user with: terratunnel admin user create NAME"
)


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
        self._clock = clock
        self._lines = LineWriter(output, loop.call_later)
        self._accounts = AccountServices(config, self.routes, server_secret(config), lambda: self.public_url)
        self._acceptor = Acceptor(
            self.routes,
            self._accounts.authenticator,
            config.link,
            self._hostname_of,
            self._url_of,
            self.services.audit,
            clock,
            config.trusted_proxies,
        )
        proto = b"https" if config.is_secure else b"http"
        self._edge = Edge(self.routes, self._acceptor, AccessLog(self._lines), config.edge, proto, clock)
        self._pages: PagesAgent | None = None

    @property
    def services(self) -> Services:
        """What the pages work with."""
        return self._accounts.services

    @property
    def public_url(self) -> str:
        """The URL of the server's own pages."""
        return self.config.base_url(self.port)

    async def start(self) -> None:
        """Open the database, listen, and serve the pages.

        Raises OSError when the port cannot be had, and StorageError or ConfigError when nobody could sign in.
        """
        await self._accounts.start()
        self.port = await self._edge.listen(self.config.host, self.config.port)
        self._pages = PagesAgent(build_app(self.services), self.config.link)
        owner = AgentLink(self.routes)
        link = await self._pages.start()
        connection = MuxConnection(link, owner, True, self.config.link, self._clock)
        link.attach(connection)
        owner.route = Route("", self.config.domain, self.public_url, connection, self._clock())
        self.routes.add(owner.route)
        self._accounts.say_who_may_connect()

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting, tell the clients, and wait for what is under way, at most `timeout_s`."""
        self._acceptor.draining = True
        self._edge.stop_listening()
        for route in self.routes.links():
            route.connection.close(GoAwayCode.DRAINING, "the server is restarting")
        deadline = self._clock() + timeout_s
        while self._clock() < deadline and (self.routes.links() or self._edge.connections):
            await asyncio.sleep(_DRAIN_POLL_S)

    async def close(self) -> None:
        """Stop at once; what is under way is cut."""
        self._acceptor.close()
        for route in self.routes.links():
            route.connection.close_now(GoAwayCode.DRAINING, "the server stops")
        self._edge.close()
        if self._pages is not None:
            await self._pages.close()
        await self._accounts.close()
        self._lines.close()

    def _hostname_of(self, name: str) -> str:
        return f"{name}.{self.config.domain}"

    def _url_of(self, name: str) -> str:
        return self.config.tunnel_url(name, self.port)


class AccountServices:
    """The part of a server that the road does not need: accounts, sign-in and audit, on one database."""

    def __init__(self, config: ServerConfig, routes: RouteTable, secret: bytes, base_url: Callable[[], str]) -> None:
        self._config = config
        self._somebody_can = False
        self._database = database = Database(database_url(config.db_path, config.database_url))
        accounts_config, secure = config.accounts, config.is_secure
        audit = AuditLog(database, accounts_config.audit_retention_days)
        names = config.static_keys.values()
        accounts = Accounts(database, accounts_config, audit, LiveLinks(routes).end, names)
        keys = KeyAuthenticator(database, accounts, StaticKeys(config.static_keys))
        signing = Signing(secret, accounts_config.algorithm, config.domain)
        sessions = Sessions(database, accounts, audit, signing, accounts_config.session_hours, secure)
        links = Links(database, accounts, audit, base_url)
        oauth = OAuth(accounts_config, secret, base_url, secure)
        self.services = Services(config, base_url, database, accounts, sessions, keys, oauth, links, audit, routes)
        self._watch = LiveWatch(routes, database, keys)
        self.authenticator: Authenticator = keys
        if not config.require_auth:
            self.authenticator = AnonymousOrKey(keys, NameTokens(secret), accounts.is_taken)

    async def start(self) -> None:
        """Migrate and open the database, see that somebody can sign in, and begin to look after it all.

        Raises StorageError or ConfigError.
        """
        _say(await migrate(self._database.url))
        await self._database.open()
        self._somebody_can = await self._somebody_can_connect()
        if not self._somebody_can and not self._config.is_local:
            raise ConfigError(_NOBODY)
        await self._watch.learn_names()  # a name that exists is known from the first request on
        services = self.services
        for part in (services.audit, services.keys, services.sessions, services.links, self._watch):
            part.start()

    async def close(self) -> None:
        """Store what is not stored yet, and close the database."""
        services = self.services
        for part in (self._watch, services.links, services.sessions, services.keys, services.audit):
            await part.close()
        await self._database.close()

    def say_who_may_connect(self) -> None:
        """Warn where it is anyone, or nobody."""
        if not self._config.require_auth:
            log.warning("anyone_may_connect: REQUIRE_AUTH_FOR_TUNNELS is false; this is for trying out")
        elif not self._somebody_can:
            log.warning("nobody_may_connect: %s", _NOBODY)

    async def _somebody_can_connect(self) -> bool:
        config = self._config
        if not config.require_auth or config.accounts.providers or config.static_keys:
            return True
        async with self._database.reading() as session:
            return await Users(session).any_active()


def _say(report: MigrationReport) -> None:
    """Log what a migration has done, and what of it somebody may miss."""
    if report.changed:
        log.info("database_migrated revision=%s backup=%s", report.to_revision, report.backup or "none")
    for note in report.notes:
        log.warning("database_migrated: %s", note)
