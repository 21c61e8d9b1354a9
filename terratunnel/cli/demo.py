"""`terratunnel demo`: server, client and a sample app in one process, on *.localhost. Used by `cli.main`.

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

if TYPE_CHECKING:
    from terratunnel.cli.running import Stops
    from terratunnel.client.app import Outcome
    from terratunnel.client.console import Display, Online
    from terratunnel.server.app import Server

HOST: Final = "127.0.0.1"
DRAIN_S: Final = 5.0


@dataclass(frozen=True)
class DemoOptions:
    """What can be said about a demo. An empty `local_endpoint` means the sample app."""

    port: int
    port_required: bool
    local_endpoint: str
    output: str


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
    """Try it out: server, client and a sample app on this machine."""
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
        display = display_for(given)
        stack.callback(display.close)
        endpoint = given.local_endpoint or await stack.enter_async_context(_sample_app())
        server = await stack.enter_async_context(_server(given, stops))
        config = ClientConfig(f"ws://{HOST}:{server.port}", endpoint, api_port=_api_port(), drain_s=DRAIN_S)
        client = Client(config, display)
        stops.also = client.stop
        with stopping(stops):
            return await client.run()


def display_for(given: DemoOptions) -> "Display":
    """Return the display: a client's, with a first screen that says what to try."""
    import asyncio

    from terratunnel.client.console import Events, Lines

    class DemoLines(Lines):
        def first_screen(self, tunnel: "Online") -> list[str]:
            return demo_screen(tunnel, not given.local_endpoint)

    loop = asyncio.get_running_loop()
    return (Events if given.output == options.JSON else DemoLines)(sys.stdout, loop.call_later)


def demo_screen(tunnel: "Online", sample: bool) -> list[str]:
    """Return what there is, and lines to try."""
    what = "a sample app; --local-endpoint puts your own there" if sample else "your app"
    lines = ["", f"  Public URL   {tunnel.url}", f"  Forwards to  {tunnel.local_endpoint} ({what})"]
    if tunnel.status_url:
        lines.append(f"  Status       {tunnel.status_url}")
    lines += ["", "Open the URL in a browser, or try:", ""]
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
async def _server(given: DemoOptions, stops: "Stops") -> "AsyncIterator[Server]":
    """Run a server for anyone on this machine; its database and secret go when it goes."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="terratunnel-demo-") as folder, open(os.devnull, "w") as nowhere:
        server = await _start_server(given, os.path.join(folder, "demo.db"), nowhere)
        try:
            yield server
            await stops.unless_second(server.drain(DRAIN_S))
        finally:
            await server.close()


async def _start_server(given: DemoOptions, db_path: str, nowhere: TextIO) -> "Server":
    """Start on the port that was asked for, or on 8000 or another one. The client's lines stand for the access log."""
    from terratunnel.cli.server import CannotListen, start
    from terratunnel.server.app import Server
    from terratunnel.server.config import ServerConfig

    def made(port: int) -> Server:
        return Server(ServerConfig(host=HOST, port=port, db_path=db_path, require_auth=False), nowhere)

    server = made(given.port)
    try:
        await start(server.config, server)
    except CannotListen:
        if given.port_required:
            raise
        server = made(0)
        await start(server.config, server)
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
