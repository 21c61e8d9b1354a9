"""The command lines that pages show: they are what the program takes."""

import shlex

import pytest
from click.testing import CliRunner

from terratunnel.cli.main import main
from terratunnel.server.control import commands


@pytest.mark.parametrize("key", ["", "tt_with-a_dash"])
def test_the_command_of_a_client_names_this_server(key: str) -> None:
    command = commands.client("https://tunnel.example.com:8443", key)
    assert command.startswith("terratunnel client --server-url wss://tunnel.example.com:8443 ")
    assert (f"--api-key {key}" in command) == bool(key)
    assert command.endswith("--local-endpoint http://localhost:3000")


def test_plain_http_means_a_plain_websocket() -> None:
    assert "--server-url ws://localhost:8000 " in commands.client("http://localhost:8000")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (commands.client("https://tunnel.example.com", "tt_key"), ["client"]),
        (commands.login("https://tunnel.example.com"), ["login"]),
        (commands.SHORT, ["http"]),
        (commands.login_link(), ["admin", "login-link"]),
    ],
)
def test_the_program_knows_every_command_that_is_shown(command: str, names: list[str]) -> None:
    words = shlex.split(command)
    assert words[: len(names) + 1] == ["terratunnel", *names]
    result = CliRunner().invoke(main, [*names, "--help"])
    assert result.exit_code == 0, result.output
    assert [word for word in words if word.startswith("--") and word not in result.output] == []
