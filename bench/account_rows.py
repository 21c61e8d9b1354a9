"""The row `accounts`: each page on a large database beside the same page on an empty one.

Used by `bench.__main__`. Two servers of their own, on SQLite; the empty one stands where two hops stand in other rows.
"""

from __future__ import annotations

import hashlib
import http.client
import sqlite3
import statistics
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from bench.errors import BenchError
from bench.figures import OURS, REFERENCE, ratio_at_most
from bench.lab import Lab, say
from bench.product import Product, Server

USERS: Final = 10_000
EVENTS: Final = 1_000_000
FLOOR: Final = 3.0
# Of one page in one burst: enough for a median, few enough for many pages.
LOADS: Final = 15
ADMIN: Final = "bench"
TOKEN: Final = "the one-time link of the benchmark"
SOMEBODY: Final = "user-5000"
PAGES: Final = (
    "/",
    "/tunnels/1/keys/new",
    "/admin/users",
    "/admin/users?page=200",
    f"/admin/users?search={SOMEBODY}",
    "/admin/users/1",
    "/admin/audit",
    "/admin/audit?event=connect",
    "/admin/audit?subdomain=name-1",
    f"/admin/audit?user={ADMIN}",
    "/admin/database",
    "/admin/database?table=tunnel_audit_log",
    f"/admin/database?table=tunnel_audit_log&before={EVENTS // 2}",
    "/api/tunnels",
    "/api/admin/live",
    "/api/admin/db/tables",
)

# The administrator and their tunnel, as in every database; then everybody else.
_BEGIN: Final = (
    "INSERT INTO users (id, auth_provider, provider_user_id, provider_username) VALUES (1, 'local', :name, :name)",
    "INSERT INTO tunnels (id, user_id, subdomain) VALUES (1, 1, 'name-1')",
    """INSERT INTO login_links (token_hash, user_id, created_at, expires_at)
       VALUES (:hash, 1, '2020-01-01 00:00:00', '2099-01-01 00:00:00')""",
)
_NUMBERS: Final = "WITH RECURSIVE numbers(n) AS (SELECT {0} UNION ALL SELECT n + 1 FROM numbers WHERE n < {1})"
_FILL: Final = (
    f"""{_NUMBERS.format(2, USERS)} INSERT INTO users
        (id, auth_provider, provider_user_id, provider_username, email, name, tunnel_subdomain)
        SELECT n, 'github', n, 'user-' || n, 'user-' || n || '@example.com', 'User ' || n, 'name-' || n FROM numbers""",
    f"""{_NUMBERS.format(2, USERS)} INSERT INTO tunnels (id, user_id, subdomain)
        SELECT n, n, 'name-' || n FROM numbers""",
    f"""{_NUMBERS.format(1, USERS)} INSERT INTO api_keys (id, user_id, tunnel_id, key_hash, key_prefix)
        SELECT n, n, n, 'hash-' || n, 'tt_' || n FROM numbers""",
    f"""{_NUMBERS.format(1, EVENTS)} INSERT INTO tunnel_audit_log
        (timestamp, subdomain, hostname, local_endpoint, client_ip, user_agent, connection_id, event_type, user_id,
         username, api_key_id, additional_data)
        SELECT datetime('2026-01-01', '+' || n || ' seconds'), 'name-' || (1 + n % {USERS}),
         'name-' || (1 + n % {USERS}) || '.localhost', 'http://localhost:3000', '192.0.2.' || (n % 256),
         'terratunnel/1.0 (Linux) Python/3.11.7', 'connection-' || (n / 2),
         iif(n / {USERS} % 2, 'disconnect', 'connect'), 1 + n % {USERS},
         'user-' || (1 + n % {USERS}), 1 + n % {USERS}, '{{"requests": 12, "bytes_in": 3456, "bytes_out": 78901}}'
        FROM numbers""",
)


class Site:
    """A server, and the administrator's session on one connection to it."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._host = f"localhost:{server.port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self._fields: dict[str, str] = {"Accept": "text/html"}

    def sign_in(self) -> None:
        """Use the one-time link."""
        fields = {"Origin": f"http://{self._host}", "Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/auth/link", urlencode({"token": TOKEN}), {"Host": self._host, **fields})
        response = self._connection.getresponse()
        response.read()
        if response.status != 303:
            raise BenchError(f"the administrator of the {self.name} cannot sign in: status {response.status}")
        self._fields["Cookie"] = response.headers["Set-Cookie"].partition(";")[0]

    def median_ms(self, path: str) -> float:
        """How long a page takes, from the request to the last byte."""
        return statistics.median(self._load_ms(path) for _ in range(LOADS))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _load_ms(self, path: str) -> float:
        before = time.perf_counter()
        self._connection.request("GET", path, headers={"Host": self._host, **self._fields})
        response = self._connection.getresponse()
        response.read()
        if response.status != 200:
            raise BenchError(f"{path} of the {self.name} answers {response.status}")
        return (time.perf_counter() - before) * 1000


def accounts(lab: Lab) -> None:
    """Each page with 10,000 users and a million events."""
    figures = {
        path: lab.figures.add(f"accounts{path}", f"{path}: large database / empty one", "ms", ratio_at_most(FLOOR))
        for path in PAGES
    }
    if lab.product is None:
        return
    with ExitStack() as stack:
        sites = [_site(lab, lab.product, stack, name) for name in (REFERENCE, OURS)]
        for cycle in range(lab.cycles):
            for path, figure in figures.items():
                for site in sites if cycle % 2 else sites[::-1]:
                    figure.record(site.name, _measured(lab, site, path))
    say("accounts: " + "; ".join(f"{path} {max(figure.ratios()):.2f}" for path, figure in figures.items()))


def _measured(lab: Lab, site: Site, path: str) -> float | None:
    try:
        return site.median_ms(path)
    except (BenchError, OSError, http.client.HTTPException) as error:
        lab.failures.append(f"accounts, {site.name}: {error}")
        return None


def _site(lab: Lab, product: Product, stack: ExitStack, name: str) -> Site:
    env = product.env | {"TERRATUNNEL_LOCAL_ADMIN_USERS": ADMIN}
    server = Product(product.python, env, product.compiled).start_server(lab.folder, stack)
    began = time.monotonic()
    _fill(lab.folder / f"{server.port}.db", _FILL if name == OURS else ())
    say(f"accounts: filled a database in {time.monotonic() - began:.0f} s")
    site = Site(name, server)
    stack.callback(site.close)
    site.sign_in()
    return site


def _fill(path: Path, statements: tuple[str, ...]) -> None:
    """Fill the database of a running server."""
    values = {"name": ADMIN, "hash": hashlib.sha256(TOKEN.encode()).hexdigest()}
    with closing(sqlite3.connect(path, timeout=10)) as database:
        database.execute("PRAGMA cache_size = -262144")
        for statement in _BEGIN:
            database.execute(statement, values if ":" in statement.partition("VALUES")[2] else {})
        for statement in statements:
            database.execute(statement)
        database.commit()
