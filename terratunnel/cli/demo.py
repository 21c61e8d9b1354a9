"""`terratunnel demo`: server, account, client and a sample app in one process, on *.localhost. Used by `cli.main`.

Rule: it needs nothing, keeps nothing, listens on 127.0.0.1 only, and ends cleanly with Ctrl-C.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO
from urllib.parse import urlsplit

import click

from terratunnel.cli import options
from terratunnel.cli.answers import say

if TYPE_CHECKING:
    from terratunnel.cli.running import Stops
    from terratunnel.client.app import Outcome
    from terratunnel.client.console import Display, Online
    from terratunnel.server.app import Server
    from terratunnel.server.config import AccountsConfig
    from terratunnel.server.tunnels import NewKey

HOST: Final = "127.0.0.1"
DRAIN_S: Final = 5.0
USERNAME: Final = "demo"
# Whoever looks around may take their time; the link works on this machine only, and once.
LINK_MINUTES: Final = 24 * 60.0


@dataclass(frozen=True)
class DemoOptions:
    """What can be said about a demo. An empty `local_endpoint` means the sample app."""

    port: int
    port_required: bool
    local_endpoint: str
    output: str


@dataclass(frozen=True)
class Stage:
    """What the demo has set up: a server, the key of the demo's own tunnel, and the link that its user signs in by."""

    server: "Server"
    key: str
    sign_in_url: str


@click.command()
@click.option(
    "--port",
    type=options.port_type(),
    default=8000,
    show_default=True,
    help="Port of the server; another one when 8000 is taken. 0: any.",
)
@click.option("--local-endpoint", default="", metavar="URL", help="Your own app instead of the sample.")
@options.output_option
@click.pass_context
def demo(context: click.Context, port: int, local_endpoint: str, output: str) -> None:
    """Try it out: server, account, client and a sample app on this machine."""
    from terratunnel.cli.client import finish
    from terratunnel.cli.running import run
    from terratunnel.cli.server import need_server_packages
    from terratunnel.forwarding.endpoint import parse_endpoint

    need_server_packages()
    if local_endpoint:
        parse_endpoint(local_endpoint)
    given = DemoOptions(port, options.was_given(context, "port"), local_endpoint, output)
    finish(context, run(_demo(given)))


async def _demo(given: DemoOptions) -> "Outcome":
    from terratunnel.cli.running import Stops, stopping
    from terratunnel.client.app import Client
    from terratunnel.client.config import ClientConfig

    stops = Stops()
    async with AsyncExitStack() as stack:
        endpoint = given.local_endpoint or await stack.enter_async_context(_sample_app())
        stage = await stack.enter_async_context(_stage(given, stops))
        display = display_for(given, stage.sign_in_url)
        stack.callback(display.close)
        url = f"ws://{HOST}:{stage.server.port}"
        config = ClientConfig(url, endpoint, api_key=stage.key, api_port=_api_port(), drain_s=DRAIN_S)
        client = Client(config, display)
        stops.also = client.stop
        with stopping(stops):
            return await client.run()


def display_for(given: DemoOptions, sign_in_url: str) -> "Display":
    """Return the display: a client's, with a first screen that says what to try, or an event with the sign-in link."""
    import asyncio

    from terratunnel.client.console import Events, Lines

    class DemoLines(Lines):
        def first_screen(self, tunnel: "Online") -> list[str]:
            return demo_screen(tunnel, not given.local_endpoint, sign_in_url)

    loop = asyncio.get_running_loop()
    if given.output == options.JSON:
        say("", given.output, "sign_in", url=sign_in_url)
    return (Events if given.output == options.JSON else DemoLines)(sys.stdout, loop.call_later)


def demo_screen(tunnel: "Online", sample: bool, sign_in_url: str) -> list[str]:
    """Return what there is, and lines to try."""
    what = "a sample app; --local-endpoint puts your own there" if sample else "your app"
    lines = ["", f"  Public URL   {tunnel.url}", f"  Forwards to  {tunnel.local_endpoint} ({what})"]
    if tunnel.status_url:
        lines.append(f"  Status       {tunnel.status_url}")
    lines.append(f"  Sign in      {sign_in_url} (the server's pages, once)")
    lines += ["", "Open the public URL in a browser, or try:", ""]
    if sample:
        lines += [f"  curl -d 'hello' {tunnel.url}/hook", f"  curl -N {tunnel.url}/events"]
    else:
        lines.append(f"  curl -i {tunnel.url}/")
    where = f"{tunnel.hostname}:{urlsplit(tunnel.url).port or 80}:{HOST}"
    lines += ["", "An older curl (before 7.77) does not know that *.localhost is this machine; tell it:", ""]
    lines += [f"  curl --resolve {where} {tunnel.url}/"]
    return [*lines, "", "Each request is shown below. Ctrl-C ends the demo.", ""]


@asynccontextmanager
async def _sample_app() -> AsyncIterator[str]:
    """Serve the sample app on a free port."""
    from terratunnel.client import api

    await api.load()
    from terratunnel.cli.sample import sample_app

    sock = api.bind(0)
    app = api.AppServer(sample_app(), sock)
    await app.start()
    try:
        yield f"http://{HOST}:{api.port_of(sock)}"
    finally:
        await app.close()


@asynccontextmanager
async def _stage(given: DemoOptions, stops: "Stops") -> AsyncIterator[Stage]:
    """Run a server with one account; its database and secret go when it goes."""
    import tempfile

    from terratunnel.server.actors import OPERATOR

    with tempfile.TemporaryDirectory(prefix="terratunnel-demo-") as folder, open(os.devnull, "w") as nowhere:
        db_path = os.path.join(folder, "demo.db")
        made = await _make_account(db_path)
        server = await _start_server(given, db_path, nowhere)
        try:
            link = await server.services.links.create_link(OPERATOR, made.tunnel.user_id, LINK_MINUTES)
            yield Stage(server, made.plain, link.url)
            await stops.unless_second(server.drain(DRAIN_S))
        finally:
            await server.close()


def _accounts_config() -> "AccountsConfig":
    """Return that nobody signs in but by a link, and that the demo's user sees everything."""
    from terratunnel.server.config import LOCAL_PROVIDER, AccountsConfig

    return AccountsConfig(admins=frozenset({(LOCAL_PROVIDER, USERNAME)}))


async def _make_account(db_path: str) -> "NewKey":
    """Make the demo's user with a tunnel and its key, before the server asks whether there is anybody."""
    from terratunnel.server.actors import OPERATOR
    from terratunnel.server.auditing import AuditLog
    from terratunnel.server.storage.engine import Database
    from terratunnel.server.storage.migrate import migrate
    from terratunnel.server.storage.urls import database_url
    from terratunnel.server.tunnels import Accounts

    database = Database(database_url(db_path))
    await migrate(database.url)
    await database.open()
    audit = AuditLog(database)
    accounts = Accounts(database, _accounts_config(), audit, lambda *_: None)
    try:
        user = await accounts.create_user(OPERATOR, USERNAME)
        (own,) = await accounts.tunnels_of(OPERATOR, user.id)
        return await accounts.rotate_key(OPERATOR, own.tunnel.id, "terratunnel demo")
    finally:
        await audit.close()
        await database.close()


async def _start_server(given: DemoOptions, db_path: str, nowhere: TextIO) -> "Server":
    """Start on the port that was asked for, or on 8000 or another one. The client's lines stand for the access log."""
    from terratunnel.cli.server import CannotListen

    try:
        return await _started(given.port, db_path, nowhere)
    except CannotListen:
        if given.port_required:
            raise
    return await _started(0, db_path, nowhere)


async def _started(port: int, db_path: str, nowhere: TextIO) -> "Server":
    from terratunnel.cli.server import start
    from terratunnel.server.app import Server
    from terratunnel.server.config import ServerConfig

    server = Server(ServerConfig(host=HOST, port=port, db_path=db_path, accounts=_accounts_config()), nowhere)
    try:
        await start(server.config, server)
    except BaseException:
        await server.close()
        raise
    return server


def _api_port() -> int:
    """Return the usual port of the JSON API, or 0 (any) when it is taken."""
    from terratunnel.client import api
    from terratunnel.client.config import DEFAULT_API_PORT

    try:
        api.bind(DEFAULT_API_PORT).close()
    except OSError:
        return 0
    return DEFAULT_API_PORT
