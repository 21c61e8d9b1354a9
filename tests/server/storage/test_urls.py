"""URLs of databases: what they mean, and what is refused without telling a password."""

import re
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


@pytest.mark.parametrize("letter", "/?#[]@")
def test_a_password_that_is_not_escaped_is_refused_and_not_repeated(letter: str) -> None:
    with pytest.raises(DatabaseURLInvalid, match="write / as %2F") as refused:
        locate(f"postgresql://ann:mother{letter}father@db.example.com/tunnels")
    assert not re.search("ann|mother|father", str(refused.value))


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(DatabaseURLInvalid, match="TERRATUNNEL_DATABASE_URL is not like"):
        locate("postgresql://[::1/tunnels")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@db.example.com:5432/tunnels?password=secret", "db.example.com/tunnels"),
        ("postgresql://ann:%2F%40@[::1]:5432/tunnels", "::1/tunnels"),
        ("postgresql://ann:secret@one:5432,two:5433/tunnels", "one/tunnels"),
        ("postgresql:///tunnels?host=/run/postgresql", "localhost/tunnels"),
        ("sqlite:////data/a%20b.db", "/data/a b.db"),
    ],
)
def test_what_is_shown_has_no_password(url: str, shown: str) -> None:
    assert locate(url).shown == shown


def test_nothing_in_a_path_is_taken_for_a_parameter() -> None:
    assert sqlite_uri(Path("a?mode=memory#b%"), "ro") == "file:a%3Fmode%3Dmemory%23b%25?mode=ro"
