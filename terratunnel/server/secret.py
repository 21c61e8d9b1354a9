"""The secret that signs sessions and tokens. Used by `app` when it builds a server.

Rule (security.md A3): a secret that others may know is none; the server does not start with it.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from terratunnel.server.config import ConfigError, ServerConfig

MIN_SECRET_BYTES: Final = 32
# A random secret of 32 hexadecimal digits has fewer than 8 different ones once in 10^6 times.
MIN_DIFFERENT_BYTES: Final = 8
# Parts of what examples and older programs have in place of a secret; no random one spells them.
_PLACEHOLDERS: Final = (
    b"changeme",
    b"changethis",
    b"inproduction",
    b"yoursecure",
    b"yoursecret",
    b"yourjwt",
    b"example",
)
_MAKE_ONE: Final = "set it to the output of: openssl rand -hex 32"


def server_secret(config: ServerConfig) -> bytes:
    """Return the secret: JWT_SECRET, which must be set in production; on localhost one is made and kept beside the
    database.

    Raises ConfigError.
    """
    if config.secret:
        return _checked(config.secret.encode())
    if not config.is_local:
        raise ConfigError(f"JWT_SECRET is not set; {_MAKE_ONE}")
    path = Path(config.db_path).with_suffix(".secret")
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return _made(path)
    except OSError as error:
        raise ConfigError(f"The secret in {path} cannot be read ({error.strerror}).") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(f"The secret in {path} is damaged; delete the file, and everybody signs in again.")
    return secret


def _checked(secret: bytes) -> bytes:
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(f"JWT_SECRET is shorter than {MIN_SECRET_BYTES} bytes; {_MAKE_ONE}")
    letters = bytes(byte for byte in secret.lower() if chr(byte).isalnum())
    if len(set(secret)) < MIN_DIFFERENT_BYTES or any(placeholder in letters for placeholder in _PLACEHOLDERS):
        raise ConfigError(f"JWT_SECRET is the text of an example, which others know as well; {_MAKE_ONE}")
    return secret


def _made(path: Path) -> bytes:
    secret = secrets.token_hex(MIN_SECRET_BYTES).encode()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
    except OSError as error:
        raise ConfigError(f"The secret cannot be kept in {path} ({error.strerror}); name another --db-path.") from error
    return secret
