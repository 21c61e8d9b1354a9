"""What a person does first: the guide's two commands, the line that the server prints, and the demo's curl lines.

Everything is read from the screen and run as it stands there.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support.lab import Lab
from tests.e2e.support.processes import Program, clean_environment

# Ports and the name of a server that would be 8000 and localhost:8000: several of these run on one machine.
ANY_PORT = {
    "TERRATUNNEL_HOST": "127.0.0.1",
    "TERRATUNNEL_PORT": "0",
    "TERRATUNNEL_API_PORT": "0",
    "REQUIRE_AUTH_FOR_TUNNELS": "false",
}
FILE = bytes(range(256)) * 500
CURL_S = 15


@pytest.fixture(scope="module")
def website(module_lab: Lab) -> str:
    """`python -m http.server` with a file; its port."""
    folder = module_lab.folder / "site"
    folder.mkdir()
    (folder / "a file.bin").write_bytes(FILE)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    line = module_lab.own(Program("website", command, module_lab.folder)).wait_line("Serving HTTP")
    found = re.search(r" port (\d+) ", line)
    assert found
    return found[1]


def curl(command: str, folder: Path, *options: str) -> bytes:
    """Run a curl line as it was printed; its output."""
    program, *arguments = shlex.split(command)
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [path, "--silent", "--show-error", "--max-time", str(CURL_S), *options, *arguments],
        env=clean_environment(folder),
        capture_output=True,
        timeout=2 * CURL_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def shown(program: Program, label: str) -> str:
    """What stands behind a label on the screen."""
    return program.wait_line(label).split(label)[1].split()[0]


def is_logged(program: Program, request: str) -> None:
    """The line of a request in the guide's form."""
    line = program.wait_line(f" {request} ")
    assert re.fullmatch(rf"\[\d\d:\d\d:\d\d\] {re.escape(request)} \d+ms", line), line


def server_and_url(lab: Lab) -> tuple[Program, str]:
    """The guide's first command, and where the server says it is."""
    server = lab.start("server", "server", "--domain", "localhost", env=ANY_PORT)
    return server, shown(server, "The server is ready at ").rstrip(",")


def test_the_guides_two_commands_make_a_tunnel(lab: Lab, website: str) -> None:
    server, server_url = server_and_url(lab)
    env = ANY_PORT | {"TERRATUNNEL_SERVER_URL": server_url.replace("http", "ws")}
    client = lab.start("client", "client", "--local-endpoint", f"http://localhost:{website}", env=env)
    url = shown(client, "Public URL")
    assert curl(f"curl '{url}/a%20file.bin?x=1'", lab.folder) == FILE
    assert b"404" in curl(f"curl -i {url}/nothing", lab.folder)
    assert b"a%20file.bin" in curl(f"curl {url}/", lab.folder)
    for program in (server, client):
        is_logged(program, "GET /a%20file.bin?x=1 -> 200")
        is_logged(program, "GET /nothing -> 404")
    for program, number, last_words in (
        (client, signal.SIGINT, "The tunnel is closed."),
        (server, signal.SIGTERM, "The server has stopped."),
    ):
        program.signal(number)
        assert program.wait_end() == 0
        assert program.lines[-1].endswith(last_words)


def test_the_command_that_the_server_prints_makes_a_tunnel(lab: Lab, website: str) -> None:
    server, _ = server_and_url(lab)
    line = server.wait_line("  terratunnel client ").replace("http://localhost:3000", f"http://localhost:{website}")
    program, *arguments = shlex.split(line)
    assert program == "terratunnel"
    client = lab.start("client", *arguments, env=ANY_PORT)
    assert curl(f"curl '{shown(client, 'Public URL')}/a%20file.bin'", lab.folder) == FILE


def test_http_and_a_port_make_a_tunnel(lab: Lab, website: str) -> None:
    _, server_url = server_and_url(lab)
    client = lab.start("client", "http", website, "--server-url", server_url, env=ANY_PORT)
    assert shown(client, "Forwards to") == f"http://localhost:{website}"
    assert curl(f"curl '{shown(client, 'Public URL')}/a%20file.bin'", lab.folder) == FILE


def test_a_key_and_a_domain_make_a_tunnel_with_a_name_of_its_own(lab: Lab, website: str) -> None:
    secret = "6f1d86a0c2b94e57d1f3a8420b9c7e55"
    env = ANY_PORT | {"TERRATUNNEL_STATIC_KEYS": "a-key=my-app", "REQUIRE_AUTH_FOR_TUNNELS": "true"}
    env["JWT_SECRET"] = secret
    server = lab.start("server", "--log-level", "DEBUG", "server", "--domain", "tunnel.example.com", env=env)
    port = server.wait_line("listening on 127.0.0.1:").split("127.0.0.1:")[1].split(".")[0]
    env = ANY_PORT | {"TERRATUNNEL_API_KEY": "a-key", "TERRATUNNEL_SERVER_URL": f"ws://127.0.0.1:{port}"}
    client = lab.start("client", "client", "--local-endpoint", f"http://localhost:{website}", env=env)
    assert shown(client, "Public URL") == "https://my-app.tunnel.example.com"
    # What a proxy that ends TLS sends on.
    proxied = f"curl -H 'Host: My-App.tunnel.example.com' 'http://127.0.0.1:{port}/a%20file.bin'"
    assert curl(proxied, lab.folder) == FILE
    for program in (server, client):
        assert "a-key" not in program.report()
        assert secret not in program.report()


def test_the_server_says_what_it_is_and_how_it_does(lab: Lab, website: str) -> None:
    _, server_url = server_and_url(lab)
    assert b"Terratunnel" in curl(f"curl {server_url}/", lab.folder)
    health = f"curl {server_url}/_health"
    assert json.loads(curl(health, lab.folder)) == {"status": "healthy", "active_connections": 0}
    client = lab.start("client", "http", website, "--server-url", server_url, env=ANY_PORT)
    client.wait_line("Public URL")
    assert json.loads(curl(health, lab.folder)) == {"status": "healthy", "active_connections": 1}
    status = json.loads(curl(f"curl {shown(client, 'Status')}", lab.folder))
    assert (status["running"], status["connected"]) == (True, True)
    assert f"http://{status['tunnel_hostname']}:{server_url.rpartition(':')[2]}" == shown(client, "Public URL")


def test_the_curl_lines_of_the_demo_work_as_they_stand_there(lab: Lab) -> None:
    demo = lab.start("demo", "demo", "--port", "0")
    demo.wait_line("Ctrl-C ends the demo")
    post, events, resolved = [line.strip() for line in demo.lines if line.startswith("  curl ")]
    url = shown(demo, "Public URL")
    assert all(url in line for line in (post, events, resolved))
    echoed = json.loads(curl(post, lab.folder))
    assert (echoed["method"], echoed["target"], echoed["body_start"]) == ("POST", "/hook", "hello")
    is_logged(demo, "POST /hook -> 200")
    assert b"Hello from your laptop" in curl(resolved, lab.folder)
    watcher = lab.own(Program("curl", shlex.split(events), lab.folder))
    for number in (1, 2):
        watcher.wait_line(f'data: {{"number": {number}, "of": 60}}')
    watcher.stop()
    assert curl(f"curl {shown(demo, 'Forwards to')}/", lab.folder) == curl(resolved, lab.folder)
    assert json.loads(curl(f"curl {shown(demo, 'Status')}", lab.folder))["connected"] is True
    demo.signal(signal.SIGINT)
    assert demo.wait_end() == 0
    assert "Traceback" not in demo.log


def test_the_demo_carries_your_own_app(lab: Lab, website: str) -> None:
    demo = lab.start("demo", "demo", "--port", "0", "--local-endpoint", f"http://localhost:{website}")
    demo.wait_line("Ctrl-C ends the demo")
    for line in [line for line in demo.lines if line.startswith("  curl ")]:
        assert b"a%20file.bin" in curl(line, lab.folder)
    is_logged(demo, "GET / -> 200")
