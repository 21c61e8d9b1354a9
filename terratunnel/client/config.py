"""The client's configuration: one frozen object. Built by the command line, read by `client.app`, which hands on parts.

Every number names where it comes from. A setting that cannot work is a ConfigError before anything connects.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from terratunnel.errors import TerratunnelError
from terratunnel.forwarding.endpoint import Endpoint, parse_endpoint
from terratunnel.forwarding.pool import UpstreamTimeouts
from terratunnel.http1.hosts import is_authority
from terratunnel.mux.handshake import ServerAddress
from terratunnel.protocol.settings import Settings

DEFAULT_SERVER_URL: Final = "ws://localhost:8000"
DEFAULT_API_PORT: Final = 8081
LINK_PATH: Final = "/ws"
_TLS: Final = {"ws": False, "http": False, "wss": True, "https": True}


class ConfigError(TerratunnelError):
    """A setting that cannot work; the sentence says which and what to write instead."""


@dataclass(frozen=True)
class ClientConfig:
    """Everything the client is told. `api_port` None: no JSON API; not `api_port_required`: go on when it is taken."""

    server_url: str
    local_endpoint: str
    api_key: str = field(default="", repr=False)
    api_port: int | None = None
    api_port_required: bool = False
    timeouts: UpstreamTimeouts = field(default_factory=UpstreamTimeouts)
    streaming_threshold: int = 10_485_760  # the guide: 10 MiB
    chunk_size: int = 524_288  # the guide: 512 KiB
    handshake_timeout_s: float = 10.0  # as long as the server waits for a head
    first_link_s: float = 5.0  # for a server that starts at the same moment; after it the server is unreachable
    drain_s: float = 30.0  # the server's own limit
    state_dir: Path | None = None  # None: tokens are kept in memory only

    @property
    def address(self) -> ServerAddress:
        """Where the link is opened. Raises ConfigError."""
        return parse_server_url(self.server_url)

    @property
    def endpoint(self) -> Endpoint:
        """Where requests go. Raises EndpointError."""
        return parse_endpoint(self.local_endpoint)

    @property
    def link(self) -> Settings:
        """The settings of the link."""
        return Settings(chunk_size=self.chunk_size)

    def check(self) -> None:
        """Raise ConfigError or EndpointError for a setting that cannot work."""
        _ = self.address
        _ = self.endpoint
        if not (self.api_key.isascii() and self.api_key.isprintable()) or " " in self.api_key:
            raise ConfigError("The API key holds a space or a character that no key has; copy it again.")
        if self.api_port is not None and not 0 <= self.api_port <= 65_535:
            raise ConfigError(f"The API port {self.api_port} is not between 0 and 65535.")


def parse_server_url(text: str) -> ServerAddress:
    """Return where `ws://`, `wss://`, `http://` or `https://` leads; what says TLS stays TLS. Raises ConfigError."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ConfigError(f"The server URL {text!r} is not a URL ({error}); write {_example(text)}.") from error
    if url.scheme not in _TLS or not url.hostname:
        raise ConfigError(f"The server URL {text!r} is not like {_example(text)}: ws, wss, http or https and a host.")
    if not _is_bare(url):
        raise ConfigError(f"The server URL {text!r} may hold a scheme, a host and a port only; write {_example(text)}.")
    tls = _TLS[url.scheme]
    address = ServerAddress(url.hostname, (443 if tls else 80) if port is None else port, tls, LINK_PATH)
    if address.port == 0 or not _is_host(address):
        raise ConfigError(f"The server URL {text!r} names no host that can be reached; write {_example(text)}.")
    return address


def forwarding_target(target: str) -> str:
    """Return the local endpoint for what people type: `3000`, `box:3000`, or a URL as it is."""
    if target.isascii() and target.isdigit():
        return f"http://localhost:{target}"
    if "://" in target or target.startswith("unix:"):
        return target
    return f"http://{target}"


def _is_bare(url: SplitResult) -> bool:
    return url.path in ("", "/", LINK_PATH) and not url.query and not url.fragment and "@" not in url.netloc


def _is_host(address: ServerAddress) -> bool:
    try:
        address.host.encode("idna")  # as the resolver will: it raises for a label that is empty or too long
        return is_authority(address.authority)
    except UnicodeError:
        return False


def _example(text: str) -> str:
    """Return what the writer may have meant, or a URL of the right form."""
    authority = text.rpartition("://")[2].partition("/")[0]
    name = authority.rpartition("@")[2].partition(":")[0]
    known = name.replace("-", "").replace(".", "").isalnum() and name.isascii()
    return f"wss://{name}" if known and "." in name else "wss://tunnel.example.com"
