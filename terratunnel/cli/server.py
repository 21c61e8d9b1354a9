"""`terratunnel server`: from options to a running server. Used by `cli.main`.

Rule: SIGTERM drains and ends with 0; secrets come from the environment only, where no list of processes shows them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Unpack

import click

from terratunnel.cli import limits, options
from terratunnel.cli.answers import say
from terratunnel.errors import TerratunnelError

if TYPE_CHECKING:
    from terratunnel.server.app import Server
    from terratunnel.server.config import ServerConfig
    from terratunnel.server.proxies import Network


# What the extra `[server]` brings, by the name of the import.
SERVER_PACKAGES: Final = ("coolname",)


class ServerOptions(limits.LimitOptions):
    """What can be said about a server."""

    host: str
    port: int
    domain: str
    db_path: str
    public_url: str
    trusted_proxies: str
    require_auth: bool
    streaming_threshold: int
    chunk_size: int
    output: str


class DatabaseTrouble(TerratunnelError):
    """The database does not do what it should; the sentence is for an operator alone."""


class CannotListen(TerratunnelError):
    """The address cannot be had; the sentence says why."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__(
            f"The server cannot listen on {where} ({options.system_words(error)}); give another --host or --port."
        )


@click.command()
@click.option("--host", envvar="TERRATUNNEL_HOST", default="0.0.0.0", show_default=True, help="Address to listen on.")
@options.address_options
@options.database_option
@click.option(
    "--trusted-proxies",
    envvar="TERRATUNNEL_TRUSTED_PROXIES",
    default="",
    help="Addresses or networks, separated by commas, of proxies in front whose X-Forwarded-For says who a visitor is."
    "  [default: none]",
)
@click.option(
    "--require-auth/--no-require-auth",
    envvar="REQUIRE_AUTH_FOR_TUNNELS",
    default=True,
    show_default=True,
    help="Whether a client needs a key. Without: a random name for anyone who asks.",
)
@limits.limit_options
@options.chunk_options
@options.output_option
def server(**given: Unpack[ServerOptions]) -> None:
    """Serve tunnels on a public port."""
    from terratunnel.cli.running import run

    need_server_packages()
    config = server_config(given)
    config.check()
    with database_in_full():
        run(_serve(config, given["output"]))


@contextmanager
def database_in_full() -> Iterator[None]:
    """Let an operator read which database it is and what its driver says. Raises DatabaseTrouble."""
    from terratunnel.server.storage.errors import StorageUnavailable

    try:
        yield
    except StorageUnavailable as error:
        raise DatabaseTrouble(f"{error} ({error.detail})" if error.detail else str(error)) from error


def need_server_packages() -> None:
    """Raise ModuleNotFoundError, before anything listens, where the client alone is installed."""
    for name in SERVER_PACKAGES:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def server_config(given: ServerOptions) -> "ServerConfig":
    """Return the configuration that options and the environment describe."""
    from terratunnel.cli.accounts import accounts_config, database_variable
    from terratunnel.protocol.settings import Settings
    from terratunnel.server.config import ServerConfig

    return ServerConfig(
        host=given["host"],
        port=given["port"],
        domain=given["domain"].lower().rstrip("."),
        db_path=given["db_path"],
        database_url=database_variable(),
        public_url=given["public_url"],
        trusted_proxies=trusted_proxies(given["trusted_proxies"]),
        require_auth=given["require_auth"],
        static_keys=static_keys(os.environ.get("TERRATUNNEL_STATIC_KEYS", "")),
        secret=os.environ.get("JWT_SECRET", ""),
        drain_s=given["drain_timeout"],
        edge=limits.edge_limits(given, given["streaming_threshold"]),
        link=Settings(chunk_size=given["chunk_size"]),
        accounts=accounts_config(),
    )


def trusted_proxies(text: str) -> "tuple[Network, ...]":
    """Return the networks of `10.0.0.0/8,192.0.2.1`. Raises ConfigError."""
    from terratunnel.server.config import ConfigError
    from terratunnel.server.proxies import networks_in

    try:
        return networks_in(text)
    except ValueError as error:
        raise ConfigError(f"TERRATUNNEL_TRUSTED_PROXIES is not like 10.0.0.0/8,192.0.2.1: {error}.") from error


def static_keys(text: str) -> dict[str, str]:
    """Return names by key for `KEY=NAME,KEY2=NAME2`. Raises ConfigError, and shows no key in it."""
    from terratunnel.server.config import ConfigError
    from terratunnel.server.names import is_valid_name

    keys = {}
    for number, item in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        key, _, name = item.rpartition("=")
        if not key or not is_valid_name(name):
            raise ConfigError(f"Entry {number} of TERRATUNNEL_STATIC_KEYS is not KEY=NAME with a name like my-app.")
        keys[key] = name
    return keys


async def start(config: "ServerConfig", server: "Server") -> None:
    """Start a server. Raises CannotListen."""
    try:
        await server.start()
    except OSError as error:
        raise CannotListen(config.host, config.port, error) from error


async def _serve(config: "ServerConfig", output: str) -> None:
    from terratunnel.cli.running import Stops, stopping
    from terratunnel.server.app import Server

    # With events on stdout the lines of the access log go where logs go.
    server = Server(config, sys.stderr if output == options.JSON else sys.stdout)
    stops = Stops()
    with stopping(stops):
        try:
            await start(config, server)
            _say_ready(server, output)
            await stops.first.wait()
            say("Finishing what is under way. Ctrl-C again ends it at once.", output)
            await stops.unless_second(server.drain(config.drain_s))
        finally:
            await server.close()
    say("The server has stopped.", output, event="stopped")


def _say_ready(server: "Server", output: str) -> None:
    config = server.config
    sentence = (
        f"The server is ready at {server.public_url}, listening on {config.host}:{server.port}. Connect a client:\n"
        f"  terratunnel client --server-url {server.public_url} --local-endpoint http://localhost:3000"
    )
    say(
        sentence,
        output,
        event="ready",
        host=config.host,
        port=server.port,
        domain=config.domain,
        public_url=server.public_url,
    )
