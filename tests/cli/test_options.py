"""What options share: types, origins and words."""

import errno
import socket

import click
import pytest
from click.testing import CliRunner

from terratunnel.cli import options


@click.command()
@click.option("--port", envvar="TERRATUNNEL_API_PORT", type=options.port_type(), default=8081)
@options.chunk_options
@options.output_option
@click.pass_context
def show(context: click.Context, port: int, streaming_threshold: int, chunk_size: int, output: str) -> None:
    click.echo(f"{port} {options.was_given(context, 'port')} {streaming_threshold} {chunk_size} {output}")


def test_a_default_was_not_asked_for() -> None:
    assert CliRunner().invoke(show).output == "8081 False 10485760 524288 text\n"


def test_a_flag_and_a_variable_were() -> None:
    assert CliRunner().invoke(show, ["--port", "8081"]).output.startswith("8081 True ")
    assert CliRunner().invoke(show, env={"TERRATUNNEL_API_PORT": "8081"}).output.startswith("8081 True ")


def test_every_shared_option_has_its_variable() -> None:
    variables = {"STREAMING_THRESHOLD": "1", "DEFAULT_CHUNK_SIZE": "2048", "TERRATUNNEL_OUTPUT": "json"}
    assert CliRunner().invoke(show, env=variables).output == "8081 False 1 2048 json\n"


@pytest.mark.parametrize(
    "arguments", [("--port", "65536"), ("--port", "-1"), ("--chunk-size", "10"), ("--output", "xml")]
)
def test_a_value_out_of_range_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(show, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, "[Errno 98] error while attempting to bind on address"), "Address already in use"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("could not bind on any address"), "could not bind on any address"),
    ],
)
def test_what_the_system_says_is_in_words(error: OSError, words: str) -> None:
    assert options.system_words(error) == words
