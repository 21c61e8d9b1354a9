"""Terratunnel as a subject: a server and two agents (service, upload sink) as real processes, logs in files.

Used by `bench.lab` and the rows `start` and `memory`. Default settings but for size limits, which 100 MB would hit.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.errors import BenchError
from bench.figures import OURS
from bench.loads import Address
from bench.probe import answers, fetch_json, wait_for
from bench.processes import REPOSITORY, Process, free_port
from bench.subjects import Service, Subject, own

SETTINGS: Final = {
    "REQUIRE_AUTH_FOR_TUNNELS": "false",
    "TERRATUNNEL_MAX_REQUEST_SIZE": "0",
    "TERRATUNNEL_MAX_RESPONSE_SIZE": "0",
}
# What the caller's environment must not change: our settings and how Python runs.
FOREIGN: Final = ("TERRATUNNEL_", "PYTHON", "STREAMING_THRESHOLD", "DEFAULT_CHUNK_SIZE")
_WHERE: Final = "import terratunnel.protocol.multiplexer as m; print(m.__file__)"


@dataclass(frozen=True, slots=True)
class Server:
    """A running Terratunnel server."""

    process: Process
    port: int
    ready_s: float


@dataclass(frozen=True, slots=True)
class Agent:
    """A running client and the public name it got."""

    process: Process
    address: Address
    connected: float


class Product:
    """The Terratunnel that one interpreter runs: the checkout (pure), or what is installed there (maybe compiled)."""

    def __init__(self, python: str, env: dict[str, str], compiled: bool) -> None:
        self.python = python
        self.env = env
        self.compiled = compiled

    def subject(self, service: Service, folder: Path, stack: ExitStack) -> Subject:
        """A server with an agent for the service and one for the upload sink."""
        server = self.start_server(folder, stack)
        agent = self.start_agent(server, service.port, "client", folder, stack)
        uploads = self.start_agent(server, service.sink_port, "upload client", folder, stack)
        return Subject(OURS, agent.address, uploads.address, [server.process, agent.process, uploads.process])

    def start_server(self, folder: Path, stack: ExitStack) -> Server:
        """Start a server; ready means that /_health answers."""
        port = free_port()
        options = ["--host", "127.0.0.1", "--port", str(port), "--domain", "localhost"]
        process = own(stack, self._start("server", folder, "server", *options, "--db-path", str(folder / f"{port}.db")))
        ready = wait_for(answers(Address(port, f"localhost:{port}"), "/_health"), [process])
        return Server(process, port, ready - process.started)

    def start_agent(self, server: Server, local_port: int, label: str, folder: Path, stack: ExitStack) -> Agent:
        """Start a client; connected means that its own API names the tunnel."""
        api_port = free_port()
        options = ["--server-url", f"ws://127.0.0.1:{server.port}", "--api-port", str(api_port)]
        endpoint = f"http://127.0.0.1:{local_port}"
        process = own(stack, self._start(label, folder, "client", *options, "--local-endpoint", endpoint))
        connected = wait_for(lambda: bool(_hostname(api_port)), [process, server.process])
        name = _hostname(api_port).partition(":")[0]
        return Agent(process, Address(server.port, f"{name}:{server.port}"), connected)

    def _start(self, label: str, folder: Path, *arguments: str) -> Process:
        return Process(label, [self.python, "-m", "terratunnel", *arguments], folder, self.env)


def find(python: str, compiled: bool | None) -> Product:
    """The product that `python` runs. `compiled` True or False insists on that build, None takes what there is."""
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("TERRATUNNEL_", "PYTHON"))
    } | SETTINGS
    checkout = env | {"PYTHONPATH": str(REPOSITORY)}
    candidates = {None: (env, checkout), True: (env,), False: (checkout,)}[compiled]
    for candidate in candidates:
        where = _module_file(python, candidate)
        if where:
            break
    else:
        raise BenchError(f"{python} cannot import terratunnel: install it there, or give --python another interpreter")
    is_compiled = where.endswith(".so")
    if compiled is not None and compiled is not is_compiled:
        raise BenchError(f"--{'compiled' if compiled else 'pure'} was asked for, but {python} imports {where}")
    return Product(python, candidate, is_compiled)


def _module_file(python: str, env: dict[str, str]) -> str:
    result = subprocess.run([python, "-c", _WHERE], env=env, cwd="/", capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def _hostname(api_port: int) -> str:
    return str(fetch_json(api_port, "/status").get("tunnel_hostname") or "")
