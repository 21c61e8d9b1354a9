"""`terratunnel admin tunnel` and `admin connection`: names, and who was connected as them. Used by `cli.admin`.

Rule: what is shown of connections is what servers have noted; no server is asked.
"""

from typing import TYPE_CHECKING, Final

import click

from terratunnel.cli.answers import Answer, Row
from terratunnel.cli.desk import Desk, at_desk
from terratunnel.cli.options import limit_option, sure

if TYPE_CHECKING:
    from terratunnel.server.storage.overview import Connected

TUNNEL_COLUMNS: Final = ("id", "tunnel", "user", "name", "active", "key_id", "key_prefix", "key_last_used_at")
CONNECTION_COLUMNS: Final = ("tunnel", "state", "connected_at", "ended_at", "user", "address", "user_agent")


@click.group()
def tunnel() -> None:
    """Tunnels: reserved public names."""


@tunnel.command("list")
@click.argument("username", required=False)
@at_desk
async def list_tunnels(at: Desk, username: str | None) -> Answer:
    """All tunnels, or those of a user, oldest first, each with its key."""
    from terratunnel.server.storage.overview import Overview

    user_id = (await at.user(username)).id if username else None
    async with at.database.reading() as session:
        found = await Overview(session).tunnels(user_id)
    rows: list[Row] = [
        {
            "id": each.id,
            "tunnel": each.subdomain,
            "user": owner.provider_username,
            "name": each.name,
            "active": each.is_active and owner.is_active,
            "created_at": each.created_at,
            "key_id": its.id if its is not None else None,
            "key_prefix": its.key_prefix if its is not None else None,
            "key_last_used_at": its.last_used_at if its is not None else None,
        }
        for each, owner, its in found
    ]
    return Answer(rows, TUNNEL_COLUMNS, "There are no tunnels; a user gets one when they are made or sign in.")


@tunnel.command("create")
@click.argument("username")
@click.option("--name", "label", help="What lists call the tunnel.")
@at_desk
async def create_tunnel(at: Desk, username: str, label: str | None) -> Answer:
    """Reserve another name for a user."""
    from terratunnel.server.actors import OPERATOR

    owner = await at.user(username)
    made = await at.accounts.create_tunnel(OPERATOR, label, owner.id)
    name = owner.provider_username
    sentence = (
        f"{name} has the tunnel {made.subdomain}. "
        f"Make its key with: terratunnel admin key create {name} --tunnel {made.subdomain}"
    )
    return Answer([{"id": made.id, "tunnel": made.subdomain, "user": name, "name": made.name}], sentence=sentence)


@tunnel.command("delete")
@click.argument("subdomain")
@sure("Delete the tunnel with its keys? Nobody can have its name for 90 days.")
@at_desk
async def delete_tunnel(at: Desk, subdomain: str) -> Answer:
    """Delete a tunnel with its keys, and cut its client off."""
    from terratunnel.server.actors import OPERATOR

    found = await at.tunnel(subdomain)
    await at.accounts.delete_tunnel(OPERATOR, found.id)
    return Answer([{"id": found.id, "tunnel": found.subdomain}], sentence=f"The tunnel {found.subdomain} is deleted.")


# ---------------------------------------------------------------------- connections


@click.group()
def connection() -> None:
    """Connections of clients."""


@connection.command("list")
@click.option("--tunnel", "subdomain", metavar="NAME", help="Those of one tunnel.")
@limit_option
@at_desk
async def list_connections(at: Desk, subdomain: str | None, limit: int) -> Answer:
    """The newest connections, from the audit log: open, ended, or lost.

    One that was open when its server was killed stays open here until its tunnel is connected again.
    """
    from terratunnel.server.storage.overview import Overview

    async with at.database.reading() as session:
        found = await Overview(session).connections(subdomain, limit)
    return Answer([_connection(each) for each in found], CONNECTION_COLUMNS, "No client has connected.")


def _connection(each: "Connected") -> Row:
    state = "ended" if each.ended_at else "lost" if each.lost else "open"
    return {
        "tunnel": each.row.subdomain,
        "state": state,
        "connected_at": each.row.timestamp,
        "ended_at": each.ended_at,
        "user": each.row.username,
        "key_id": each.row.api_key_id,
        "address": each.row.client_ip,
        "user_agent": each.row.user_agent,
        "local_endpoint": each.row.local_endpoint,
        "connection_id": each.row.connection_id,
    }
