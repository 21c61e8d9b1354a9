"""Who does something, and from where. Used by accounts, the audit log, the acceptor and the pages.

Rule: an Actor exists only for somebody whose session or key was checked; it is never built from what a request says.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Origin:
    """Where a request came from: for the audit log and for counting tries, never for who somebody is."""

    address: str = ""
    user_agent: str = ""


@dataclass(frozen=True)
class Actor:
    """A user who has proved who they are: by the key `key_id`, or by the session `session_id`."""

    id: int
    username: str
    provider: str
    is_admin: bool = False
    email: str | None = None
    name: str | None = None
    avatar_url: str | None = None
    key_id: int | None = None
    session_id: str = ""
    expires_at: datetime | None = None  # of the session or the key
    origin: Origin = Origin()


# The person at the command line of the server's own machine, who could edit the database anyway.
OPERATOR_ID = 0
OPERATOR = Actor(OPERATOR_ID, "operator", "command line", is_admin=True)
