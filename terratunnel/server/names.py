"""Names of tunnels and of users: how they are made, which are allowed, and the token that keeps an anonymous one.

Used by the authenticators. A name is one DNS label of lower-case letters, digits and hyphens (`security.md` A6).
"""

import base64
import hashlib
import hmac
import re
from typing import Final

RESERVED: Final = frozenset(
    (
        *("www", "api", "admin", "auth", "login", "app", "status", "static", "assets", "cdn", "blog", "docs", "help"),
        *("mail", "smtp", "imap", "pop", "ftp", "ns", "ns1", "ns2", "mx", "dns", "autoconfig", "autodiscover"),
        *("wpad", "isatap", "localhost", "root", "support", "security"),
        *("abuse", "postmaster", "hostmaster", "webmaster"),
    )
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# What GitHub and GitLab allow. A user's name decides who is an administrator: nothing that only looks like one passes.
_USERNAME: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_SIGNATURE_BYTES: Final = 32


def is_valid_name(name: str) -> bool:
    """Whether a name may be a tunnel's: a DNS label, not reserved, not an IDN in disguise."""
    return bool(_LABEL.fullmatch(name)) and name not in RESERVED and name[2:4] != "--"


def is_valid_username(name: str) -> bool:
    """Whether a user may have this name."""
    return bool(_USERNAME.fullmatch(name))


def new_name() -> str:
    """Return three words nobody has chosen: about 10^8 of them, so two agents do not meet by chance."""
    # Imported here: its word lists take a moment, and a server with accounts may never need them.
    from coolname import generate_slug

    return str(generate_slug(3))


class NameTokens:
    """Signs the name of an anonymous agent (HMAC-SHA256), so that it can claim it again after a restart of either
    side.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(b"terratunnel anonymous name\0" + secret).digest()

    def token_for(self, name: str) -> str:
        """Return the token that claims a name."""
        return base64.urlsafe_b64encode(self._sign(name.encode()) + name.encode()).decode()

    def name_in(self, token: str) -> str | None:
        """Return the name a token claims, or None when this server did not sign it."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except ValueError:
            return None
        signature, name = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        return name.decode("ascii") if name and hmac.compare_digest(signature, self._sign(name)) else None

    def _sign(self, name: bytes) -> bytes:
        return hmac.digest(self._key, name, "sha256")
