"""What the pages and the API work with: one object, filled by `app`, taken by `control`."""

from collections.abc import Callable
from dataclasses import dataclass

from terratunnel.server.auditing import AuditLog
from terratunnel.server.auth.keys import KeyAuthenticator
from terratunnel.server.auth.links import Links
from terratunnel.server.auth.oauth import OAuth
from terratunnel.server.auth.sessions import Sessions
from terratunnel.server.config import ServerConfig
from terratunnel.server.routes import RouteTable
from terratunnel.server.storage.engine import Database
from terratunnel.server.tunnels import Accounts


@dataclass(frozen=True)
class Services:
    """Everything behind the pages. `routes` is for reading only; `base_url()` is known once the server listens."""

    config: ServerConfig
    base_url: Callable[[], str]
    database: Database
    accounts: Accounts
    sessions: Sessions
    keys: KeyAuthenticator
    oauth: OAuth
    links: Links
    audit: AuditLog
    routes: RouteTable
