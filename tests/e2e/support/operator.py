"""What an operator does beside a running server: makes a user and a one-time link. Used by the journeys of accounts.

Rule: it is another process's work on the same database; here it has an event loop of its own.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from terratunnel.server.actors import OPERATOR
from terratunnel.server.auditing import AuditLog
from terratunnel.server.auth.links import Links
from terratunnel.server.config import AccountsConfig
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.urls import database_url
from terratunnel.server.tunnels import Accounts


def sign_in_link(db_path: Path, base_url: str, username: str) -> str:
    """Make a user, and return a link that signs them in once."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _sign_in_link(db_path, base_url, username)).result()


async def _sign_in_link(db_path: Path, base_url: str, username: str) -> str:
    database = Database(database_url(str(db_path)))
    await database.open()
    audit = AuditLog(database)
    accounts = Accounts(database, AccountsConfig(), audit, lambda *_: None)
    try:
        user = await accounts.create_user(OPERATOR, username)
        return (await Links(database, accounts, audit, lambda: base_url).create_link(OPERATOR, user.id)).url
    finally:
        await audit.close()
        await database.close()
