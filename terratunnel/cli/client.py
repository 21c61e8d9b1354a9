"""`terratunnel client` and `terratunnel http TARGET`: from options to a running client. Used by `cli.main`.

Rule: the end of the client is the end of the command: its status, and one sentence on stderr unless its user ended it.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from terratunnel.cli import options

if TYPE_CHECKING:
    from terratunnel.client.app import Outcome
    from terratunnel.client.config import ClientConfig
    from terratunnel.client.console import Display


class ClientOptions(TypedDict):
    """What `client` and `http` have in common."""

    server_url: str
    api_key: str
    api_port: int
    connect_timeout: float
    first_byte_timeout: float
    streaming_threshold: int
    chunk_size: int
    output: str


_SHARED = (
    click.option(
        "--server-url",
        envvar="TERRATUNNEL_SERVER_URL",
        default="",
        help="The server: ws, wss, http or https.  [default: that of the latest login, or ws://localhost:8000]",
    ),
    click.option(
        "--api-key",
        envvar="TERRATUNNEL_API_KEY",
        default="",
        help="Your key at the server.  [default: what login has kept for it]",
    ),
    click.option(
        "--api-port",
        envvar="TERRATUNNEL_API_PORT",
        type=options.port_type(),
        default=8081,
        show_default=True,
        help="Port of the JSON API on 127.0.0.1: /status and /health. 0: any.",
    ),
    click.option(
        "--connect-timeout",
        envvar="TERRATUNNEL_CONNECT_TIMEOUT",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        help="Seconds for a connection to your service.",
    ),
    click.option(
        "--first-byte-timeout",
        envvar="TERRATUNNEL_FIRST_BYTE_TIMEOUT",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds until your service answers; then the visitor gets 504.",
    ),
    options.chunk_options,
    options.output_option,
)


def _shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.command()
@click.option(
    "--local-endpoint",
    envvar="TERRATUNNEL_LOCAL_ENDPOINT",
    required=True,
    metavar="URL",
    help="Your service: http://localhost:3000, https://box:8443 or unix:/path/to/socket.",
)
@_shared_options
@click.pass_context
def client(context: click.Context, local_endpoint: str, **given: Unpack[ClientOptions]) -> None:
    """Give a service on this machine its public URL."""
    run_client(context, local_endpoint, given)


@click.command()
@click.argument("target")
@_shared_options
@click.pass_context
def http(context: click.Context, target: str, **given: Unpack[ClientOptions]) -> None:
    """The same for TARGET: a port, HOST:PORT or a URL."""
    from terratunnel.client.config import forwarding_target

    run_client(context, forwarding_target(target), given)


def run_client(context: click.Context, local_endpoint: str, given: ClientOptions) -> None:
    """Run a client until it ends, and end with its status."""
    from terratunnel.cli.running import run

    config = client_config(local_endpoint, given, options.was_given(context, "api_port"))
    config.check()
    finish(context, run(_serve(config, given["output"])))


def client_config(local_endpoint: str, given: ClientOptions, api_port_required: bool) -> "ClientConfig":
    """Return the configuration that options describe."""
    from terratunnel.client.config import ClientConfig
    from terratunnel.client.tokens import default_state_dir
    from terratunnel.forwarding.pool import UpstreamTimeouts

    server_url, api_key = server_and_key(given["server_url"].strip(), given["api_key"].strip())
    return ClientConfig(
        server_url=server_url,
        local_endpoint=local_endpoint.strip(),
        api_key=api_key,
        api_port=given["api_port"],
        api_port_required=api_port_required,
        timeouts=UpstreamTimeouts(given["connect_timeout"], given["first_byte_timeout"]),
        streaming_threshold=given["streaming_threshold"],
        chunk_size=given["chunk_size"],
        state_dir=default_state_dir(),
    )


def server_and_key(server_url: str, api_key: str) -> tuple[str, str]:
    """Return both: what was given, else what `login` has kept. Raises CredentialsError or ConfigError."""
    if server_url and api_key:
        return server_url, api_key
    from terratunnel.client.config import DEFAULT_SERVER_URL
    from terratunnel.client.credentials import CredentialStore, default_config_dir

    store = CredentialStore(default_config_dir())
    kept = store.get(server_url) if server_url else store.latest()
    if kept is None:
        return server_url or DEFAULT_SERVER_URL, api_key
    return server_url or kept.server_url, api_key or kept.api_key


def finish(context: click.Context, outcome: "Outcome") -> None:
    """End the command as the client ended."""
    from terratunnel.logs import escape

    if outcome.status:
        click.echo(f"Error: {escape(outcome.reason)}", err=True)
    context.exit(outcome.status)


async def _serve(config: "ClientConfig", output: str) -> "Outcome":
    from terratunnel.cli.running import stopping
    from terratunnel.client.app import Client

    display = display_for(output)
    try:
        client = Client(config, display)
        with stopping(client.stop):
            return await client.run()
    finally:
        display.close()


def display_for(output: str) -> "Display":
    """Return the display for `--output`."""
    import asyncio

    from terratunnel.client.console import Events, Lines

    loop = asyncio.get_running_loop()
    return Events(sys.stdout, loop.call_later) if output == options.JSON else Lines(sys.stdout, loop.call_later)
