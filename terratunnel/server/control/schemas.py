"""What the JSON API takes and gives. Used by its routes and by the OpenAPI document.

Rule: these are promises to other people's programs; a field may be added, none is ever taken away.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from terratunnel.server.actors import Actor
from terratunnel.server.control.live import LiveTotals, LiveTunnel
from terratunnel.server.control.sqlbrowser.answers import MAX_SQL_CHARS
from terratunnel.server.control.sqlbrowser.tables import TableInfo
from terratunnel.server.storage.models import ApiKey, TunnelAuditLog, User
from terratunnel.server.tunnels import MAX_NAME_CHARS, NewKey, OwnTunnel


class Given(BaseModel):
    """What comes from outside: nothing unknown in it, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shown(BaseModel):
    """What is answered, made from an object of ours."""

    model_config = ConfigDict(from_attributes=True)


class Problem(BaseModel):
    """Why a call was not done."""

    error: str
    status: int
    message: str


# ---------------------------------------------------------------------- who

KeyName = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Token = Annotated[str, Field(min_length=1, max_length=4_096)]


class GithubExchange(Given):
    """A GitHub token, to be exchanged for an API key."""

    github_token: Token
    api_key_name: KeyName | None = None


class ProviderExchange(Given):
    """A provider's token, to be exchanged for an API key."""

    provider: Literal["github", "gitlab"]
    token: Token
    api_key_name: KeyName | None = None


class Exchanged(BaseModel):
    """A new API key: the only time that it is shown."""

    api_key: str
    api_key_prefix: str
    user_id: int
    username: str
    expires_at: datetime | None
    tunnel_url: str


class Me(Shown):
    """Whose key or session it is."""

    id: int
    username: str
    email: str | None
    name: str | None
    avatar_url: str | None
    provider: str


class SessionMe(Me):
    """The same for a session, with what a change has to carry as X-CSRF-Token."""

    is_admin: bool
    expires_at: datetime | None
    csrf_token: str

    @classmethod
    def of(cls, actor: Actor, csrf_token: str) -> Self:
        """Describe whoever is signed in."""
        return cls(
            **Me.model_validate(actor).model_dump(),
            is_admin=actor.is_admin,
            expires_at=actor.expires_at,
            csrf_token=csrf_token,
        )


class Key(Shown):
    """An API key, without the key."""

    id: int
    key_prefix: str
    name: str | None
    created_at: datetime | None
    last_used_at: datetime | None
    expires_at: datetime | None
    is_active: bool
    scopes: str | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """Describe a key."""
        return cls.model_validate(key)


# ---------------------------------------------------------------------- terratunnel login


class DeviceStart(Given):
    """A client that wants a key; `client_name` is what whoever approves it sees."""

    client_name: Annotated[str, Field(max_length=100)] = ""


class DeviceCodes(BaseModel):
    """What the client shows (`user_code`, the URLs) and what it keeps to itself and polls with (`device_code`)."""

    device_code: str
    user_code: str
    verification_url: str
    verification_url_complete: str
    expires_in_s: int
    interval_s: int


class DevicePoll(Given):
    """Is it approved yet?"""

    device_code: Annotated[str, Field(min_length=1, max_length=200)]


class DeviceWaiting(BaseModel):
    """Not yet; ask again after the interval."""

    state: Literal["authorization_pending"]


class DeviceKey(BaseModel):
    """It is: a new API key, shown this once."""

    state: Literal["approved"]
    api_key: str
    api_key_prefix: str
    user_id: int
    tunnel_url: str

    @classmethod
    def of(cls, made: NewKey, tunnel_url: str) -> Self:
        """Describe a key that was just made."""
        return cls(
            state="approved",
            api_key=made.plain,
            api_key_prefix=made.prefix,
            user_id=made.api_key.user_id,
            tunnel_url=tunnel_url,
        )


# ---------------------------------------------------------------------- tunnels


class Live(Shown):
    """A connected client; bytes are those of bodies, in from visitors and out to them."""

    since: datetime
    address: str
    local_endpoint: str
    user_agent: str
    requests: int
    bytes_in: int
    bytes_out: int


class Tunnel(BaseModel):
    """A tunnel; `live` is null while no client is connected."""

    id: int
    subdomain: str
    url: str
    name: str | None
    created_at: datetime | None
    key_prefix: str | None
    key_last_used_at: datetime | None
    live: Live | None

    @classmethod
    def of(cls, own: OwnTunnel, url: str, live: LiveTunnel | None) -> Self:
        """Describe a tunnel with its key and its client."""
        return cls(
            id=own.tunnel.id,
            subdomain=own.tunnel.subdomain,
            url=url,
            name=own.tunnel.name,
            created_at=own.tunnel.created_at,
            key_prefix=own.key.key_prefix if own.key is not None else None,
            key_last_used_at=own.key.last_used_at if own.key is not None else None,
            live=Live.model_validate(live) if live is not None else None,
        )


# ---------------------------------------------------------------------- administrators


class LiveTunnelOfUser(Live):
    """A live tunnel and whose it is."""

    subdomain: str
    url: str
    connection_id: str
    user_id: int | None
    username: str


class Totals(Shown):
    """What all live tunnels are together."""

    tunnels: int
    requests: int
    bytes_in: int
    bytes_out: int


class LiveTunnels(BaseModel):
    """All live tunnels added up, and the busiest of them."""

    totals: Totals
    tunnels: list[LiveTunnelOfUser]

    @classmethod
    def of(cls, totals: LiveTotals, tunnels: list[LiveTunnel]) -> Self:
        """Describe them."""
        shown = [LiveTunnelOfUser.model_validate(tunnel) for tunnel in tunnels]
        return cls(totals=Totals.model_validate(totals), tunnels=shown)


class UserInfo(Shown):
    """A user."""

    id: int
    auth_provider: str
    provider_user_id: str
    provider_username: str
    email: str | None
    name: str | None
    created_at: datetime | None
    is_active: bool

    @classmethod
    def of(cls, user: User) -> Self:
        """Describe a user."""
        return cls.model_validate(user)


class Users(BaseModel):
    """A page of users."""

    users: list[UserInfo]
    total: int
    page: int
    page_size: int


class Event(Shown):
    """One thing that happened."""

    id: int
    timestamp: datetime
    event_type: str | None
    subdomain: str
    hostname: str
    local_endpoint: str
    connection_id: str
    client_ip: str | None
    user_agent: str | None
    user_id: int | None
    username: str | None
    api_key_id: int | None
    additional_data: str | None

    @classmethod
    def of(cls, row: TunnelAuditLog) -> Self:
        """Describe a row of the audit log."""
        return cls.model_validate(row)


class Events(BaseModel):
    """Events, newest first; `next_before` asks for those after them."""

    events: list[Event]
    next_before: int | None


# ---------------------------------------------------------------------- database

Value = str | int | float | bool | None


class Table(Shown):
    """A table; it has more rows than `rows` when `more` is true."""

    name: str
    columns: list[str]
    rows: int
    more: bool

    @classmethod
    def of(cls, table: TableInfo) -> Self:
        """Describe a table."""
        return cls.model_validate(table)


class Tables(BaseModel):
    """Every table, and the SQL that the query box takes."""

    dialect: Literal["sqlite", "postgresql"]
    tables: list[Table]


class TableRows(BaseModel):
    """A page of a table, newest first; `next_before` asks for the one after it, where the rows have numbers."""

    table: Table
    rows: list[list[Value]]
    page: int
    page_size: int
    has_next: bool
    next_before: int | None


class Query(Given):
    """One SELECT."""

    sql: Annotated[str, Field(min_length=1, max_length=MAX_SQL_CHARS)]


class QueryAnswer(BaseModel):
    """Its rows; `truncated` when there were more than may be shown."""

    columns: list[str]
    rows: list[list[Value]]
    truncated: bool
    duration_ms: int


class Deleted(BaseModel):
    """The names of the tunnels that went with a user."""

    subdomains: list[str]
