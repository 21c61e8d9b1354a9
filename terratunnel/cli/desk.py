"""Where an operator works: the server's database, opened beside a server that may be running. Used by `cli.admin`.

Rule: everything goes through the rules of accounts and into the audit log; only a database of this very version is
worked on, and none is made by a slip in its path.
"""

import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from terratunnel.cli import options
from terratunnel.cli.answers import Answer
from terratunnel.errors import TerratunnelError

if TYPE_CHECKING:
    from terratunnel.server.auditing import AuditLog
    from terratunnel.server.storage.engine import Database
    from terratunnel.server.storage.models import Tunnel, User
    from terratunnel.server.tunnels import Accounts

Work = Callable[..., Coroutine[Any, Any, Answer]]


class AdminError(TerratunnelError):
    """What the operator asked for is not done; the sentence says why."""


@dataclass(frozen=True)
class Desk:
    """The database, its rules and its audit log."""

    database: "Database"
    accounts: "Accounts"
    audit: "AuditLog"

    async def user(self, name: str) -> "User":
        """Return the user of a name: `alice`, or `github/alice` where several providers have one."""
        from terratunnel.server.storage.overview import Overview

        provider, _, username = name.rpartition("/")
        async with self.database.reading() as session:
            found = await Overview(session).users_named(username, provider)
        if not found:
            raise AdminError(f"There is no user {name}; see: terratunnel admin user list")
        if len(found) > 1:
            names = " or ".join(f"{user.auth_provider}/{user.provider_username}" for user in found)
            raise AdminError(f"There are {len(found)} users of the name {username}; say which: {names}")
        return found[0]

    async def tunnel(self, subdomain: str) -> "Tunnel":
        """Return the tunnel of a name."""
        from terratunnel.server.storage.tunnels import Tunnels

        async with self.database.reading() as session:
            found = await Tunnels(session).by_subdomain(subdomain.lower())
        if found is None:
            raise AdminError(f"There is no tunnel {subdomain}; see: terratunnel admin tunnel list")
        return found

    async def tunnel_of(self, user: "User", subdomain: str | None) -> "Tunnel":
        """Return a user's tunnel: the only one, or the one of a name."""
        from terratunnel.server.storage.tunnels import Tunnels

        async with self.database.reading() as session:
            tunnels = await Tunnels(session).of_user(user.id)
        found = [tunnel for tunnel in tunnels if subdomain in (None, tunnel.subdomain)]
        name = user.provider_username
        if not found:
            raise AdminError(f"{name} has no tunnel{f' {subdomain}' if subdomain else ''}.")
        if len(found) > 1:
            names = ", ".join(tunnel.subdomain for tunnel in found)
            raise AdminError(f"{name} has {len(found)} tunnels; say which with --tunnel: {names}")
        return found[0]


def at_desk(work: Work) -> Callable[..., None]:
    """Make a command of work that is done at a desk."""

    async def opened(url: str, **given: Any) -> Answer:
        async with desk(url) as opened_desk:
            return await work(opened_desk, **given)

    return on_database(functools.wraps(work)(opened))


def on_database(work: Work) -> Callable[..., None]:
    """Make a command of work on the database of a URL: it has the options for that, and shows the answer."""

    @options.database_option
    @options.output_option
    @functools.wraps(work)
    def command(db_path: str, output: str, **given: Any) -> None:
        from terratunnel.cli.accounts import database_variable
        from terratunnel.cli.running import run
        from terratunnel.cli.server import database_in_full
        from terratunnel.server.storage.urls import database_url

        with database_in_full():
            answer: Answer = run(work(database_url(db_path, database_variable()), **given))
        answer.show(output)
        click.get_current_context().exit(answer.status)

    return command


@asynccontextmanager
async def desk(url: str) -> AsyncIterator[Desk]:
    """Open a database. Raises AdminError or StorageError."""
    from terratunnel.cli.accounts import accounts_config
    from terratunnel.cli.server import static_keys
    from terratunnel.server.auditing import AuditLog
    from terratunnel.server.storage.engine import Database
    from terratunnel.server.tunnels import Accounts

    must_exist(url)
    taken = static_keys(os.environ.get("TERRATUNNEL_STATIC_KEYS", "")).values()
    database = Database(url)
    try:
        await _must_be_current(database)
        audit = AuditLog(database)
        # A server that runs sees within a second what ended, and ends the links.
        accounts = Accounts(database, accounts_config(), audit, lambda *_: None, taken)
        try:
            yield Desk(database, accounts, audit)
        finally:
            await audit.close()
    finally:
        await database.close()


def must_exist(url: str) -> None:
    """Raise AdminError where there is no SQLite file."""
    from terratunnel.server.storage.urls import locate

    path = locate(url).path
    try:
        there = path is None or path.is_file()
    except OSError as error:
        raise AdminError(f"The database {path} cannot be opened ({options.system_words(error)}).") from error
    if not there:
        raise AdminError(
            f"There is no database {path}; name the server's with --db-path, or make one with: "
            "terratunnel admin database migrate"
        )


async def _must_be_current(database: "Database") -> None:
    from terratunnel.server.storage.inspection import newest_revision, state_of

    async with database.reading() as session:
        state = await (await session.connection()).run_sync(state_of, database.location.shown)
    if state.revision != newest_revision():
        raise AdminError(
            f"The database {database.location.shown} is not of this version; bring it here with: "
            "terratunnel admin database migrate"
        )
