"""`terratunnel admin user`: who may sign in. Used by `cli.admin`.

Rule: what ends a user's access ends their live links too; a running server sees it within a second.
"""

from typing import Final

import click

from terratunnel.cli.answers import Answer, Row
from terratunnel.cli.desk import Desk, at_desk
from terratunnel.cli.options import sure

USER_COLUMNS: Final = ("id", "provider", "username", "email", "active", "created_at", "tunnels")


@click.group()
def user() -> None:
    """Users: make them, let them in, keep them out."""


@user.command("create")
@click.argument("username")
@click.option("--email", help="For the lists; nothing is sent there.")
@at_desk
async def create_user(at: Desk, username: str, email: str | None) -> Answer:
    """Make a user with a tunnel; they sign in by a link of `login-link`."""
    from terratunnel.server.actors import OPERATOR

    made = await at.accounts.create_user(OPERATOR, username, email)
    subdomain = (await at.accounts.tunnels_of(OPERATOR, made.id))[0].tunnel.subdomain
    name = made.provider_username
    sentence = (
        f"The user {name} has the tunnel {subdomain}. Let them in with: terratunnel admin login-link {name}\n"
        f"Or make them a key with: terratunnel admin key create {name}"
    )
    return Answer([{"id": made.id, "username": name, "email": email, "tunnel": subdomain}], sentence=sentence)


@user.command("list")
@at_desk
async def list_users(at: Desk) -> Answer:
    """All users, oldest first."""
    from terratunnel.server.storage.overview import Overview

    async with at.database.reading() as session:
        found = await Overview(session).users()
    rows: list[Row] = [
        {
            "id": each.id,
            "provider": each.auth_provider,
            "username": each.provider_username,
            "email": each.email,
            "name": each.name,
            "active": each.is_active,
            "created_at": each.created_at,
            "tunnels": names,
        }
        for each, names in found
    ]
    return Answer(rows, USER_COLUMNS, "There are no users; make one with: terratunnel admin user create NAME")


@user.command("disable")
@click.argument("username")
@at_desk
async def disable_user(at: Desk, username: str) -> Answer:
    """Keep a user out, and cut their clients off."""
    return await _set_active(at, username, False)


@user.command("enable")
@click.argument("username")
@at_desk
async def enable_user(at: Desk, username: str) -> Answer:
    """Let a user in again."""
    return await _set_active(at, username, True)


async def _set_active(at: Desk, username: str, active: bool) -> Answer:
    from terratunnel.server.actors import OPERATOR

    found = await at.user(username)
    await at.accounts.set_user_active(OPERATOR, found.id, active)
    name = found.provider_username
    sentence = f"The user {name} is {'enabled' if active else 'disabled'}."
    return Answer([{"id": found.id, "username": name, "active": active}], sentence=sentence)


@user.command("delete")
@click.argument("username")
@sure("Delete the user with their tunnels and keys?")
@at_desk
async def delete_user(at: Desk, username: str) -> Answer:
    """Delete a user with everything that is theirs."""
    from terratunnel.server.actors import OPERATOR

    found = await at.user(username)
    names = await at.accounts.delete_user(OPERATOR, found.id)
    name = found.provider_username
    sentence = f"The user {name} is deleted, with {', '.join(names) or 'no tunnel'}."
    return Answer([{"id": found.id, "username": name, "deleted_tunnels": names}], sentence=sentence)
