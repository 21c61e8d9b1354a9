"""URLs of databases: what they mean, and what is refused without telling a password."""

from pathlib import Path

import pytest

from terratunnel.server.storage.errors import DatabaseURLInvalid
from terratunnel.server.storage.urls import database_url, locate, sqlite_uri


@pytest.mark.parametrize("path", ["terratunnel.db", "/data/terratunnel.db", "a folder/100% ours?#.db", "ünïcode.db"])
def test_a_path_comes_back_out_of_its_url(path: str) -> None:
    assert locate(database_url(path)).path == Path(path)


def test_a_configured_url_goes_first() -> None:
    assert database_url("terratunnel.db", "postgresql://host/name") == "postgresql://host/name"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_postgres_has_two_names(scheme: str) -> None:
    location = locate(f"{scheme}://ann:secret@db.example.com/tunnels?sslmode=require")
    assert location.path is None
    assert location.dsn == "postgresql://ann:secret@db.example.com/tunnels?sslmode=require"


@pytest.mark.parametrize(
    "url",
    [
        *("", "terratunnel.db", "mysql://host/name", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://a.db"),
        *("sqlite:///a.db?mode=memory", "sqlite:///a.db#b", "postgresql+asyncpg://host/name", "postgresql:host"),
    ],
)
def test_what_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(DatabaseURLInvalid, match="TERRATUNNEL_DATABASE_URL is not like"):
        locate(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db.example.com:5432/tunnels?password=secret", "db.example.com/tunnels"),
        ("postgresql:///tunnels?host=/run/postgresql", "localhost/tunnels"),
        ("sqlite:////data/a%20b.db", "/data/a b.db"),
    ],
)
def test_what_is_shown_has_no_password(url: str, shown: str) -> None:
    assert locate(url).shown == shown


def test_nothing_in_a_path_is_taken_for_a_parameter() -> None:
    assert sqlite_uri(Path("a?mode=memory#b%"), "ro") == "file:a%3Fmode%3Dmemory%23b%25?mode=ro"
