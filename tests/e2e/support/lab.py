"""A lab: servers, clients, raw services and visitors of one test, ended together. Used through the fixtures.

Rule: everything listens on 127.0.0.1 and on ports that the system chose.
"""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TypeVar

from tests.e2e.support.processes import Program
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import TIMEOUT_S, Wire

Result = TypeVar("Result")


@dataclass
class Tunnel:
    """A server, a client of it, and where visitors go. `host` is the Host field's value."""

    server: Program
    client: Program
    port: int
    host: bytes

    def visit(self, timeout_s: float = TIMEOUT_S) -> Wire:
        """Connect as a visitor."""
        return connect(self.port, timeout_s)

    def get(self, target: bytes = b"/", *fields: bytes, method: bytes = b"GET") -> bytes:
        """The bytes of a request without a body."""
        lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: " + self.host, *fields]
        return b"\r\n".join([*lines, b"", b""])

    def post(self, body: bytes, target: bytes = b"/", *fields: bytes) -> bytes:
        """The bytes of a POST with a length."""
        return self.get(target, *fields, b"Content-Length: %d" % len(body), method=b"POST") + body


class Lab:
    """Starts things and ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: list[Program] = []
        self._stack = ExitStack()

    def server(self, *options: str, env: dict[str, str] | None = None, port: int = 0) -> Program:
        """A server that is ready; its port is in its `ready` event. Anyone may connect unless `env` says otherwise."""
        env = {"REQUIRE_AUTH_FOR_TUNNELS": "false"} | (env or {})
        command = ("server", "--host", "127.0.0.1", "--port", str(port), "--output", "json", *options)
        program = self.start("server", *command, env=env)
        program.wait("ready")
        return program

    def client(self, port: int, endpoint: str, *options: str, env: dict[str, str] | None = None) -> Program:
        """A client that was started; `wait("online")` says when it serves."""
        url = f"ws://127.0.0.1:{port}"
        command = ("client", "--server-url", url, "--local-endpoint", endpoint, "--api-port", "0", "--output", "json")
        return self.start("client", *command, *options, env=env)

    def tunnel(
        self,
        endpoint: str,
        *client_options: str,
        server_options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> Tunnel:
        """A server and a client that is online; `env` is for both."""
        server = self.server(*server_options, env=env)
        port = port_of(server)
        return self.join(server, self.client(port, endpoint, *client_options, env=env))

    def join(self, server: Program, client: Program) -> Tunnel:
        """The tunnel of a server and a client that may still be on its way."""
        hostname = client.wait("online")["hostname"]
        port = port_of(server)
        return Tunnel(server, client, port, f"{hostname}:{port}".encode())

    def upstream(self) -> RawUpstream:
        """A raw service."""
        return self._stack.enter_context(RawUpstream())

    def start(self, label: str, *arguments: str, env: dict[str, str] | None = None) -> Program:
        """Any command of the program."""
        return self.own(Program.terratunnel(label, *arguments, folder=self.folder, env=env))

    def own(self, program: Program) -> Program:
        """End a process with the lab."""
        self.programs.append(program)
        self._stack.callback(program.stop)
        return program

    def close(self) -> None:
        """End everything, the latest first."""
        self._stack.close()


def port_of(server: Program) -> int:
    """The port on which a server that is ready listens."""
    return int(server.wait("ready")["port"])


def connect(port: int, timeout_s: float = TIMEOUT_S) -> Wire:
    """A connection to a port of this machine."""
    return Wire(socket.create_connection(("127.0.0.1", port), timeout_s), timeout_s)


def in_background(work: Callable[..., Result], *arguments: object) -> "Future[Result]":
    """Do work in a thread; `.result(timeout)` has its end."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
