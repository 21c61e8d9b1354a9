"""`terratunnel admin key`: the one key of each tunnel. Used by `cli.admin`.

Rule: a key is shown by the command that makes it, and never again.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from terratunnel.cli.answers import Answer, Row
from terratunnel.cli.desk import AdminError, Desk, at_desk
from terratunnel.cli.options import Command

if TYPE_CHECKING:
    from terratunnel.server.tunnels import NewKey

KEY_COLUMNS: Final = (
    "id",
    "key_prefix",
    "user",
    "tunnel",
    "name",
    "active",
    "created_at",
    "last_used_at",
    "expires_at",
)
MAX_DAYS: Final = 36_500


@click.group()
def key() -> None:
    """API keys: the one that each tunnel has."""


def key_options(work: Command) -> Command:
    """What can be said about a new key."""
    which = click.option("--tunnel", "subdomain", metavar="NAME", help="Which tunnel, if the user has several.")
    label = click.option("--name", "label", help="What lists call the key.")
    days = click.option(
        "--expires-in-days", "days", type=click.FloatRange(0, MAX_DAYS, min_open=True), help="Its life."
    )
    return which(label(days(work)))


@key.command("create")
@click.argument("username")
@key_options
@at_desk
async def create_key(at: Desk, username: str, subdomain: str | None, label: str | None, days: float | None) -> Answer:
    """Make a key for a user's tunnel that has none; it is shown this once."""
    return await _new_key(at, username, subdomain, label, days, replacing=False)


@key.command("rotate")
@click.argument("username")
@key_options
@at_desk
async def rotate_key(at: Desk, username: str, subdomain: str | None, label: str | None, days: float | None) -> Answer:
    """Replace the key of a user's tunnel; the old one stops at once."""
    return await _new_key(at, username, subdomain, label, days, replacing=True)


async def _new_key(
    at: Desk, username: str, subdomain: str | None, label: str | None, days: float | None, *, replacing: bool
) -> Answer:
    from terratunnel.server.actors import OPERATOR
    from terratunnel.server.storage.api_keys import ApiKeys
    from terratunnel.server.storage.tunnels import Tunnels

    owner = await at.user(username)
    chosen = await at.tunnel_of(owner, subdomain)
    expires_at = at.audit.now() + timedelta(days=days) if days else None
    async with at.database.session() as session:
        await Tunnels(session).lock(chosen.id)
        if not replacing and await ApiKeys(session).active_of_tunnel(chosen.id) is not None:
            raise AdminError(
                f"{chosen.subdomain} has a key already; replace it, which cuts its client off, with: "
                f"terratunnel admin key rotate {username} --tunnel {chosen.subdomain}"
            )
        made = await at.accounts.make_key(session, OPERATOR, chosen.id, label, expires_at)
    at.accounts.key_was_made(OPERATOR, made)
    return _shown_once(made, owner.provider_username)


def _shown_once(made: "NewKey", username: str) -> Answer:
    row = {
        "id": made.api_key.id,
        "api_key": made.plain,
        "key_prefix": made.prefix,
        "user": username,
        "tunnel": made.tunnel.subdomain,
        "expires_at": made.api_key.expires_at,
    }
    sentence = f"The key of {username}'s tunnel {made.tunnel.subdomain}, which is shown this once:\n{made.plain}"
    return Answer([row], sentence=sentence)


@key.command("list")
@click.argument("username", required=False)
@at_desk
async def list_keys(at: Desk, username: str | None) -> Answer:
    """All keys, or those of a user, newest first."""
    from terratunnel.server.storage.overview import Overview

    user_id = (await at.user(username)).id if username else None
    async with at.database.reading() as session:
        found = await Overview(session).keys(user_id)
    rows: list[Row] = [
        {
            "id": each.id,
            "key_prefix": each.key_prefix,
            "user": owner.provider_username,
            "tunnel": of.subdomain if of is not None else None,
            "name": each.name,
            "active": each.is_active,
            "created_at": each.created_at,
            "last_used_at": each.last_used_at,
            "expires_at": each.expires_at,
            "scopes": each.scopes,
        }
        for each, owner, of in found
    ]
    return Answer(rows, KEY_COLUMNS, "There are no keys; make one with: terratunnel admin key create USERNAME")


@key.command("revoke")
@click.argument("key_id", type=click.IntRange(min=1))
@at_desk
async def revoke_key(at: Desk, key_id: int) -> Answer:
    """End a key, by its id in `key list`, and cut its client off."""
    from terratunnel.server.actors import OPERATOR

    await at.accounts.revoke_key(OPERATOR, key_id)
    return Answer([{"id": key_id, "active": False}], sentence=f"The key {key_id} is revoked.")
