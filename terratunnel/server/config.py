"""The server's configuration: one frozen object. Built by the command line, read by `server.app`, which hands on the
parts.

Every number names where it comes from. Sizes in bytes, times in seconds; 0 means no limit where the text says so.
"""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from terratunnel.errors import TerratunnelError
from terratunnel.http1.parser import HeadLimits
from terratunnel.protocol.settings import Settings
from terratunnel.server.proxies import Network


class ConfigError(TerratunnelError):
    """A setting that cannot work; the sentence says which and what to write instead."""


@dataclass(frozen=True)
class EdgeLimits:
    """What a visitor may do (`security.md` R1, R2)."""

    max_request_bytes: int = 52_428_800  # the guide: 50 MB; 0: none
    max_response_bytes: int = 52_428_800  # the guide: 50 MB; 0: none
    head: HeadLimits = field(default_factory=HeadLimits)
    head_timeout_s: float = 10.0  # nginx waits 60 s, HAProxy recommends 10 s
    keep_alive_s: float = 75.0  # nginx
    body_timeout_s: float = 30.0  # without a byte of an announced body; HAProxy's usual client timeout
    write_timeout_s: float = 60.0  # without a byte taken while bytes wait; nginx send_timeout
    # Until the agent's first head; well above the agent's own limit, so that its 504 comes first.
    response_timeout_s: float = 600.0
    # Of a request body before the response has begun; a fifth of Apache's RequestReadTimeout.
    min_body_bytes_per_s: int = 100
    queue_timeout_s: float = 10.0  # a stream that waits for a free place on its link
    linger_s: float = 2.0  # reading on after a final answer, so that the visitor gets to see it (nginx: 5 s)
    streaming_threshold: int = 10_485_760  # the guide: 10 MiB


@dataclass(frozen=True)
class ProviderConfig:
    """One provider of identities: an OAuth app, and where its provider answers."""

    name: str  # github or gitlab, as it stands in `users.auth_provider`
    label: str
    client_id: str
    client_secret: str
    url: str
    api_url: str


# Users whom an operator has made at the command line; nobody else vouches for them.
LOCAL_PROVIDER = "local"
ALGORITHMS = ("HS256", "HS384", "HS512")
TOKEN_EXCHANGES = ("own", "any", "off")


@dataclass(frozen=True)
class AccountsConfig:
    """Who may sign in, and for how long."""

    providers: tuple[ProviderConfig, ...] = ()
    admins: frozenset[tuple[str, str]] = frozenset()  # provider and user name, in lower case
    algorithm: str = "HS256"
    session_hours: float = 24.0
    audit_retention_days: float = 0.0  # 0: for ever
    # Whose tokens `/api/auth/exchange` takes: our own app's, any app's, or none. With `any`, every other app that a
    # user has let in at the provider could get the key of their tunnel with the token that it holds.
    token_exchange: str = "own"

    def provider(self, name: str) -> ProviderConfig | None:
        """Return a provider that is configured."""
        return next((provider for provider in self.providers if provider.name == name), None)

    def is_admin(self, provider: str, username: str) -> bool:
        """Whether a user is an administrator; providers take no notice of case in names, and nor do we."""
        return (provider, username.lower()) in self.admins

    def check(self) -> None:
        """Raise ConfigError for a setting that cannot work."""
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(f"JWT_ALGORITHM is not one of {', '.join(ALGORITHMS)}.")
        if not 0 < self.session_hours <= 8_760:
            raise ConfigError("JWT_EXPIRATION_HOURS is not above 0 and at most 8760, which is a year.")
        if self.token_exchange not in TOKEN_EXCHANGES:
            raise ConfigError(f"TERRATUNNEL_TOKEN_EXCHANGE is not one of {', '.join(TOKEN_EXCHANGES)}.")
        for provider in self.providers:
            _check_provider(provider)


def _check_provider(provider: ProviderConfig) -> None:
    variable = provider.name.upper()
    for part, value in (("ID", provider.client_id), ("SECRET", provider.client_secret)):
        if not value:
            raise ConfigError(f"{variable}_CLIENT_{part} is not set; set both of {variable}_CLIENT_ID and _SECRET.")
    for url in (provider.url, provider.api_url):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(f"The {provider.label} URL {url!r} is not like https://{provider.name}.example.com.")


@dataclass(frozen=True)
class ServerConfig:
    """Everything the server is told."""

    host: str = "0.0.0.0"
    port: int = 8000
    domain: str = "localhost"
    db_path: str = "terratunnel.db"
    database_url: str = ""  # empty: the SQLite file at db_path
    public_url: str = ""
    trusted_proxies: tuple[Network, ...] = ()  # whose X-Forwarded-For says who a visitor is
    require_auth: bool = True
    static_keys: dict[str, str] = field(default_factory=dict)  # key -> name
    secret: str = ""  # JWT_SECRET; empty on localhost: made and kept beside the database
    drain_s: float = 30.0
    edge: EdgeLimits = field(default_factory=EdgeLimits)
    link: Settings = field(default_factory=Settings)
    accounts: AccountsConfig = field(default_factory=AccountsConfig)

    @property
    def is_local(self) -> bool:
        """Whether this is for trying out on one machine."""
        return self.domain == "localhost" or self.domain.endswith(".localhost")

    @property
    def is_secure(self) -> bool:
        """Whether the pages are reached over https."""
        return self.base_url(0).startswith("https")

    def check(self) -> None:
        """Raise ConfigError for a setting that cannot work."""
        labels = self.domain.split(".")
        if not all(label and label.replace("-", "").isalnum() and label.isascii() for label in labels):
            raise ConfigError(f"The domain {self.domain!r} is not a host name; write it like tunnel.example.com.")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"The port {self.port} is not between 0 and 65535.")
        if self.public_url:
            url = urlsplit(self.public_url)
            if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
                raise ConfigError(f"The public URL {self.public_url!r} is not like https://tunnel.example.com.")
        self.accounts.check()

    def base_url(self, port: int) -> str:
        """Return the URL of the server's own pages, without a slash at the end; `port` is the one it listens on."""
        if self.public_url:
            return self.public_url.rstrip("/")
        return f"http://{self.domain}:{port}" if self.is_local else f"https://{self.domain}"

    def tunnel_url(self, name: str, port: int) -> str:
        """Return the public URL of a tunnel."""
        url = urlsplit(self.base_url(port))
        suffix = f":{url.port}" if url.port else ""
        return f"{url.scheme}://{name}.{self.domain}{suffix}"
