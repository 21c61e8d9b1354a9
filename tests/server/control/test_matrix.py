"""Who may do what (security.md A5): every route, for everybody who might ask. A route without a row fails.

What a refused request was for must not have happened; what is allowed must work.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from terratunnel.server.auth.sessions import AUDIENCE
from terratunnel.server.control.app import build_app
from terratunnel.server.control.static_files import StaticFiles
from terratunnel.server.storage.models import Base, TunnelAuditLog
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import BASE_URL, PAGE, SECRET, Lab, Person, pages


class Who(Enum):
    """Everybody who might ask."""

    ANONYMOUS = auto()
    OTHER = auto()
    OWNER = auto()
    ADMIN = auto()
    KEY = auto()
    REVOKED_KEY = auto()
    EXPIRED = auto()
    ALG_NONE = auto()
    WRONG_ORIGIN = auto()  # an administrator's session, from the page of a sibling
    NO_TOKEN = auto()  # an administrator's session, from our own origin, without the page's token


class Outcome(Enum):
    """What becomes of a request."""

    IN = auto()
    SIGN_IN = auto()
    FORBIDDEN = auto()
    MISSING = auto()


IN, SIGN_IN, FORBIDDEN, MISSING = Outcome.IN, Outcome.SIGN_IN, Outcome.FORBIDDEN, Outcome.MISSING
OUTSIDE = (Who.ANONYMOUS, Who.KEY, Who.REVOKED_KEY, Who.EXPIRED, Who.ALG_NONE)
CROSS = (Who.WRONG_ORIGIN, Who.NO_TOKEN)
Access = dict[Who, Outcome]

PUBLIC: Access = dict.fromkeys(Who, IN)
# A session is asked for, and nothing else counts.
USERS: Access = PUBLIC | dict.fromkeys(OUTSIDE, SIGN_IN)
OWNERS: Access = USERS | {Who.OTHER: MISSING}
ADMINS: Access = USERS | {Who.OTHER: FORBIDDEN, Who.OWNER: FORBIDDEN}
# A key does as well as a session; KEY is the owner's.
CALLERS: Access = USERS | {Who.KEY: IN}
CALLING_OWNERS: Access = OWNERS | {Who.KEY: IN}


def changing(access: Access) -> Access:
    """The same for what changes something."""
    return access | dict.fromkeys(CROSS, FORBIDDEN)


@dataclass
class Asked:
    """One request."""

    path: str
    form: dict[str, Any] | None = None
    json: object = None


@dataclass
class Row:
    """What a route expects: who gets in, a request that works, and its status where it is no success."""

    access: Access
    ask: Callable[["Scene"], Awaitable[Asked]]
    status: int | None = None


@dataclass
class Scene:
    """A server, and the people in it."""

    lab: Lab
    owner: Person
    other: Person
    admin: Person
    made: list[str] = field(default_factory=list)

    async def tunnel(self) -> int:
        """The owner's tunnel."""
        return self.owner.tunnel_id

    async def spare_key(self) -> int:
        """A key of the owner's that is not the one they call with."""
        tunnel = await self.lab.services.accounts.create_tunnel(self.admin.actor, None, self.owner.actor.id)
        return (await self.lab.services.accounts.rotate_key(self.owner.actor, tunnel.id)).api_key.id

    async def spare_user(self) -> int:
        """A user who is nobody else here."""
        self.made.append(f"spare-{len(self.made)}")
        return (await self.lab.person(self.made[-1])).actor.id

    async def spare_tunnel(self) -> int:
        """A tunnel that nobody needs."""
        return (await self.lab.services.accounts.create_tunnel(self.admin.actor)).id

    async def user_code(self) -> str:
        """The code of a client that waits."""
        return (await self.lab.services.links.start_device("a client")).user_code


def at(path: str, form: dict[str, Any] | None = None, json: object = None) -> Callable[[Scene], Awaitable[Asked]]:
    """A request that is the same for everybody."""

    async def ask(scene: Scene) -> Asked:
        return Asked(path, form, json)

    return ask


def about(
    template: str, what: Callable[[Scene], Awaitable[int]], form: dict[str, Any] | None = None
) -> Callable[[Scene], Awaitable[Asked]]:
    """A request about something that has just been made."""

    async def ask(scene: Scene) -> Asked:
        return Asked(template.format(await what(scene)), form)

    return ask


async def device_page(scene: Scene) -> Asked:
    return Asked(f"/auth/device?code={await scene.user_code()}")


async def device_decision(scene: Scene) -> Asked:
    return Asked("/auth/device", {"code": await scene.user_code(), "decision": "approve"})


async def device_poll(scene: Scene) -> Asked:
    codes = await scene.lab.services.links.start_device("a client")
    return Asked("/api/auth/device/token", json={"device_code": codes.device_code})


async def link(scene: Scene) -> Asked:
    made = await scene.lab.services.links.create_link(scene.admin.actor, scene.owner.actor.id)
    return Asked("/auth/link", {"token": made.token})


KEYS = "/api/auth/keys/{}"
STATIC = f"/static/{StaticFiles().version}/app.css"
ROWS: dict[tuple[str, str], Row] = {
    # pages
    ("GET", "/"): Row(PUBLIC, at("/")),
    ("GET", "/static/{version}/{name}"): Row(PUBLIC, at(STATIC)),
    ("GET", "/auth/login"): Row(PUBLIC, at("/auth/login")),
    ("GET", "/auth/link"): Row(PUBLIC, at("/auth/link")),
    ("POST", "/auth/link"): Row(PUBLIC | {Who.WRONG_ORIGIN: FORBIDDEN}, link),
    ("GET", "/auth/{provider}"): Row(PUBLIC, at("/auth/github")),
    # Without what the browser was given at the beginning nobody comes in, whoever they are.
    ("GET", "/auth/{provider}/callback"): Row(PUBLIC, at("/auth/github/callback?code=x&state=y"), 400),
    ("POST", "/auth/logout"): Row(changing(USERS), at("/auth/logout", {})),
    ("GET", "/auth/me"): Row(USERS, at("/auth/me")),
    ("GET", "/auth/device"): Row(USERS, device_page),
    ("POST", "/auth/device"): Row(changing(USERS), device_decision),
    ("GET", "/tunnels/new"): Row(ADMINS, at("/tunnels/new")),
    ("POST", "/tunnels/new"): Row(changing(ADMINS), at("/tunnels/new", {"name": "x"})),
    ("GET", "/tunnels/{tunnel_id}/keys/new"): Row(OWNERS, about("/tunnels/{}/keys/new", Scene.tunnel)),
    ("POST", "/tunnels/{tunnel_id}/keys/new"): Row(
        changing(OWNERS), about("/tunnels/{}/keys/new", Scene.tunnel, {"name": "x"})
    ),
    ("GET", "/tunnels/{tunnel_id}/delete"): Row(ADMINS, about("/tunnels/{}/delete", Scene.spare_tunnel)),
    ("POST", "/tunnels/{tunnel_id}/delete"): Row(changing(ADMINS), about("/tunnels/{}/delete", Scene.spare_tunnel, {})),
    ("GET", "/admin/users"): Row(ADMINS, at("/admin/users")),
    ("GET", "/admin/users/{user_id}"): Row(ADMINS, about("/admin/users/{}", Scene.spare_user)),
    ("POST", "/admin/users/{user_id}/active"): Row(
        changing(ADMINS), about("/admin/users/{}/active", Scene.spare_user, {"active": "false"})
    ),
    ("GET", "/admin/users/{user_id}/delete"): Row(ADMINS, about("/admin/users/{}/delete", Scene.spare_user)),
    ("POST", "/admin/users/{user_id}/delete"): Row(
        changing(ADMINS), about("/admin/users/{}/delete", Scene.spare_user, {})
    ),
    ("GET", "/admin/audit"): Row(ADMINS, at("/admin/audit")),
    ("GET", "/admin/database"): Row(ADMINS, at("/admin/database")),
    ("POST", "/admin/database"): Row(changing(ADMINS), at("/admin/database", {"sql": "SELECT 1"})),
    # API
    ("GET", "/api/openapi.json"): Row(PUBLIC, at("/api/openapi.json")),
    # The provider of these tests does not answer; before it is asked, everybody is welcome.
    ("POST", "/api/auth/exchange"): Row(PUBLIC, at("/api/auth/exchange", json={"github_token": "x"}), 502),
    ("GET", "/api/auth/me"): Row(CALLERS, at("/api/auth/me")),
    ("GET", "/api/auth/keys"): Row(CALLERS, at("/api/auth/keys")),
    ("DELETE", "/api/auth/keys/{key_id}"): Row(changing(CALLING_OWNERS), about(KEYS, Scene.spare_key)),
    ("POST", "/api/auth/device"): Row(PUBLIC, at("/api/auth/device", json={})),
    ("POST", "/api/auth/device/token"): Row(PUBLIC, device_poll),
    ("GET", "/api/tunnels"): Row(CALLERS, at("/api/tunnels")),
    ("GET", "/api/admin/live"): Row(ADMINS, at("/api/admin/live")),
    ("GET", "/api/admin/users"): Row(ADMINS, at("/api/admin/users")),
    ("GET", "/api/admin/audit"): Row(ADMINS, at("/api/admin/audit")),
    ("GET", "/api/admin/db/tables"): Row(ADMINS, at("/api/admin/db/tables")),
    ("GET", "/api/admin/db/tables/{name}"): Row(ADMINS, at("/api/admin/db/tables/users")),
    ("POST", "/api/admin/db/query"): Row(changing(ADMINS), at("/api/admin/db/query", json={"sql": "SELECT 1"})),
    ("DELETE", "/api/admin/db/users/{user_id}"): Row(
        changing(ADMINS), about("/api/admin/db/users/{}", Scene.spare_user)
    ),
    ("GET", "/api/admin/db/download"): Row(ADMINS | {Who.WRONG_ORIGIN: FORBIDDEN}, at("/api/admin/db/download")),
}


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Every method of every route."""
    return {(method, route.path) for route in flat(app.routes) for method in (route.methods or ()) if method != "HEAD"}


def flat(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Every route, also of the routers that were included: newer versions of FastAPI keep those as they are."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        else:
            router = getattr(route, "original_router", None)
            assert router is not None, f"no row can be made for {route!r}"
            yield from flat(router.routes)


async def fields_of(scene: Scene, who: Who) -> dict[str, str]:
    """The fields with which somebody asks."""
    if who is Who.ANONYMOUS:
        return {}
    if who in (Who.KEY, Who.REVOKED_KEY):
        if who is Who.REVOKED_KEY or not scene.owner.keys:
            await scene.lab.key_of(scene.owner)
        key = scene.owner.keys[-1].plain
        if who is Who.REVOKED_KEY:
            await scene.lab.key_of(scene.owner)
        return {"Authorization": f"Bearer {key}"}
    if who in (Who.EXPIRED, Who.ALG_NONE):
        return {"Cookie": f"{scene.lab.services.sessions.cookie}={token_of(scene.admin, who)}"} | page_of(scene.admin)
    person = {Who.OTHER: scene.other, Who.OWNER: scene.owner}.get(who, scene.admin)
    fields = person.session | page_of(person)
    if who is Who.WRONG_ORIGIN:
        return fields | {"Origin": f"http://{scene.other.subdomain}.localhost:8000"}
    return fields | {"X-CSRF-Token": ""} if who is Who.NO_TOKEN else fields


def page_of(person: Person) -> dict[str, str]:
    return {"X-CSRF-Token": person.csrf_token}


def token_of(person: Person, who: Who) -> str:
    """A session that would be an administrator's."""
    now = int(time.time())
    claims = {"iss": "localhost", "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": "x", "sub": str(person.actor.id)}
    if who is Who.EXPIRED:
        return jwt.encode(claims | {"exp": now - 1}, SECRET, "HS256")
    return jwt.encode(claims, "", "none")


async def send(scene: Scene, method: str, asked: Asked, fields: dict[str, str]) -> httpx.Response:
    form = asked.form
    if form is not None:
        form = form | {"csrf_token": fields.get("X-CSRF-Token", "")}
    headers = PAGE | {"Origin": BASE_URL} | fields
    return await scene.lab.client.request(method, asked.path, data=form, json=asked.json, headers=headers)


def outcome_of(response: httpx.Response) -> Outcome:
    if response.status_code == 401 or response.headers.get("Location", "").startswith("/auth/login"):
        return SIGN_IN
    return {403: FORBIDDEN, 404: MISSING}.get(response.status_code, IN)


async def state_of(lab: Lab) -> list[tuple[object, ...]]:
    """All that is stored but the audit log, which tells of refusals too."""
    tables = [table for table in Base.metadata.sorted_tables if table.name != TunnelAuditLog.__tablename__]
    async with lab.services.database.reading() as session:
        return [tuple(row) for table in tables for row in await session.execute(table.select())]


async def test_every_route_has_a_row(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        assert routes_of(lab.app) == set(ROWS)


async def test_a_new_route_without_a_row_is_noticed(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        app = build_app(lab.services)
        app.add_api_route("/new", lambda: None, methods=["POST"])
        assert routes_of(app) - set(ROWS) == {("POST", "/new")}


@pytest.mark.parametrize(("method", "path"), ROWS, ids=[" ".join(route) for route in ROWS])
async def test_each_gets_in_who_may(sqlite: SQLiteFiles, method: str, path: str) -> None:
    row = ROWS[method, path]
    async with pages(sqlite.new()) as lab:
        scene = Scene(lab, await lab.person("ann"), await lab.person("mallory"), await lab.person("root", admin=True))
        for who, expected in row.access.items():
            if path == "/auth/logout":  # nobody is left signed in after it
                scene.owner, scene.other = await lab.person("ann"), await lab.person("mallory")
                scene.admin = await lab.person("root", admin=True)
            asked, fields = await row.ask(scene), await fields_of(scene, who)
            before = await state_of(lab)
            response = await send(scene, method, asked, fields)
            assert outcome_of(response) is expected, f"{who.name}: {response.status_code} {response.text[:300]}"
            if expected is IN:
                assert response.status_code == (row.status or response.status_code)
                assert row.status or response.status_code < 400, f"{who.name}: {response.text[:300]}"
            else:
                assert await state_of(lab) == before, who.name
