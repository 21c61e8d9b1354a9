"""`terratunnel admin login-link`: a link that signs a user in once. Used by `cli.admin`.

Rule: the link leads to the pages of the server whose database it is, so it takes the server's own variables.
"""

from typing import Final

import click

from terratunnel.cli import options
from terratunnel.cli.answers import Answer
from terratunnel.cli.desk import AdminError, Desk, at_desk

MAX_MINUTES: Final = 1_440


@click.command("login-link")
@click.argument("username")
@click.option(
    "--minutes",
    type=click.FloatRange(0, MAX_MINUTES, min_open=True),
    default=15.0,
    show_default=True,
    help="How long it is good for.",
)
@options.address_options
@at_desk
async def login_link(at: Desk, username: str, minutes: float, domain: str, port: int, public_url: str) -> Answer:
    """Print a link that signs a user in, once."""
    from terratunnel.server.actors import OPERATOR
    from terratunnel.server.auth.links import Links
    from terratunnel.server.config import ServerConfig

    server = ServerConfig(domain=domain.lower().rstrip("."), port=port, public_url=public_url)
    server.check()
    if server.is_local and not (port or public_url):
        raise AdminError("Port 0 is any; name the one on which the server listens with --port.")
    user = await at.user(username)
    name = user.provider_username
    if not user.is_active:
        raise AdminError(f"The user {name} is disabled; enable them with: terratunnel admin user enable {username}")
    links = Links(at.database, at.accounts, at.audit, lambda: server.base_url(port))
    made = await links.create_link(OPERATOR, user.id, minutes)
    row = {"url": made.url, "username": name, "expires_at": made.expires_at}
    return Answer([row], sentence=made.url)
