"""The first revision: the guide's four tables and our own; tables of the older program are taken over.

Used by `storage.migrate`. Rule: what it makes equals the models of its time; a test compares them.
"""

from alembic import op
from sqlalchemy import (
    TIMESTAMP,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    true,
)

from terratunnel.server.storage.migrations.older import adopt

revision = "0001"
down_revision = None

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
_TABLES = MetaData(naming_convention=_NAMING)


def _time(name: str, nullable: bool = True) -> Column[object]:
    return Column(name, TIMESTAMP(timezone=True), nullable=nullable)


def _now(name: str) -> Column[object]:
    return Column(name, TIMESTAMP(timezone=True), server_default=func.current_timestamp())


def _active() -> Column[bool]:
    return Column("is_active", Boolean, server_default=true())


def _reference(name: str, target: str, on_delete: str | None, nullable: bool = True) -> Column[int]:
    return Column(name, Integer, ForeignKey(target, ondelete=on_delete), nullable=nullable)


# AUTOINCREMENT where an id that was a deleted row's must never mean another one: sessions and logs name ids.

Table(
    "users",
    _TABLES,
    Column("id", Integer, primary_key=True),
    Column("auth_provider", Text, nullable=False),
    Column("provider_user_id", Text, nullable=False),
    Column("provider_username", Text, nullable=False),
    Column("email", Text),
    Column("name", Text),
    Column("avatar_url", Text),
    Column("tunnel_subdomain", Text, unique=True),
    _now("created_at"),
    _now("updated_at"),
    _active(),
    UniqueConstraint("auth_provider", "provider_user_id"),
    UniqueConstraint("auth_provider", "provider_username"),
    sqlite_autoincrement=True,
)

Table(
    "tunnels",
    _TABLES,
    Column("id", Integer, primary_key=True),
    _reference("user_id", "users.id", "CASCADE", nullable=False),
    Column("subdomain", Text, unique=True, nullable=False),
    Column("name", Text),
    _now("created_at"),
    _active(),
    Index(None, "user_id"),
    sqlite_autoincrement=True,
)

Table(
    "api_keys",
    _TABLES,
    Column("id", Integer, primary_key=True),
    _reference("user_id", "users.id", "CASCADE", nullable=False),
    _reference("tunnel_id", "tunnels.id", None),
    Column("key_hash", Text, nullable=False, unique=True),
    Column("key_prefix", Text, nullable=False),
    Column("name", Text),
    _active(),
    _now("created_at"),
    _time("last_used_at"),
    _time("expires_at"),
    Column("scopes", Text, server_default="tunnel:create"),
    Index(None, "user_id"),
    Index(None, "tunnel_id"),
    sqlite_autoincrement=True,
)

Table(
    "tunnel_audit_log",
    _TABLES,
    Column("id", Integer, primary_key=True),
    _now("timestamp"),
    Column("subdomain", Text, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("local_endpoint", Text, nullable=False),
    Column("client_ip", Text),
    Column("user_agent", Text),
    Column("connection_id", Text, nullable=False),
    Column("event_type", Text, server_default="connect"),
    _reference("user_id", "users.id", "SET NULL"),
    Column("username", Text),
    _reference("api_key_id", "api_keys.id", "SET NULL"),
    Column("additional_data", Text),
    Index(None, "timestamp", "id"),
    Index(None, "subdomain", "timestamp", "id"),
    Index(None, "event_type", "timestamp", "id"),
    Index(None, "user_id", "timestamp", "id"),
    Index(None, "api_key_id", "timestamp", "id"),
)

Table(
    "revoked_sessions",
    _TABLES,
    Column("jti", Text, primary_key=True),
    Column("user_id", Integer, nullable=False),
    _time("expires_at", nullable=False),
    Index(None, "expires_at"),
)

Table(
    "login_links",
    _TABLES,
    Column("token_hash", Text, primary_key=True),
    _reference("user_id", "users.id", "CASCADE", nullable=False),
    _time("created_at", nullable=False),
    _time("expires_at", nullable=False),
    _time("used_at"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)

Table(
    "device_logins",
    _TABLES,
    Column("code_hash", Text, primary_key=True),
    Column("user_code", Text, nullable=False, unique=True),
    Column("requested_by", Text, nullable=False),
    _reference("user_id", "users.id", "CASCADE"),
    _reference("tunnel_id", "tunnels.id", "CASCADE"),
    _time("created_at", nullable=False),
    _time("expires_at", nullable=False),
    _time("approved_at"),
    _time("claimed_at"),
    Index(None, "user_id"),
    Index(None, "tunnel_id"),
    Index(None, "expires_at"),
)

Table(
    "released_names",
    _TABLES,
    Column("subdomain", Text, primary_key=True),
    _time("released_at", nullable=False),
)


def upgrade() -> None:
    """Make every table, out of those of the older program where there are any."""
    connection = op.get_bind()
    if inspect(connection).has_table("users"):
        op.get_context().opts["notes"].extend(adopt(connection, _TABLES))
    else:
        _TABLES.create_all(connection, checkfirst=False)
