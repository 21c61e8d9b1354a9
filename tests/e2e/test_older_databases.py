"""A server that is started on a database of the older program: old keys connect, and old names are served.

The databases are made of the older program's CREATE TABLE statements, in each of its shapes.
"""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from terratunnel.client.app import ExitStatus
from tests.e2e.support.lab import Lab, port_of
from tests.e2e.support.processes import Program
from tests.server.storage import older

KEYS = {4: "a-key-that-was-replaced", 5: "the-old-key-of-ann", 9: "the-old-key-of-bob"}
# What of the names each shape knows. Without any, the user gets a new one.
NAMES: dict[str, tuple[str, str]] = dict.fromkeys(older.SHAPES, ("happy-panda-dancing", "gentle-tiger-swimming"))
NAMES |= {"without users.tunnel_subdomain": ("happy-panda-dancing", ""), "the oldest": ("", "")}


@pytest.fixture(params=older.SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(path: Path, shape: str) -> None:
    """A database with keys that are known here."""
    older.make(path, shape)
    with closing(sqlite3.connect(path)) as database:
        for key, plain in KEYS.items():
            hashed = hashlib.sha256(plain.encode()).hexdigest()
            database.execute("UPDATE api_keys SET key_hash = ? WHERE id = ?", (hashed, key))
        database.commit()


def start(lab: Lab, path: Path) -> Program:
    return lab.server("--db-path", str(path), env={"REQUIRE_AUTH_FOR_TUNNELS": "true"})


def connect(lab: Lab, server: Program, endpoint: str, key: int) -> Program:
    return lab.client(port_of(server), endpoint, env={"TERRATUNNEL_API_KEY": KEYS[key]})


def test_old_keys_connect_and_old_names_are_served(lab: Lab, shape: str) -> None:
    path, upstream = lab.folder / "older.db", lab.upstream()
    make(path, shape)
    server = start(lab, path)
    ann, bob = (connect(lab, server, upstream.url, key) for key in (5, 9))
    tunnel = lab.join(server, ann)
    found = [str(client.wait("online")["hostname"]).removesuffix(".localhost") for client in (ann, bob)]
    assert found == [old or new for old, new in zip(NAMES[shape], found, strict=True)]
    assert len(set(found)) == 2
    with tunnel.visit() as wire:
        wire.send(tunnel.post(b"hello", b"/hook"))
        service = upstream.next()
        assert service.read_request().body == b"hello"
        service.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert wire.read_response().status == 204
    assert connect(lab, server, upstream.url, 4).wait_end() == ExitStatus.REFUSED


def test_the_database_as_it_was_is_kept_beside_it_and_a_second_start_changes_nothing(lab: Lab) -> None:
    path = lab.folder / "older.db"
    make(path, "the oldest")
    servers = []
    for _ in range(2):
        server = start(lab, path)
        client = connect(lab, server, "http://127.0.0.1:1", 5)
        servers.append(client.wait("online")["hostname"])
        for program in (client, server):
            program.stop()
    assert servers[0] == servers[1]
    (backup,) = lab.folder.glob("older.db.backup-*")
    with closing(sqlite3.connect(backup)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"users", "api_keys", "tunnel_audit_log"}


def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(lab: Lab) -> None:
    path = lab.folder / "older.db"
    path.write_bytes(b"this is no database" * 1000)
    command = ("server", "--host", "127.0.0.1", "--port", "0", "--db-path", str(path))
    server = lab.start("server", *command)
    assert server.wait_end() == ExitStatus.ERROR
    assert server.log.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in server.log
    assert path.read_bytes() == b"this is no database" * 1000
