"""`server`: what its options make, and the process from its start to its end."""

import dataclasses
import http.client
import json
import os
import signal
import socket
import stat
from pathlib import Path
from typing import cast

import click
import pytest
from click.testing import CliRunner

from terratunnel.cli.main import main
from terratunnel.cli.server import CannotListen, ServerOptions, server, server_config, static_keys
from terratunnel.server.config import ConfigError, EdgeLimits, ServerConfig
from tests.cli.program import ROOT, program, run

LOCAL = ("--host", "127.0.0.1", "--port", "0")


def configured(*arguments: str) -> ServerConfig:
    """What the command would run."""
    context = server.make_context("server", list(arguments))
    return server_config(cast(ServerOptions, context.params))


def sizes(limits: EdgeLimits) -> tuple[int, int, int]:
    return limits.max_request_bytes, limits.max_response_bytes, limits.streaming_threshold


def health(port: int) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/_health", headers={"Host": "localhost"})
    found = json.loads(connection.getresponse().read())
    connection.close()
    assert isinstance(found, dict)
    return found


# ---------------------------------------------------------------------- options


def test_the_defaults_are_those_of_the_configuration() -> None:
    default = ServerConfig()
    config = configured()
    assert dataclasses.replace(config, edge=default.edge) == default
    assert dataclasses.replace(config.edge, head=default.edge.head) == default.edge


def test_every_option_arrives() -> None:
    config = configured(
        *("--host", "127.0.0.1", "--port", "9000", "--domain", "Tunnel.Example.com.", "--db-path", "x.db"),
        *("--public-url", "https://example.com:8443", "--no-require-auth", "--max-request-size", "1"),
        *("--max-response-size", "2", "--streaming-threshold", "3", "--chunk-size", "4096"),
    )
    assert (config.host, config.port, config.domain) == ("127.0.0.1", 9000, "tunnel.example.com")
    assert (config.db_path, config.public_url, config.require_auth) == ("x.db", "https://example.com:8443", False)
    assert sizes(config.edge) == (1, 2, 3)
    assert config.link.chunk_size == 4096


def test_every_variable_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TERRATUNNEL_HOST": "127.0.0.1",
        "TERRATUNNEL_PORT": "9000",
        "TERRATUNNEL_DOMAIN": "tunnel.example.com",
        "TERRATUNNEL_DB_PATH": "x.db",
        "TERRATUNNEL_PUBLIC_URL": "https://example.com",
        "TERRATUNNEL_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1",
        "REQUIRE_AUTH_FOR_TUNNELS": "false",
        "TERRATUNNEL_MAX_REQUEST_SIZE": "0",
        "TERRATUNNEL_MAX_RESPONSE_SIZE": "0",
        "STREAMING_THRESHOLD": "3",
        "DEFAULT_CHUNK_SIZE": "4096",
        "TERRATUNNEL_STATIC_KEYS": "sesame=my-app",
        "JWT_SECRET": "x" * 32,
    }.items():
        monkeypatch.setenv(name, value)
    config = configured()
    assert (config.host, config.port, config.domain) == ("127.0.0.1", 9000, "tunnel.example.com")
    assert (config.db_path, config.public_url, config.require_auth) == ("x.db", "https://example.com", False)
    assert [str(network) for network in config.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert sizes(config.edge) == (0, 0, 3)
    assert (config.link.chunk_size, config.static_keys, config.secret) == (4096, {"sesame": "my-app"}, "x" * 32)


def test_a_proxy_is_named_by_its_address() -> None:
    with pytest.raises(ConfigError, match="TERRATUNNEL_TRUSTED_PROXIES is not like 10"):
        configured("--trusted-proxies", "proxy.example.com")


def test_every_option_names_its_variable() -> None:
    options = [option for option in server.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.envvar] == []


@pytest.mark.parametrize("value", ["", "1", "yes", "true"])
def test_keys_are_needed_unless_it_is_said_clearly(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_AUTH_FOR_TUNNELS", value)
    assert configured().require_auth


def test_a_misread_variable_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_AUTH_FOR_TUNNELS", "flase")
    assert CliRunner().invoke(main, ["server"]).exit_code == 2


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", {}),
        (" , ", {}),
        ("sesame=my-app", {"sesame": "my-app"}),
        (" a==one , b=two ,", {"a=": "one", "b": "two"}),
    ],
)
def test_static_keys_are_read(text: str, keys: dict[str, str]) -> None:
    assert static_keys(text) == keys


@pytest.mark.parametrize("text", ["sesame", "=my-app", "ok=one,sesame=", "sesame=My App", "sesame=www", "sesame=a.b"])
def test_a_static_key_that_cannot_work_is_named_by_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=f"Entry {text.count(',') + 1} of TERRATUNNEL_STATIC_KEYS") as refused:
        static_keys(text)
    assert "sesame" not in str(refused.value)


def test_an_address_that_cannot_be_had_is_written_as_one() -> None:
    assert "on [::1]:80 (no way)" in str(CannotListen("::1", 80, OSError("no way")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--domain", "a b"), "domain 'a b'"),
        (("--public-url", "example.com"), "public URL 'example.com'"),
        (("--host", "no-such-host.invalid", "--port", "0"), "cannot listen on no-such-host.invalid:0"),
        (("--domain", "tunnel.example.com", *LOCAL), "JWT_SECRET is not set"),
        (("--no-require-auth", "--domain", "tunnel.example.com", *LOCAL), "JWT_SECRET is not set"),
        (("--no-require-auth", "--db-path", "missing/x.db", *LOCAL), "--db-path"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    status, out, err = run("--log-level", "ERROR", "server", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"JWT_SECRET": "change-me-to-something-long-and-secret"}, "JWT_SECRET is the text of an example"),
        ({}, "nobody can sign in to get one; set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET"),
        ({"GITLAB_CLIENT_ID": "app"}, "GITLAB_CLIENT_SECRET is not set"),
        ({"TERRATUNNEL_DATABASE_URL": "mysql://me:hush@host/x"}, "TERRATUNNEL_DATABASE_URL is not like postgresql://"),
        ({"TERRATUNNEL_DATABASE_URL": "postgresql://me:hush@127.0.0.1:1/x"}, "(127.0.0.1/x: "),
    ],
)
def test_in_production_a_server_that_is_open_to_all_or_to_none_does_not_start(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", "6f1d86a0c2b94e57d1f3a8420b9c7e55")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    status, out, err = run("server", "--domain", "tunnel.example.com", *LOCAL)
    assert (status, out) == (1, "")
    *logged, said = err.splitlines()
    assert said.startswith("Error: ")
    assert words in said
    assert [line for line in logged if " INFO " not in line] == []
    assert "hush" not in err


# ---------------------------------------------------------------------- the process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_reads_when_it_is_ready_and_stopped(number: signal.Signals) -> None:
    with program("server", *LOCAL, "--output", "json") as started:
        ready = started.event("ready")
        assert (ready["host"], ready["domain"]) == ("127.0.0.1", "localhost")
        assert ready["public_url"] == f"http://localhost:{ready['port']}"
        assert health(ready["port"]) == {"status": "healthy", "active_connections": 0}
        started.interrupt(number)
        started.event("stopped")
        assert started.end()[0] == 0
        assert len(started.seen) == 2


def test_a_person_reads_how_to_connect_and_each_request() -> None:
    with program("server", *LOCAL) as started:
        port = int(started.line_with("The server is ready").partition("127.0.0.1:")[2].partition(".")[0])
        assert f"--server-url http://localhost:{port} " in started.line_with("terratunnel client")
        health(port)
        assert "] GET /_health -> 200 " in started.line_with("/_health")
        started.interrupt()
        assert started.end()[0] == 0


def test_a_second_interrupt_does_not_wait_for_what_is_under_way() -> None:
    with program("server", *LOCAL, REQUIRE_AUTH_FOR_TUNNELS="false") as started:
        port = int(started.line_with("The server is ready").partition("127.0.0.1:")[2].partition(".")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as visitor:
            visitor.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhalf")
            health(port)
            started.interrupt()
            started.line_with("Finishing")
            started.interrupt()
            assert started.end()[0] == 0


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, err = run("server", "--host", "127.0.0.1", "--port", str(port))
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"Error: The server cannot listen on 127.0.0.1:{port} (Address already in use); give another --host or --port."
    )


@pytest.mark.parametrize("command", [("server", *LOCAL, "--no-require-auth"), ("demo", "--port", "0")])
def test_where_the_client_alone_is_installed_the_sentence_comes_before_anything_listens(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['coolname'] = None\n")
    assert run(*command, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") == (
        1,
        "",
        "Error: The package coolname is missing; install what a server needs with: pip install 'terratunnel[server]'\n",
    )


def test_the_secret_of_a_trial_is_kept_beside_its_database(tmp_path: Path) -> None:
    with program("server", *LOCAL, "--no-require-auth", "--output", "json") as started:
        started.event("ready")
    assert stat.S_IMODE((tmp_path / "terratunnel.secret").stat().st_mode) == 0o600
