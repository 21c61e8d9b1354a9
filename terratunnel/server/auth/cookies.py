"""Cookies of the server's own pages. Used by the sessions and by the sign-in.

Rule (security.md A1): a sibling's page may set cookies of any name for us, so one that comes twice counts as none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# What browsers keep of one cookie (RFC 6265 §6.1); a longer one is nobody's.
MAX_VALUE_CHARS: Final = 4_096
HOST_PREFIX: Final = "__Host-"


@dataclass(frozen=True)
class SetCookie:
    """A cookie for the whole site, and for it alone: there is no Domain. An empty value takes it away."""

    name: str
    value: str
    max_age_s: int
    secure: bool

    def header(self) -> str:
        """Return the value of the Set-Cookie field."""
        secure = "; Secure" if self.secure else ""
        age = self.max_age_s if self.value else 0
        return f"{self.name}={self.value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"


def cookie_name(name: str, secure: bool) -> str:
    """Return the name under which browsers promise that the cookie is ours; over plain http they take no such."""
    return f"{HOST_PREFIX}{name}" if secure else name


def value_of(fields: Iterable[str], name: str) -> str | None:
    """Return the value of a cookie in the Cookie fields of a request; None when it is absent, double or too long."""
    found = None
    for field in fields:
        for pair in field.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                if found is not None:
                    return None
                found = value
    return found if found and len(found) <= MAX_VALUE_CHARS else None
