"""Runs queries on Postgres as a role of their own that can read our tables, without the secret columns, and no more.

Used by the browser. Rule: a role of its own connection, because whoever only has `SET ROLE` against them can reset it.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, text
from sqlalchemy import exc as sqlalchemy_exc

from terratunnel.errors import TerratunnelError
from terratunnel.server.control.sqlbrowser import answers
from terratunnel.server.control.sqlbrowser.answers import Answer, BrowserUnavailable, QueryRefused
from terratunnel.server.storage.connecting import postgres_once
from terratunnel.server.storage.failures import unavailable
from terratunnel.server.storage.models import Base

AT_ONCE: Final = 2
CONNECT_TIMEOUT_S: Final = 5.0
END_TIMEOUT_S: Final = 0.5
SETTINGS: Final = {
    "application_name": "terratunnel query box",
    "timezone": "UTC",
    "default_transaction_read_only": "on",
    "statement_timeout": f"{answers.TIME_LIMIT_S * 1_000:.0f}",
    "lock_timeout": "500",
    "idle_in_transaction_session_timeout": "5000",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
# Of a size that nobody can blow up; every other type is shown as text and cut.
FIXED_SIZE: Final = frozenset({"bool", "int2", "int4", "int8", "float4", "float8"})
ROWS_AT_A_TIME: Final = 25
SCRAM_ROUNDS: Final = 4_096  # Postgres's own number


class _RoleRefused(TerratunnelError):
    """The role's password is not accepted."""


class PostgresQueries:
    """The query box over a Postgres database."""

    def __init__(self, dsn: str, shown: str) -> None:
        self._dsn = dsn
        self._shown = shown
        self._password = secrets.token_hex(32)
        self._role = ""
        self._preparing = asyncio.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def query(self, sql: str) -> Answer:
        """Run one SELECT. Raises QueryRefused, BrowserUnavailable or StorageUnavailable."""
        async with self._turns:
            connection = await self._connected()
            try:
                async with asyncio.timeout(answers.TIME_LIMIT_S):
                    return await _run(connection, sql)
            except (TimeoutError, asyncpg.QueryCanceledError) as error:
                raise QueryRefused(answers.TOO_LONG) from error
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                raise QueryRefused(_sentence_of(error)) from error
            finally:
                await _end(connection)

    async def _connected(self) -> Any:
        async with self._preparing:
            if self._role:
                try:
                    return await self._connect()
                except _RoleRefused:
                    pass  # another node has set its own password since
            self._role = await self._make_role()
            try:
                return await self._connect()
            except _RoleRefused as error:
                raise BrowserUnavailable(
                    f"The query box may not sign in to the database as {self._role}; its operator has to let that role "
                    "in by password (pg_hba.conf)."
                ) from error

    async def _connect(self) -> Any:
        with unavailable(self._shown):
            try:
                return await asyncpg.connect(
                    self._dsn,
                    user=self._role,
                    password=self._password,
                    timeout=CONNECT_TIMEOUT_S,
                    statement_cache_size=0,
                    server_settings=SETTINGS,
                )
            except asyncpg.InvalidAuthorizationSpecificationError as error:
                raise _RoleRefused(str(error)) from error

    async def _make_role(self) -> str:
        with unavailable(self._shown):
            async with postgres_once(self._dsn) as connection:
                try:
                    role = await connection.run_sync(_grant, _scram(self._password))
                    await connection.commit()
                except sqlalchemy_exc.ProgrammingError as error:
                    raise BrowserUnavailable(
                        "The query box needs a database role of its own, and the server may not create one; its "
                        "operator has to run: ALTER ROLE … CREATEROLE"
                    ) from error
        return role


def _grant(connection: Connection, password: str) -> str:
    """Make the role, unless it is there, and let it read what it may; returns its name."""
    # The id of the database, because roles belong to all databases of a Postgres server together.
    oid, schema = connection.execute(
        text("SELECT oid, current_schema() FROM pg_database WHERE datname = current_database()")
    ).one()
    role = f"terratunnel_query_{oid}"
    quote = connection.dialect.identifier_preparer.quote
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": oid})
    if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}) is None:
        connection.execute(text(f"CREATE ROLE {role} LOGIN NOINHERIT CONNECTION LIMIT 10"))
    connection.exec_driver_sql(f"ALTER ROLE {role} PASSWORD '{password}'")
    database = connection.scalar(text("SELECT current_database()"))
    connection.execute(text(f"GRANT CONNECT ON DATABASE {quote(database)} TO {role}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {role}"))
    for table in Base.metadata.sorted_tables:
        columns = ", ".join(quote(column.name) for column in table.columns if column.name not in answers.SECRET_COLUMNS)
        connection.execute(text(f"REVOKE ALL ON {quote(schema)}.{quote(table.name)} FROM {role}"))
        connection.execute(text(f"GRANT SELECT ({columns}) ON {quote(schema)}.{quote(table.name)} TO {role}"))
    return role


def _scram(password: str) -> str:
    """Return a password as Postgres stores it (RFC 5802), so that the password itself is in no log."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${SCRAM_ROUNDS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


async def _run(connection: Any, sql: str) -> Answer:
    await connection.transaction(isolation="repeatable_read", readonly=True).start()  # ends with the connection
    # By itself first: only a whole query, and one alone, may stand between the brackets below.
    attributes = (await connection.prepare(sql)).get_attributes()
    if not attributes:
        raise QueryRefused("The query box takes one SELECT.")
    if len(attributes) > answers.MAX_COLUMNS:
        raise QueryRefused(f"The query has more than {answers.MAX_COLUMNS} columns.")
    statement = await connection.prepare(_bounded(sql, [attribute.type for attribute in attributes]))
    columns = [attribute.name for attribute in attributes]
    rows: list[list[answers.Cell]] = []
    left = answers.MAX_ANSWER_CHARS
    async for record in statement.cursor(prefetch=ROWS_AT_A_TIME):
        if len(rows) == answers.MAX_ROWS or left <= 0:
            return Answer(columns, rows, truncated=True)
        rows.append([answers.cell(value) for value in record])
        left -= answers.size_of(rows[-1])
    return Answer(columns, rows)


async def _end(connection: Any) -> None:
    """End a connection, and first a statement that still runs on it: one that has set its own `statement_timeout`
    would run for ever. Nothing of the transaction is kept.
    """
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            await connection.close()  # it waits for the cancelling that the end of our time has begun
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()


def _bounded(sql: str, types: Sequence[Any]) -> str:
    """Return the query with its values cut where they are made; only a SELECT can stand here."""
    columns = [
        f"c{number}" if kind.name in FIXED_SIZE else f"left(c{number}::text, {answers.MAX_CELL_CHARS + 1})"
        for number, kind in enumerate(types)
    ]
    names = ", ".join(f"c{number}" for number in range(len(types)))
    return f"SELECT {', '.join(columns)} FROM (\n{sql}\n) AS answer({names}) LIMIT {answers.MAX_ROWS + 1}"


def _sentence_of(error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, asyncpg.InternalClientError):
        return "A column has a type that cannot be shown; write it as: column::text"
    if isinstance(error, asyncpg.InsufficientPrivilegeError) and "for table" in said:
        hidden = ", ".join(sorted(answers.SECRET_COLUMNS))
        return f"Postgres says: {said}. Name the columns that you want; these are never shown: {hidden}."
    return f"Postgres says: {said}."
