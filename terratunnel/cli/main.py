"""The program `terratunnel`: its commands, `.env`, and what an error looks like. Used by the console script and `-m`.

Rule: what we raise on purpose ends as one sentence on stderr, without a traceback. A command imports what it runs.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import click

from terratunnel import __version__, logs
from terratunnel.cli import options
from terratunnel.cli.admin import admin
from terratunnel.cli.client import client, http
from terratunnel.cli.demo import demo
from terratunnel.cli.login import login, logout, whoami
from terratunnel.cli.server import server
from terratunnel.errors import TerratunnelError

log = logging.getLogger(__name__)

ENV_FILE: Final = ".env"
STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


class Program(click.Group):
    """A group that reads `.env` before its options, and shows our errors as sentences."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read `.env`; what is set in the environment wins."""
        with errors_as_sentences():
            load_env_file(Path(ENV_FILE))
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with errors_as_sentences():
            return super().invoke(ctx)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Show as one sentence what we raise on purpose, and what the system refuses: a disk that is full, a folder that
    is closed to us.
    """
    try:
        yield
    except TerratunnelError as error:
        raise click.ClickException(logs.escape(str(error))) from error
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "terratunnel":
            raise
        hint = "install what a server needs with: pip install 'terratunnel[server]'"
        raise click.ClickException(f"The package {error.name} is missing; {hint}") from error
    except BrokenPipeError:  # whoever listened has gone: click ends without a word
        raise
    except OSError as error:
        log.debug("system_error", exc_info=error)
        where = f"{error.filename}: " if error.filename is not None else ""
        raise click.ClickException(logs.escape(f"{where}{options.system_words(error)}.")) from error


def load_env_file(path: Path) -> None:
    """Put the variables of a file into the environment, where they are not set already."""
    try:
        if path.is_file():
            from dotenv import load_dotenv

            load_dotenv(path, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"The file {path} cannot be read: {options.system_words(error)}.") from error
    except ValueError as error:  # not UTF-8, or a NUL in a value
        raise click.ClickException(f"The file {path} cannot be read: {error}.") from error


def open_missing_streams() -> None:
    """Put the null device in place of a standard stream that was closed for us.

    What is opened next would take its number: what is printed would go there, and libuv ends a program that closes it.
    """
    for name, mode in STREAMS:
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest one that is free
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def show_everything(stream: TextIO) -> None:
    """Let a terminal that lacks a character show its number instead of ending the program."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--log-level",
    envvar="TERRATUNNEL_LOG_LEVEL",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    metavar="[DEBUG|INFO|WARNING|ERROR]",
    default="INFO",
    show_default=True,
    help="What is written to stderr beside the request lines.",
)
@click.version_option(__version__, prog_name="terratunnel")
def main(log_level: str) -> None:
    """A permanent public URL for a service on your laptop.

    Try it: terratunnel demo. Every option can be given as an environment variable or in a .env file; .env.example
    lists them.
    """
    open_missing_streams()
    show_everything(sys.stdout)
    show_everything(sys.stderr)
    logs.configure(log_level)


for command in (server, client, http, demo, login, logout, whoami, admin):
    main.add_command(command)
