"""Options that several commands share, and what their values mean. Used by the commands.

Rule: each has an environment variable and is documented in `.env.example`.
"""

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

Command = TypeVar("Command", bound=Callable[..., Any])

TEXT: Final = "text"
JSON: Final = "json"
# More than anybody reads; it bounds the memory of a list.
MAX_ROWS: Final = 100_000
MAX_PORT: Final = 65_535
MIN_CHUNK_BYTES: Final = 1_024


def output_option(command: Command) -> Command:
    """`--output text|json`."""
    return click.option(
        "--output",
        envvar="TERRATUNNEL_OUTPUT",
        type=click.Choice([TEXT, JSON]),
        default=TEXT,
        show_default=True,
        help="json: one event a line on stdout, for programs.",
    )(command)


def database_option(command: Command) -> Command:
    """`--db-path`, for a server and for whoever works beside it."""
    return click.option(
        "--db-path",
        envvar="TERRATUNNEL_DB_PATH",
        default="terratunnel.db",
        show_default=True,
        help="The server's SQLite file; TERRATUNNEL_DATABASE_URL names a Postgres instead.",
    )(command)


def address_options(command: Command) -> Command:
    """`--domain`, `--port` and `--public-url`: where a server is, for itself and for whoever makes links to it."""
    domain = click.option(
        "--domain",
        envvar="TERRATUNNEL_DOMAIN",
        default="localhost",
        show_default=True,
        help="Tunnels are NAME.DOMAIN. localhost is for trying it out; anything else is production.",
    )
    port = click.option(
        "--port",
        envvar="TERRATUNNEL_PORT",
        type=port_type(),
        default=8000,
        show_default=True,
        help="The server's one public port. 0: any.",
    )
    public_url = click.option(
        "--public-url",
        envvar="TERRATUNNEL_PUBLIC_URL",
        default="",
        help="What URLs are made from.  [default: https://DOMAIN, http://localhost:PORT for localhost]",
    )
    return domain(port(public_url(command)))


def chunk_options(command: Command) -> Command:
    """What both ends of a link may choose about checked bodies."""
    threshold = click.option(
        "--streaming-threshold",
        envvar="STREAMING_THRESHOLD",
        type=click.IntRange(min=0),
        default=10_485_760,
        show_default=True,
        help="Bodies above this many bytes travel in chunks with a checksum each.",
    )
    size = click.option(
        "--chunk-size",
        envvar="DEFAULT_CHUNK_SIZE",
        type=click.IntRange(min=MIN_CHUNK_BYTES),
        default=524_288,
        show_default=True,
        help="Bytes in such a chunk.",
    )
    return threshold(size(command))


def sure(question: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--yes`; without it the question is asked."""

    def ask(context: click.Context, _: click.Parameter, yes: bool) -> None:
        if not yes and not context.resilient_parsing:
            click.confirm(question, abort=True, err=True)

    return click.option("--yes", is_flag=True, expose_value=False, callback=ask, help="Do not ask.")


def limit_option(command: Command) -> Command:
    """`--limit`: how many rows of a list."""
    limit = click.IntRange(1, MAX_ROWS)
    return click.option("--limit", type=limit, default=50, show_default=True, help="How many.")(command)


def port_type() -> click.IntRange:
    """A port; 0 lets the system choose."""
    return click.IntRange(0, MAX_PORT)


def was_given(context: click.Context, name: str) -> bool:
    """Whether an option was asked for, by flag or by variable, rather than left at its default."""
    return context.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def system_words(error: OSError) -> str:
    """Return what the system says about a failure, without its numbers and addresses."""
    known = error.errno is not None and error.errno > 0
    return os.strerror(error.errno) if known and error.errno is not None else error.strerror or str(error)
