"""The servers that this user has logged in to, and the key for each. Used by the command line alone.

One JSON file of mode 0600 in the user's configuration. Rule: a key that others could have read is not used.
"""

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from terratunnel.client.config import parse_server_url
from terratunnel.errors import TerratunnelError

FILE_NAME: Final = "credentials.json"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class CredentialsError(TerratunnelError):
    """The file cannot be used; the sentence says why and what to do."""


@dataclass(frozen=True)
class Credentials:
    """What `login` got from a server."""

    server_url: str  # as it was given; the client connects to it
    api_key: str = field(repr=False)
    tunnel_url: str


def default_config_dir() -> Path | None:
    """Return the directory for this user's configuration (XDG Base Directory Specification); None without a home."""
    stated = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        base = stated if stated.is_absolute() else Path.home() / ".config"
    except RuntimeError:
        return None
    return base / "terratunnel"


def server_name(server_url: str) -> str:
    """Return the one name of a server, however its URL is written. Raises ConfigError."""
    address = parse_server_url(server_url)
    return f"{'https' if address.tls else 'http'}://{address.authority.decode().lower()}"


class CredentialStore:
    """The file. It is read at each call and put in place whole, so that nobody sees half of it.

    Without a directory nothing is kept.
    """

    def __init__(self, directory: Path | None) -> None:
        self.path: Path | None = directory / FILE_NAME if directory is not None else None

    def get(self, server_url: str) -> Credentials | None:
        """Return what is kept for a server. Raises CredentialsError or ConfigError."""
        return self._load().get(server_name(server_url))

    def latest(self) -> Credentials | None:
        """Return what is kept for the server of the latest login. Raises CredentialsError."""
        return next(reversed(self._load().values()), None)

    def put(self, credentials: Credentials) -> None:
        """Keep them in place of those for the same server. Raises CredentialsError."""
        name = server_name(credentials.server_url)
        known = self._load()
        known.pop(name, None)
        self._save(known | {name: credentials})

    def remove(self, server_url: str) -> Credentials | None:
        """Forget a server; return what was kept for it. Raises CredentialsError."""
        known = self._load()
        removed = known.pop(server_name(server_url), None)
        if removed is not None:
            self._save(known)
        return removed

    def prepare(self) -> Path:
        """Return the file, in a folder that can be written. Raises CredentialsError."""
        if self.path is None:
            raise CredentialsError("You have no home directory to keep a key in; set XDG_CONFIG_HOME to a folder.")
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CredentialsError(f"The folder {folder} for your keys cannot be made ({error.strerror}).") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise CredentialsError(f"The folder {folder} for your keys cannot be written; see whose it is.")
        return self.path

    def _load(self) -> dict[str, Credentials]:
        if self.path is None or not os.access(self.path.parent, os.X_OK):  # somebody else's home, as in containers
            return {}
        try:
            with self.path.open(encoding="utf-8") as file:
                _refuse_public(self.path, os.fstat(file.fileno()).st_mode)
                return _read(json.load(file))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CredentialsError(f"{self.path} cannot be read ({error.strerror}).") from error
        except (ValueError, TypeError, KeyError) as error:
            raise CredentialsError(
                f"{self.path} does not hold what terratunnel wrote; delete it and run: terratunnel login"
            ) from error

    def _save(self, known: Mapping[str, Credentials]) -> None:
        path = self.prepare()
        try:
            descriptor, scratch = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=path.parent)  # of mode 0600
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    json.dump({"servers": {name: asdict(each) for name, each in known.items()}}, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(scratch, path)
            except BaseException:
                Path(scratch).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise CredentialsError(f"The key cannot be kept in {path} ({error.strerror}).") from error


def _refuse_public(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & _OTHERS:
        raise CredentialsError(
            f"{path} holds keys and others may read it (mode {stat.S_IMODE(mode):04o}); if nobody has, run: "
            f"chmod 600 {path} (else delete it and run: terratunnel login)"
        )


def _read(stored: Any) -> dict[str, Credentials]:
    """Return what a file holds. Raises ValueError, TypeError or KeyError for what we did not write."""
    servers = stored["servers"]
    if not isinstance(servers, dict):
        raise TypeError(type(servers))
    known = {name: Credentials(**kept) for name, kept in servers.items()}
    for value in (value for each in known.values() for value in asdict(each).values()):
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ValueError(type(value))
    return known
