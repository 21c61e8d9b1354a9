"""The JSON API answers this machine's programs, and nobody who comes through a browser's back door."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from terratunnel.client import api
from terratunnel.client.api import AppServer, Status, bind, port_of, status_app
from tests.client.lab import HOST, ask, ask_raw


class Client:
    connected = True

    def status(self) -> Status:
        return {"connected": self.connected, "tunnel_hostname": "my-app.localhost"}


@asynccontextmanager
async def serving(client: Client) -> AsyncIterator[int]:
    await api.load()
    sock = bind(0)
    port = port_of(sock)
    server = AppServer(status_app(port, client.status), sock)
    await server.start()
    try:
        yield port
    finally:
        await server.close()


async def test_status_is_what_the_client_says() -> None:
    client = Client()
    async with serving(client) as port:
        status, body = await ask(port, f"{HOST}:{port}", "/status")
    assert (status, json.loads(body)) == (200, client.status())


async def test_health_is_that_of_the_tunnel() -> None:
    client = Client()
    async with serving(client) as port:
        assert (await ask(port, f"{HOST}:{port}", "/health"))[0] == 200
        client.connected = False
        status, body = await ask(port, f"{HOST}:{port}", "/health")
    assert (status, json.loads(body)) == (503, {"status": "unhealthy", "connected": False})


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
async def test_every_name_of_this_machine_is_fine(name: str) -> None:
    async with serving(Client()) as port:
        assert (await ask(port, f"{name}:{port}", "/status"))[0] == 200


@pytest.mark.parametrize("path", ["/status", "/health"])
@pytest.mark.parametrize("host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example"])
async def test_a_name_that_was_bound_to_this_machine_is_refused(path: str, host: str) -> None:
    async with serving(Client()) as port:
        status, body = await ask(port, host.format(port=port), path)
    assert (status, json.loads(body)["error"]) == (403, "forbidden_host")
    assert b"my-app" not in body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://localhost:1"])
async def test_pages_of_other_origins_are_refused(origin: str) -> None:
    async with serving(Client()) as port:
        fields = f"Origin: {origin.format(port=port)}\r\n"
        status, body = await ask(port, f"{HOST}:{port}", "/status", fields)
    assert (status, json.loads(body)["error"]) == (403, "forbidden_origin")


async def test_its_own_origin_is_fine_and_gets_no_leave_for_others() -> None:
    async with serving(Client()) as port:
        head, _ = await ask_raw(port, f"{HOST}:{port}", "/status", f"Origin: http://localhost:{port}\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"access-control" not in head.lower()


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_nothing_can_be_changed(method: str) -> None:
    async with serving(Client()) as port:
        assert (await ask(port, f"{HOST}:{port}", "/status", method=method))[0] == 405


async def test_it_listens_on_loopback_alone() -> None:
    sock = bind(0)
    assert sock.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OSError, match="in use"):
        bind(port_of(sock))
    sock.close()


async def test_a_closed_server_gives_its_port_back() -> None:
    async with serving(Client()) as port:
        pass
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        sock.connect((HOST, port))
