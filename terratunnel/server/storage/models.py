"""The tables. The first four are the guide's, column by column, because people query them by hand; the rest are ours.

Used by the repositories of this package. Rule: a change here comes with a migration, and a test compares the two.
"""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, MetaData, Text, UniqueConstraint, func, true
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from terratunnel.server.storage.timestamps import UtcTime

# Names of constraints, so that a later migration can speak of them on both databases.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What every table shares."""

    metadata = MetaData(naming_convention=NAMING)


class User(Base):
    """Somebody who has signed in, or whom an operator has made."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("auth_provider", "provider_user_id"),
        UniqueConstraint("auth_provider", "provider_username"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    auth_provider: Mapped[str] = mapped_column(Text)
    provider_user_id: Mapped[str] = mapped_column(Text)
    provider_username: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    avatar_url: Mapped[str | None] = mapped_column(Text)
    # The name of the user's first tunnel. Of the older program; kept in step because people look here by hand.
    tunnel_subdomain: Mapped[str | None] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, nullable=True, server_default=func.current_timestamp())
    updated_at: Mapped[datetime] = mapped_column(UtcTime, nullable=True, server_default=func.current_timestamp())
    is_active: Mapped[bool] = mapped_column(Boolean, nullable=True, server_default=true())


class Tunnel(Base):
    """A reserved public name and whose it is."""

    __tablename__ = "tunnels"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    subdomain: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, nullable=True, server_default=func.current_timestamp())
    is_active: Mapped[bool] = mapped_column(Boolean, nullable=True, server_default=true())


class ApiKey(Base):
    """A key of a tunnel, as its SHA-256."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "user_id"), Index(None, "tunnel_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    tunnel_id: Mapped[int | None] = mapped_column(ForeignKey("tunnels.id"))
    key_hash: Mapped[str] = mapped_column(Text, unique=True)
    key_prefix: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(Boolean, nullable=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(UtcTime, nullable=True, server_default=func.current_timestamp())
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    scopes: Mapped[str | None] = mapped_column(Text, server_default="tunnel:create")


class TunnelAuditLog(Base):
    """One thing that happened."""

    __tablename__ = "tunnel_audit_log"
    # Each filter of the admin pages reads its newest rows from one of these, however long the log is.
    __table_args__ = (
        Index(None, "timestamp", "id"),
        Index(None, "subdomain", "timestamp", "id"),
        Index(None, "event_type", "timestamp", "id"),
        Index(None, "user_id", "timestamp", "id"),
        Index(None, "api_key_id", "timestamp", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    timestamp: Mapped[datetime] = mapped_column(UtcTime, nullable=True, server_default=func.current_timestamp())
    subdomain: Mapped[str] = mapped_column(Text)
    hostname: Mapped[str] = mapped_column(Text)
    local_endpoint: Mapped[str] = mapped_column(Text)
    client_ip: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    connection_id: Mapped[str] = mapped_column(Text)
    event_type: Mapped[str | None] = mapped_column(Text, server_default="connect")
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    username: Mapped[str | None] = mapped_column(Text)
    api_key_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id", ondelete="SET NULL"))
    additional_data: Mapped[str | None] = mapped_column(Text)


class RevokedSession(Base):
    """A session that ended before its token expires. It outlives its user, so it names no row of `users`."""

    __tablename__ = "revoked_sessions"

    jti: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)


class LoginLink(Base):
    """A sign-in link that works once, as the SHA-256 of its token."""

    __tablename__ = "login_links"

    token_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)


class DeviceLogin(Base):
    """A `terratunnel login` that waits for its approval in a browser; the key is made when it is claimed."""

    __tablename__ = "device_logins"

    code_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    user_code: Mapped[str] = mapped_column(Text, unique=True)
    requested_by: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    tunnel_id: Mapped[int | None] = mapped_column(ForeignKey("tunnels.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    approved_at: Mapped[datetime | None] = mapped_column(UtcTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class ReleasedName(Base):
    """A name that was somebody's; nobody gets it before its quarantine is over."""

    __tablename__ = "released_names"

    subdomain: Mapped[str] = mapped_column(Text, primary_key=True)
    released_at: Mapped[datetime] = mapped_column(UtcTime)
