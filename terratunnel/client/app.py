"""The client as a whole: connects, reconnects, forwards and ends. Built by the command line, the demo and the SDK.

Rule: it comes back by itself from everything but a refusal, a successor and its user, and it repeats no request.
"""

import asyncio
import logging
import platform
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from terratunnel import __version__
from terratunnel.client import api
from terratunnel.client.backoff import Backoff
from terratunnel.client.config import DEFAULT_SERVER_URL, ClientConfig, ConfigError
from terratunnel.client.console import Display, Exchange, Online, State
from terratunnel.client.link import Ending, ServerLink, sentence, why
from terratunnel.client.tokens import TokenStore
from terratunnel.client.wake import SleepDetector
from terratunnel.errors import RemoteProtocolError
from terratunnel.forwarding.forwarder import Forwarder
from terratunnel.forwarding.pool import UpstreamPool
from terratunnel.logs import escape
from terratunnel.mux.handshake import HandshakeRefused, OpenedLink, open_link
from terratunnel.protocol.errors import GoAwayCode

log = logging.getLogger(__name__)

# Spec §1: a missing or wrong key, a key that may not do this, a version the server does not speak.
_FINAL_REFUSALS: Final = (401, 403, 426)
_USER_AGENT: Final = f"terratunnel/{__version__} ({platform.system()}) Python/{platform.python_version()}".encode()
_ENDING: Final = "the client is ending"
NAME_A_SERVER: Final = (
    "Name your server with --server-url wss://tunnel.example.com or TERRATUNNEL_SERVER_URL, "
    "or start one here with: terratunnel server"
)


class ExitStatus(IntEnum):
    """The exit status of the command."""

    ENDED = 0
    ERROR = 1
    USAGE = 2
    REFUSED = 3
    REPLACED = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the client ended, with one sentence."""

    status: ExitStatus
    reason: str


class Client:
    """One tunnel. `run` it once; `stop` ends it well, a second `stop` at once."""

    def __init__(
        self,
        config: ClientConfig,
        display: Display,
        *,
        context: ssl.SSLContext | None = None,
        random_number: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        sleep: SleepDetector | None = None,
    ) -> None:
        self.state: State = State.CONNECTING
        self._config: ClientConfig = config
        self._display: Display = display
        self._context: ssl.SSLContext | None = context
        self._clock: Callable[[], float] = clock
        self._sleep: SleepDetector = sleep or SleepDetector()
        self._backoff: Backoff = Backoff(random_number)
        self._tokens: TokenStore = TokenStore(config.state_dir)
        self._links: set[ServerLink] = set()
        self._current: ServerLink | None = None
        self._connecting: asyncio.Task[OpenedLink] | None = None
        self._hurry: asyncio.Event = asyncio.Event()
        self._stops: int = 0
        self._started_at: float = clock()
        self._was_online: bool = False
        self._online_since: datetime | None = None
        self._attempts: int = 0
        self._exchanges: int = 0
        self._api_url: str = ""
        self._hostname: str = ""
        self._sleep_check: asyncio.TimerHandle | None = None

    async def run(self) -> Outcome:
        """Keep the tunnel up until it is final. Raises ConfigError or EndpointError before anything is opened."""
        config = self._config
        config.check()
        if config.address.tls and self._context is None:
            self._context = ssl.create_default_context()
        sock = self._bind_api()
        forwarder = Forwarder(
            UpstreamPool(config.endpoint, self._clock, config.timeouts), self, config.streaming_threshold, self._clock
        )
        serving = asyncio.get_running_loop().create_task(self._serve_api(sock)) if sock is not None else None
        self._check_sleep()
        try:
            outcome = await self._keep_connected(forwarder)
            await self._finish_links()
        finally:
            await self._close(forwarder, serving)
        self._say_goodbye(outcome)
        return outcome

    def stop(self) -> None:
        """Finish what is under way and end; called again: end at once."""
        self._stops += 1
        self._hurry.set()
        if self._connecting is not None:
            self._connecting.cancel()
        for link in list(self._links):
            if self._stops > 1:
                link.cut(GoAwayCode.NORMAL, "the client was ended")
            else:
                link.drain(_ENDING)
        if self._stops == 1 and self.open_requests:
            count = "1 request" if self.open_requests == 1 else f"{self.open_requests} requests"
            self._display.notice(f"Finishing {count}. Ctrl-C again ends at once.")

    @property
    def open_requests(self) -> int:
        """How many requests are under way."""
        return sum(link.connection.open_streams for link in self._links)

    def exchange_finished(self, exchange: Exchange) -> None:
        """Count an exchange and show it (called by the forwarder)."""
        self._exchanges += 1
        self._display.exchange_finished(exchange)

    def status(self) -> api.Status:
        """Return what `/status` says."""
        online = self.state is State.ONLINE
        return {
            "running": self.state not in (State.REFUSED, State.CLOSED),
            "connected": online,
            "state": self.state.value,
            "tunnel_hostname": self._hostname or None,
            "local_endpoint": str(self._config.endpoint),
            "webhook_count": self._exchanges,
            "server_url": self._config.server_url,
            "uptime_seconds": round(self._clock() - self._started_at, 3),
            "connection_start_time": self._online_since.isoformat() if online and self._online_since else None,
            "reconnect_attempts": self._attempts,
            "last_keepalive_ago": self._heard_ago_s(),
        }

    # ------------------------------------------------------------------ connecting

    async def _keep_connected(self, forwarder: Forwarder) -> Outcome:
        while not self._stops:
            self.state = State.CONNECTING
            self._display.connecting(self._config.server_url)
            result = await self._use_one_link(forwarder)
            if self._stops:
                break
            if isinstance(result, Outcome):
                return result
            await self._wait_to_retry(result)
        return Outcome(ExitStatus.ENDED, "The tunnel is closed.")

    async def _use_one_link(self, forwarder: Forwarder) -> Outcome | str:
        """Open a link and use it; return how the client ends, or the sentence why another link is needed."""
        try:
            opened = await self._open()
        except HandshakeRefused as refusal:
            return self._after_refusal(refusal)
        except (OSError, TimeoutError, RemoteProtocolError) as error:
            return self._unreachable(why(error))
        if opened is None:
            return ""
        config = self._config
        link = ServerLink(opened, forwarder, config.link, config.drain_s, self._link_online)
        self._links.add(link)
        link.closed.add_done_callback(lambda _: self._links.discard(link))
        if self._stops:  # while the handshake ended
            link.drain(_ENDING)
        ending = await link.over
        self._current = None
        return self._after_link(ending)

    async def _open(self) -> OpenedLink | None:
        """Return an opened link; None when `stop` came first."""
        config = self._config
        self._connecting = asyncio.get_running_loop().create_task(
            open_link(config.address, self._handshake_fields(), self._context, config.handshake_timeout_s)
        )
        try:
            return await self._connecting
        except asyncio.CancelledError:
            if not self._stops:
                raise
            return None
        finally:
            self._connecting = None

    def _link_online(self, link: ServerLink) -> None:
        """The server has taken this client."""
        self.state = State.ONLINE
        self._current = link
        self._was_online = True
        self._online_since = datetime.now(UTC)
        self._backoff.link_opened(self._clock())
        welcome = link.welcome
        self._hostname = welcome.hostname
        if welcome.token:
            self._tokens.put(self._config.server_url, str(self._config.endpoint), welcome.token)
        endpoint = str(self._config.endpoint)
        self._display.online(Online(welcome.url, welcome.hostname, endpoint, self._api_url))

    def _after_link(self, ending: Ending) -> Outcome | str:
        match ending.code:
            case GoAwayCode.NORMAL:
                return Outcome(ExitStatus.ENDED, sentence("The server ended the tunnel", ending.reason))
            case GoAwayCode.REPLACED:
                return Outcome(ExitStatus.REPLACED, sentence("This tunnel was taken over", ending.reason))
            case GoAwayCode.REVOKED:
                return Outcome(ExitStatus.REFUSED, sentence("The key of this tunnel was revoked", ending.reason))
        return self._again(sentence("The link to the server is gone", ending.reason))

    def _after_refusal(self, refusal: HandshakeRefused) -> Outcome | str:
        if refusal.status in _FINAL_REFUSALS:
            return Outcome(ExitStatus.REFUSED, sentence("The server refuses this client", refusal.message))
        return self._unreachable(f"it answers {refusal.status}, {refusal.message}")

    def _unreachable(self, reason: str) -> Outcome | str:
        return self._again(sentence(f"The server at {self._config.server_url} cannot be reached", reason))

    def _again(self, trouble: str) -> Outcome | str:
        """A server that was never there is given up on: its name may be wrong."""
        if self._was_online or self._clock() - self._started_at < self._config.first_link_s:
            return trouble
        hint = f" {NAME_A_SERVER}" if self._config.server_url == DEFAULT_SERVER_URL else ""
        return Outcome(ExitStatus.ERROR, trouble + hint)

    async def _wait_to_retry(self, reason: str) -> None:
        delay_s = self._backoff.next_delay(self._clock())
        self.state = State.RECONNECTING
        self._attempts += 1
        self._display.reconnecting(delay_s, reason)
        self._hurry.clear()
        try:
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()
        except TimeoutError:
            pass

    def _handshake_fields(self) -> list[bytes]:
        config = self._config
        endpoint = escape(str(config.endpoint)).encode("ascii", "backslashreplace")
        fields = [b"User-Agent", _USER_AGENT, b"Terratunnel-Local-Endpoint", endpoint]
        if config.api_key:
            return [*fields, b"Authorization", b"Bearer " + config.api_key.encode()]
        token = self._tokens.get(config.server_url, str(config.endpoint))
        return [*fields, b"Terratunnel-Token", token.encode()] if token else fields

    # ------------------------------------------------------------------ beside the road

    def _bind_api(self) -> socket.socket | None:
        config = self._config
        if config.api_port is None:
            return None
        try:
            sock = api.bind(config.api_port)
        except OSError as error:
            trouble = f"The JSON API cannot listen on {api.LOOPBACK}:{config.api_port} ({why(error)})"
            if config.api_port_required:
                raise ConfigError(f"{trouble}; give another --api-port, or 0 for any.") from error
            self._display.notice(f"{trouble}, so this client has none; --api-port gives it another port.")
            return None
        self._api_url = f"http://{api.LOOPBACK}:{api.port_of(sock)}/status"
        return sock

    async def _serve_api(self, sock: socket.socket) -> api.AppServer:
        await api.load()
        server = api.AppServer(api.status_app(api.port_of(sock), self.status), sock)
        await server.start()
        return server

    def _check_sleep(self) -> None:
        """After a long sleep the server has given this link up: open another one now."""
        slept_s = self._sleep.slept_s()
        if slept_s:
            log.info("woke_up slept_s=%.0f", slept_s)
            self._hurry.set()
            for link in list(self._links):
                link.cut(GoAwayCode.DEAD, f"this machine slept for {slept_s:.0f} s")
        self._sleep_check = asyncio.get_running_loop().call_later(self._sleep.every_s, self._check_sleep)

    def _heard_ago_s(self) -> float | None:
        if self._current is None:
            return None
        return round(max(self._clock() - self._current.connection.multiplexer.heard_at, 0.0), 3)

    # ------------------------------------------------------------------ ending

    async def _finish_links(self) -> None:
        """Wait for links that are draining; each has its own limit."""
        while self._links:
            await asyncio.wait([link.closed for link in self._links])

    async def _close(self, forwarder: Forwarder, serving: "asyncio.Task[api.AppServer] | None") -> None:
        if self._sleep_check is not None:
            self._sleep_check.cancel()
        for link in list(self._links):
            link.cut(GoAwayCode.NORMAL, "the client has ended")
        forwarder.close()
        if serving is not None:
            await (await serving).close()

    def _say_goodbye(self, outcome: Outcome) -> None:
        if outcome.status is ExitStatus.REFUSED:
            self.state = State.REFUSED
            self._display.refused(outcome.reason)
        else:
            self.state = State.CLOSED
            self._display.closed(outcome.reason, outcome.status is not ExitStatus.ENDED)
