"""Which database a server uses: a SQLite file or Postgres. Used by the engine, migrations and the command line.

Rule: a URL is `sqlite:///path` or `postgresql://…`; a password never appears in a message.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote, urlsplit

from terratunnel.server.storage.errors import DatabaseURLInvalid

_POSTGRES: Final = ("postgresql", "postgres")
_HINT: Final = (
    "TERRATUNNEL_DATABASE_URL is not like postgresql://user:password@host/database or sqlite:///terratunnel.db"
)
_ESCAPE: Final = "; in a user name or password write / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D and @ as %40."
_UNESCAPED: Final = re.compile(r"[/?#\[\]@]")
# Neither SQLite's database in memory, which every connection would have for itself, nor parameters.
_PATH: Final = re.compile(r"/(?!:memory:)[^?#]+")


@dataclass(frozen=True)
class Location:
    """Where a database is: `path` for SQLite, `dsn` for Postgres."""

    path: Path | None
    dsn: str = ""

    @property
    def shown(self) -> str:
        """What may be written into a message."""
        if self.path is not None:
            return str(self.path)
        parts = urlsplit(self.dsn)
        return f"{parts.hostname or 'localhost'}{parts.path}"


def database_url(db_path: str, configured: str = "") -> str:
    """Return the URL of the server's database: TERRATUNNEL_DATABASE_URL, else the SQLite file at `db_path`."""
    return configured or f"sqlite:///{quote(db_path)}"


def locate(url: str) -> Location:
    """Read a URL; raises DatabaseURLInvalid."""
    scheme, _, rest = url.partition("://")
    if scheme in _POSTGRES:
        return Location(None, _checked_dsn(f"postgresql://{rest}"))
    if scheme == "sqlite" and _PATH.fullmatch(rest):
        return Location(Path(unquote(rest[1:])))
    raise DatabaseURLInvalid(f"{_HINT}.")


def invalid_dsn() -> DatabaseURLInvalid:
    """Return the error for a URL that cannot be understood, which repeats nothing of it: any part may be a password."""
    return DatabaseURLInvalid(_HINT + _ESCAPE)


def _checked_dsn(dsn: str) -> str:
    # A reader of URLs would take what follows one of these in a password for a port, a database or an option.
    secrets, found, _ = dsn.removeprefix("postgresql://").rpartition("@")
    if found and _UNESCAPED.search(secrets):
        raise invalid_dsn()
    try:
        urlsplit(dsn)
    except ValueError:
        raise invalid_dsn() from None
    return dsn


def sqlite_uri(path: Path, mode: Literal["ro", "rw"]) -> str:
    """Return SQLite's own name of a file that must exist."""
    return f"file:{quote(str(path))}?mode={mode}"
