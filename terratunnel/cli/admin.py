"""`terratunnel admin`: what an operator does without a browser. Its commands stand in modules of their own.

Rule: it works on the database itself, server or no server; a running one sees within a second that a key has ended.
"""

import click

from terratunnel.cli.inspecting import audit, database
from terratunnel.cli.keys import key
from terratunnel.cli.login_link import login_link
from terratunnel.cli.tunnels import connection, tunnel
from terratunnel.cli.users import user


class Plural(click.Group):
    """A group whose commands are also found in the plural: `admin users list`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        found = super().get_command(ctx, cmd_name)
        return found or super().get_command(ctx, cmd_name.removesuffix("s"))


@click.group(cls=Plural)
def admin() -> None:
    """What an operator does on the server's own machine, without a browser.

    The commands work on the database of --db-path or TERRATUNNEL_DATABASE_URL, beside a server that may be running.
    """


for command in (user, key, tunnel, connection, audit, database, login_link):
    admin.add_command(command)
