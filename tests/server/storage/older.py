"""Databases as the older program left them, in each of its shapes, made of its CREATE TABLE statements.

Used by the tests of migrations. Rule: what a shape lacks is left out; the rest is as the guide prints it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

USERS = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    auth_provider TEXT NOT NULL,
    provider_user_id TEXT NOT NULL,
    provider_username TEXT NOT NULL,
    email TEXT,
    name TEXT,
    avatar_url TEXT,
    tunnel_subdomain TEXT UNIQUE,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    is_active BOOLEAN DEFAULT 1,
    UNIQUE(auth_provider, provider_user_id),
    UNIQUE(auth_provider, provider_username)
);
"""
TUNNELS = """
CREATE TABLE tunnels (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    subdomain TEXT UNIQUE NOT NULL,
    name TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    is_active BOOLEAN DEFAULT 1,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
"""
API_KEYS = """
CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    tunnel_id INTEGER REFERENCES tunnels(id),
    key_hash TEXT NOT NULL UNIQUE,
    key_prefix TEXT NOT NULL,
    name TEXT,
    is_active BOOLEAN DEFAULT 1,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    last_used_at TIMESTAMP,
    expires_at TIMESTAMP,
    scopes TEXT DEFAULT 'tunnel:create',
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);
CREATE INDEX idx_api_keys_hash ON api_keys(key_hash);
"""
AUDIT = """
CREATE TABLE tunnel_audit_log (
    id INTEGER PRIMARY KEY,
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    subdomain TEXT NOT NULL,
    hostname TEXT NOT NULL,
    local_endpoint TEXT NOT NULL,
    client_ip TEXT,
    user_agent TEXT,
    connection_id TEXT NOT NULL,
    event_type TEXT DEFAULT 'connect',
    user_id INTEGER,
    username TEXT,
    api_key_id INTEGER,
    additional_data TEXT,
    FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE SET NULL,
    FOREIGN KEY (api_key_id) REFERENCES api_keys(id) ON DELETE SET NULL
);
"""

# shape -> the lines of the statements above that it lacks
SHAPES = {
    "of the guide": (),
    "without users.tunnel_subdomain": ("tunnel_subdomain",),
    "without api_keys.tunnel_id": ("tunnel_id",),
    "without tunnel_audit_log.username": (" username",),
    "without tunnels": ("tunnels", "tunnel_id"),
    "the oldest": ("tunnels", "tunnel_id", "tunnel_subdomain", " username"),
}


def make(path: Path, shape: str = "of the guide") -> None:
    """Make a database with two users, three keys and two lines of the log."""
    lacking = SHAPES[shape]
    with closing(sqlite3.connect(path)) as database:
        for statement in (USERS, TUNNELS, API_KEYS, AUDIT):
            if not ("tunnels" in lacking and statement is TUNNELS):
                database.executescript(_without(statement, lacking))
        _fill(database, lacking)
        database.commit()


def _without(statement: str, lacking: tuple[str, ...]) -> str:
    columns = [name for name in lacking if name != "tunnels"]
    return "\n".join(
        line for line in statement.splitlines() if not any(f" {name.strip()} " in line for name in columns)
    )


def _fill(database: sqlite3.Connection, lacking: tuple[str, ...]) -> None:
    named = "tunnel_subdomain" not in lacking
    for user, username, subdomain in ((3, "ann", "happy-panda-dancing"), (7, "bob", "gentle-tiger-swimming")):
        row = {
            "id": user,
            "auth_provider": "github",
            "provider_user_id": str(1000 + user),
            "provider_username": username,
            "email": f"{username}@example.com",
            "created_at": "2024-12-01 10:00:00",
        }
        _insert(database, "users", row | ({"tunnel_subdomain": subdomain} if named else {}))
    if "tunnels" not in lacking:
        tunnel = {"id": 2, "user_id": 3, "subdomain": "happy-panda-dancing", "name": "Main"}
        _insert(database, "tunnels", tunnel)
    for key, user, active, tied in ((4, 3, 0, 2), (5, 3, 1, 2), (9, 7, 1, None)):
        row = {"id": key, "user_id": user, "key_hash": f"hash-{key}", "key_prefix": f"pre-{key}", "is_active": active}
        row |= {"last_used_at": "2025-01-02T03:04:05.678901"} if key == 5 else {}
        _insert(database, "api_keys", row | ({"tunnel_id": tied} if "tunnel_id" not in lacking else {}))
    lines: tuple[tuple[int, int | None, str | None], ...] = ((1, 3, "192.0.2.1"), (2, None, None))
    for line, user_id, address in lines:
        row = {
            "id": line,
            "subdomain": "happy-panda-dancing",
            "hostname": "happy-panda-dancing.example.com",
            "local_endpoint": "http://localhost:3000",
            "connection_id": f"connection-{line}",
            "client_ip": address,
            "user_id": user_id,
            "api_key_id": 5 if user_id else None,
        }
        _insert(database, "tunnel_audit_log", row | ({"username": "ann"} if " username" not in lacking else {}))


def _insert(database: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    marks = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
