"""The pages and the API of a server in this process, over a real database, with people who are signed in.

Used by the control plane's tests. Rule: nothing is replaced; what a test does not start is what a server has.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.memory import MemoryLink
from terratunnel.protocol.settings import Settings
from terratunnel.server.actors import Actor
from terratunnel.server.app import AccountServices
from terratunnel.server.auth.cookies import value_of
from terratunnel.server.config import AccountsConfig, ProviderConfig, ServerConfig
from terratunnel.server.control.app import build_app
from terratunnel.server.routes import Route, RouteTable
from terratunnel.server.services import Services
from terratunnel.server.storage.users import Profile
from terratunnel.server.tunnels import NewKey
from terratunnel.testing.streams import OwnerRecorder

BASE_URL = "http://localhost:8000"
SECRET = b"a-secret-of-tests-that-is-long-enough"
ADMIN = "root"
PROVIDER = ProviderConfig("github", "GitHub", "id", "secret", "http://127.0.0.1:1", "http://127.0.0.1:1/api/v3")
PAGE = {"Accept": "text/html"}


@dataclass
class Person:
    """Somebody with a session and a tunnel, in a browser or as a program."""

    actor: Actor
    cookie: str
    csrf_token: str
    tunnel_id: int
    subdomain: str
    client: httpx.AsyncClient
    keys: list[NewKey] = field(default_factory=list)

    @property
    def session(self) -> dict[str, str]:
        """The fields of a request with the session."""
        return {"Cookie": self.cookie}

    async def get(self, path: str, **fields: str) -> httpx.Response:
        """Open a page."""
        return await self.client.get(path, headers=self.session | PAGE | fields)

    async def post(self, path: str, data: Mapping[str, Any] | None = None, **fields: str) -> httpx.Response:
        """Send a form of ours."""
        headers = self.session | PAGE | {"Origin": BASE_URL} | fields
        return await self.client.post(path, data={"csrf_token": self.csrf_token} | dict(data or {}), headers=headers)

    async def call(self, method: str, path: str, json: object = None) -> httpx.Response:
        """Call the API with the session."""
        headers = self.session | {"Origin": BASE_URL, "X-CSRF-Token": self.csrf_token}
        return await self.client.request(method, path, json=json, headers=headers)


@dataclass
class Lab:
    """A server's pages."""

    app: FastAPI
    services: Services
    client: httpx.AsyncClient

    async def person(self, name: str, admin: bool = False) -> Person:
        """Let somebody sign in."""
        profile = Profile("github", f"id-of-{name}", ADMIN if admin else name, f"{name}@example.com", name.title())
        actor = await self.services.accounts.sign_in(profile)
        cookie = self.services.sessions.issue(actor).header().partition(";")[0]
        token = value_of([cookie], self.services.sessions.cookie)
        assert token is not None
        signed_in = await self.services.sessions.read([cookie])
        assert signed_in is not None
        tunnel = (await self.services.accounts.tunnels_of(actor))[0].tunnel
        csrf_token = self.services.sessions.csrf_token(signed_in)
        return Person(signed_in, cookie, csrf_token, tunnel.id, tunnel.subdomain, self.client)

    async def key_of(self, person: Person) -> NewKey:
        """Make a key for somebody's tunnel."""
        made = await self.services.accounts.rotate_key(person.actor, person.tunnel_id, "of a test")
        person.keys.append(made)
        return made

    def connect(self, subdomain: str, **described: object) -> Route:
        """Put a live tunnel into the route table, as the acceptor does."""
        ours, _ = MemoryLink.pair()
        connection = MuxConnection(ours, OwnerRecorder(), True, Settings())
        config = self.services.config
        route = Route(subdomain, f"{subdomain}.{config.domain}", config.tunnel_url(subdomain, 8000), connection, 0.0)
        for name, value in described.items():
            setattr(route, name, value)
        self.services.routes.add(route)
        return route


def parts_over(database_url: str, *providers: ProviderConfig, **config: Any) -> AccountServices:
    """What is behind the pages, not started."""
    accounts = AccountsConfig(providers=providers or (PROVIDER,), admins=frozenset({("github", ADMIN)}))
    settings = ServerConfig(database_url=database_url, accounts=accounts, **config)
    return AccountServices(settings, RouteTable(settings.domain), SECRET, lambda: settings.base_url(8000))


@asynccontextmanager
async def pages(database_url: str, *providers: ProviderConfig, **config: Any) -> AsyncIterator[Lab]:
    """Run the pages over a database."""
    parts = parts_over(database_url, *providers, **config)
    await parts.start()
    app = build_app(parts.services)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url=parts.services.base_url()) as client:
            yield Lab(app, parts.services, client)
    finally:
        await parts.close()


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return build_app(parts_over("sqlite:///none.db").services).openapi()
