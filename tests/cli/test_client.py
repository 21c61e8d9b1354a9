"""`client` and `http`: what their options make, and the process from its start to its end."""

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import click
import pytest
from click.testing import CliRunner

from terratunnel.cli.client import ClientOptions, client, client_config
from terratunnel.cli.client import http as http_command
from terratunnel.cli.main import main
from terratunnel.cli.options import was_given
from terratunnel.client.app import ExitStatus
from terratunnel.client.config import ClientConfig
from terratunnel.client.credentials import Credentials, CredentialsError, CredentialStore, default_config_dir
from tests.cli.program import program, run

SERVER = ("server", "--host", "127.0.0.1", "--port", "0", "--output", "json")
ANONYMOUS = {"REQUIRE_AUTH_FOR_TUNNELS": "false"}


def configured(command: click.Command, *arguments: str) -> tuple[ClientConfig, click.Context]:
    """What a command would run."""
    context = command.make_context(command.name, list(arguments))
    given = dict(context.params)
    endpoint = given.pop("local_endpoint", None) or given.pop("target")
    config = client_config(endpoint, cast(ClientOptions, given), was_given(context, "api_port"))
    return config, context


class Service(BaseHTTPRequestHandler):
    """A local service; /slow answers when the test says so."""

    asked = threading.Event()
    answer = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.asked.set()
            self.answer.wait(20)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def local_port() -> Iterator[int]:
    Service.asked.clear()
    Service.answer.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service.server_port
        Service.answer.set()
        service.shutdown()


@contextmanager
def server(**variables: str) -> Iterator[str]:
    """A server process; yields its URL."""
    with program(*SERVER, **variables) as started:
        yield f"ws://127.0.0.1:{started.event('ready')['port']}"


def visit(server_url: str, hostname: str, target: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server_url.rpartition(":")[2]), timeout=20)
    connection.request("GET", target, headers={"Host": hostname})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


# ---------------------------------------------------------------------- options


def test_the_defaults_are_those_of_the_guide(tmp_path: Path) -> None:
    config, _ = configured(client, "--local-endpoint", "http://localhost:3000")
    plain = ClientConfig("ws://localhost:8000", "http://localhost:3000", api_port=8081)
    assert config == ClientConfig(**{**vars(plain), "state_dir": tmp_path / "state" / "terratunnel"})
    assert not config.api_port_required


def test_every_option_arrives() -> None:
    config, _ = configured(
        client,
        *("--local-endpoint", " http://box:3000 ", "--server-url", " wss://tunnel.example.com "),
        *("--api-key", " sesame\n", "--api-port", "0", "--connect-timeout", "1.5", "--first-byte-timeout", "2.5"),
        *("--streaming-threshold", "7", "--chunk-size", "2048"),
    )
    assert (config.local_endpoint, config.server_url) == ("http://box:3000", "wss://tunnel.example.com")
    assert (config.api_key, config.api_port, config.api_port_required) == ("sesame", 0, True)
    assert (config.timeouts.connect_s, config.timeouts.first_byte_s) == (1.5, 2.5)
    assert (config.streaming_threshold, config.chunk_size) == (7, 2048)


HERE = Credentials("http://localhost:9000", "tt_here", "http://happy-panda.localhost:9000")
THERE = Credentials("wss://tunnel.example.com", "tt_there", "https://happy-panda.tunnel.example.com")


def test_what_login_has_kept_stands_behind_flags_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CredentialStore(default_config_dir())
    for each in (THERE, HERE):
        store.put(each)

    def used(*arguments: str) -> tuple[str, str]:
        config, _ = configured(client, "--local-endpoint", "http://box:3000", *arguments)
        return config.server_url, config.api_key

    assert used() == ("http://localhost:9000", "tt_here")
    assert used("--server-url", "https://tunnel.example.com") == ("https://tunnel.example.com", "tt_there")
    assert used("--server-url", "ws://elsewhere:1") == ("ws://elsewhere:1", "")
    assert used("--api-key", "mine") == ("http://localhost:9000", "mine")
    monkeypatch.setenv("TERRATUNNEL_SERVER_URL", "wss://tunnel.example.com")
    assert used() == ("wss://tunnel.example.com", "tt_there")
    monkeypatch.setenv("TERRATUNNEL_API_KEY", "from-variable")
    assert used() == ("wss://tunnel.example.com", "from-variable")
    assert used("--server-url", "ws://flag:1", "--api-key", "flag") == ("ws://flag:1", "flag")


def test_keys_that_others_could_read_are_not_used_unless_nothing_of_them_is_needed() -> None:
    store = CredentialStore(default_config_dir())
    store.put(HERE)
    store.prepare().chmod(0o644)
    given = ("--local-endpoint", "http://box:3000")
    with pytest.raises(CredentialsError, match="others may read it"):
        configured(client, *given)
    config, _ = configured(client, *given, "--server-url", "ws://box:1", "--api-key", "mine")
    assert config.api_key == "mine"


def test_every_option_has_a_variable_that_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TERRATUNNEL_LOCAL_ENDPOINT": "http://box:3000",
        "TERRATUNNEL_SERVER_URL": "wss://tunnel.example.com",
        "TERRATUNNEL_API_KEY": "sesame",
        "TERRATUNNEL_API_PORT": "9000",
        "TERRATUNNEL_CONNECT_TIMEOUT": "1.5",
        "TERRATUNNEL_FIRST_BYTE_TIMEOUT": "2.5",
        "STREAMING_THRESHOLD": "7",
        "DEFAULT_CHUNK_SIZE": "2048",
    }.items():
        monkeypatch.setenv(name, value)
    config, _ = configured(client)
    assert (config.local_endpoint, config.server_url) == ("http://box:3000", "wss://tunnel.example.com")
    assert (config.api_key, config.api_port, config.api_port_required) == ("sesame", 9000, True)
    assert (config.timeouts.connect_s, config.timeouts.first_byte_s) == (1.5, 2.5)
    assert (config.streaming_threshold, config.chunk_size) == (7, 2048)


def test_every_option_names_its_variable() -> None:
    options = [option for command in (client, http_command) for option in command.params if option.name != "target"]
    assert [option.name for option in options if isinstance(option, click.Option) and not option.envvar] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("client",),
        ("client", "--local-endpoint", "http://localhost:3000", "--api-port", "70000"),
        ("client", "--local-endpoint", "http://localhost:3000", "--connect-timeout", "0"),
        ("http", "3000", "--first-byte-timeout", "soon"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == ExitStatus.USAGE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("client", "--local-endpoint", "localhost"), "local endpoint 'localhost'"),
        (("http", "ftp://box"), "local endpoint 'ftp://box'"),
        (("http", "3000", "--server-url", "tunnel.example.com"), "write|like wss://tunnel.example.com"),
        (("http", "3000", "--api-key", "two words"), "API key"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (ExitStatus.ERROR, "")
    assert result.stderr.startswith("Error: ")
    assert any(word in result.stderr for word in words.split("|"))
    assert result.stderr.count("\n") == 1


# ---------------------------------------------------------------------- the process


def test_a_person_sees_the_url_and_the_requests(local_port: int) -> None:
    with (
        server(**ANONYMOUS) as url,
        program("http", str(local_port), "--server-url", url, "--api-port", "0") as started,
    ):
        public = started.line_with("Public URL").split()[-1]
        host = public.removeprefix("http://")
        assert visit(url, host, "/hook?a=%2F") == (200, b"ok")
        assert "] GET /hook?a=%2F -> 200 " in started.line_with("/hook")
        started.interrupt()
        status, out, err = started.end()
        assert (status, err) == (ExitStatus.ENDED, "")
        assert out.endswith("The tunnel is closed.\n")


def test_a_program_reads_events_alone(local_port: int) -> None:
    endpoint = f"http://127.0.0.1:{local_port}"
    arguments = ("client", "--local-endpoint", endpoint, "--api-port", "0", "--output", "json")
    with server(**ANONYMOUS) as url, program(*arguments, "--server-url", url) as started:
        assert started.event("connecting")["server_url"] == url
        online = started.event("online")
        assert online["url"] == f"http://{online['hostname']}:{url.rpartition(':')[2]}"
        assert online["local_endpoint"] == endpoint
        visit(url, online["hostname"], "/hook")
        request = started.event("request")
        assert (request["method"], request["target"], request["status"]) == ("GET", "/hook", 200)
        assert len(request["request_id"]) == 32
        started.interrupt(signal.SIGTERM)
        started.event("closed")
        assert started.end()[0] == ExitStatus.ENDED
        assert all(json.loads(line) for line in started.seen)


def test_an_interrupt_waits_for_the_request_under_way(local_port: int) -> None:
    with (
        server(**ANONYMOUS) as url,
        program("http", str(local_port), "--server-url", url, "--api-port", "0", "--output", "json") as started,
    ):
        host = started.event("online")["hostname"]
        found: list[tuple[int, bytes]] = []
        visitor = threading.Thread(target=lambda: found.append(visit(url, host, "/slow")))
        visitor.start()
        Service.asked.wait(20)
        started.interrupt()
        assert "Finishing 1 request" in started.event("notice")["message"]
        Service.answer.set()
        assert started.end()[0] == ExitStatus.ENDED
        visitor.join()
        assert found == [(200, b"ok")]


def test_a_second_interrupt_does_not_wait(local_port: int) -> None:
    with (
        server(**ANONYMOUS) as url,
        program("http", str(local_port), "--server-url", url, "--api-port", "0", "--output", "json") as started,
    ):
        host = started.event("online")["hostname"]
        visitor = threading.Thread(target=lambda: visit(url, host, "/slow"))
        visitor.start()
        Service.asked.wait(20)
        started.interrupt()
        started.event("notice")
        started.interrupt()
        assert started.end()[0] == ExitStatus.ENDED
        visitor.join()


def test_a_refused_key_is_final() -> None:
    with server() as url:
        status, out, err = run("http", "3000", "--server-url", url, "--api-key", "wrong", "--api-port", "0")
    assert status == ExitStatus.REFUSED
    assert err == ("Error: The server refuses this client: The API key is not valid; check it, or ask for a new one.\n")
    assert "Connecting to" in out


def test_a_client_that_is_replaced_ends_and_says_so() -> None:
    arguments = ("http", "3000", "--api-key", "sesame", "--api-port", "0", "--output", "json", "--server-url")
    with server(TERRATUNNEL_STATIC_KEYS="sesame=my-app") as url, program(*arguments, url) as first:
        first.event("online")
        with program(*arguments, url) as second:
            assert second.event("online")["hostname"] == "my-app.localhost"
            status, _, err = first.end()
    assert status == ExitStatus.REPLACED
    assert err.startswith("Error: This tunnel was taken over: ")


def test_a_closed_pipe_does_not_stop_the_tunnel(local_port: int) -> None:
    with (
        server(**ANONYMOUS) as url,
        program("http", str(local_port), "--server-url", url, "--api-port", "0", "--output", "json") as started,
    ):
        host = started.event("online")["hostname"]
        started.close_stdout()
        assert [visit(url, host)[0] for _ in range(3)] == [200, 200, 200]
        started.interrupt()
        status, err = started.end_without_stdout()
        assert (status, err) == (ExitStatus.ENDED, "")
