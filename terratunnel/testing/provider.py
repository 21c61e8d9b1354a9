"""A small but real OAuth provider that speaks as GitHub and as GitLab, on 127.0.0.1. Used by tests and by the demo.

Rule: it is as strict as they are: codes work once, for one app, one callback and one PKCE verifier.
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from terratunnel.client import api
from terratunnel.server.config import ProviderConfig

CLIENT_ID = "an-app"
CLIENT_SECRET = "the-secret-of-an-app"
# Where GitHub Enterprise Server and GitLab have their APIs.
API_PATHS = {"github": "/api/v3", "gitlab": "/api/v4"}
LABELS = {"github": "GitHub", "gitlab": "GitLab"}

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{label}</title></head><body><main>
<h1>Sign in to {app} with {label}</h1><p>This is the provider of a test. It asks for {scope}.</p>
<ul>{people}</ul><p><a href="{cancel}">Cancel</a></p></main></body></html>"""


@dataclass(frozen=True)
class Person:
    """Somebody with an account at the provider."""

    id: int
    username: str
    email: str | None = None
    name: str | None = None
    email_hidden: bool = False  # GitHub then tells it only by its list of addresses


@dataclass(frozen=True)
class _Grant:
    person: Person
    kind: str
    client_id: str
    scope: str = ""
    redirect_uri: str = ""
    challenge: str = ""


class Provider:
    """The provider's state and its pages. `answers` puts a status and body in the place of what a path would say."""

    def __init__(self, people: Sequence[Person], port: int) -> None:
        self.people = {person.username: person for person in people}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.url = f"http://{api.LOOPBACK}:{port}"
        self._codes: dict[str, _Grant] = {}
        self._tokens: dict[str, _Grant] = {}
        self.app = Starlette(
            routes=[
                Route("/login/oauth/authorize", self._authorize_github),
                Route("/login/oauth/access_token", self._token, methods=["POST"]),
                Route("/api/v3/user", self._github_user),
                Route("/api/v3/user/emails", self._github_emails),
                Route("/api/v3/applications/{client_id}/token", self._github_check, methods=["POST"]),
                Route("/oauth/authorize", self._authorize_gitlab),
                Route("/oauth/token", self._token, methods=["POST"]),
                Route("/oauth/token/info", self._gitlab_check),
                Route("/api/v4/user", self._gitlab_user),
            ],
            middleware=[Middleware(_InPlaceOf, answers=self.answers)],
        )

    def config(self, kind: str) -> ProviderConfig:
        """Return what a server has to be told to sign people in here."""
        api_url = f"{self.url}{API_PATHS[kind]}"
        return ProviderConfig(kind, LABELS[kind], CLIENT_ID, CLIENT_SECRET, self.url, api_url)

    def token_of(self, username: str, kind: str, client_id: str = CLIENT_ID, scope: str = "user:email") -> str:
        """Return a token of somebody's that was given to an app."""
        token = secrets.token_urlsafe(30)
        self._tokens[token] = _Grant(self.people[username], kind, client_id, scope)
        return token

    # ------------------------------------------------------------------ the browser's pages

    async def _authorize_github(self, request: Request) -> Response:
        return self._authorize(request, "github")

    async def _authorize_gitlab(self, request: Request) -> Response:
        return self._authorize(request, "gitlab")

    def _authorize(self, request: Request, kind: str) -> Response:
        """Ask who signs in, or, once that is chosen, send the browser back."""
        query = request.query_params
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code" or not query.get("state"):
            return HTMLResponse("no such app", 400)
        if query.get("code_challenge_method") != "S256" or len(query.get("code_challenge", "")) != 43:
            return HTMLResponse("no PKCE", 400)
        if "as" in query:
            return self._send_back(query, kind)
        return HTMLResponse(self._page(request, kind))

    def _send_back(self, query: Mapping[str, str], kind: str) -> Response:
        answer = {"error": "access_denied", "error_description": "The user said no"}
        person = self.people.get(query["as"])
        if person is not None:
            code = secrets.token_urlsafe(20)
            redirect_uri, challenge = query["redirect_uri"], query["code_challenge"]
            self._codes[code] = _Grant(person, kind, CLIENT_ID, query.get("scope", ""), redirect_uri, challenge)
            answer = {"code": code}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer | {'state': query['state']})}", 302)

    def _page(self, request: Request, kind: str) -> str:
        def link(username: str) -> str:
            return escape(f"{request.url.path}?{urlencode(dict(request.query_params) | {'as': username})}")

        people = "".join(f'<li><a href="{link(name)}">Sign in as {escape(name)}</a></li>' for name in self.people)
        scope = escape(request.query_params.get("scope", ""))
        return _PAGE.format(label=LABELS[kind], app=CLIENT_ID, scope=scope, people=people, cancel=link(""))

    # ------------------------------------------------------------------ the server's questions

    async def _token(self, request: Request) -> Response:
        """Give a token for a code (RFC 6749 §4.1.3, RFC 7636 §4.6). GitHub says errors with 200, GitLab with 400."""
        form = dict(parse_qsl((await request.body()).decode()))
        grant = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        app = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if grant is None or not app or (grant.redirect_uri, grant.challenge) != (form.get("redirect_uri"), challenge):
            status = 200 if request.url.path.startswith("/login") else 400
            return JSONResponse({"error": "invalid_grant", "error_description": "The code is not valid"}, status)
        token = self.token_of(grant.person.username, grant.kind, scope=grant.scope)
        return JSONResponse({"access_token": token, "token_type": "bearer", "scope": grant.scope})

    async def _github_user(self, request: Request) -> Response:
        grant = self._granted(request, "github")
        if grant is None:
            return JSONResponse({"message": "Bad credentials"}, 401)
        person = grant.person
        email = None if person.email_hidden else person.email
        user = {"id": person.id, "login": person.username, "name": person.name, "email": email}
        return JSONResponse(user | {"avatar_url": f"https://avatars.example.com/{person.id}"})

    async def _github_emails(self, request: Request) -> Response:
        grant = self._granted(request, "github")
        if grant is None or "user:email" not in grant.scope:
            return JSONResponse({"message": "Not Found"}, 404)
        other = {"email": "old@example.com", "primary": False, "verified": True}
        return JSONResponse([other, {"email": grant.person.email, "primary": True, "verified": True}])

    async def _github_check(self, request: Request) -> Response:
        grant = self._tokens.get((await request.json()).get("access_token", ""))
        app = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {app}" or grant is None or grant.client_id != CLIENT_ID:
            return JSONResponse({"message": "Not Found"}, 404)
        return JSONResponse({"app": {"client_id": CLIENT_ID}})

    async def _gitlab_user(self, request: Request) -> Response:
        grant = self._granted(request, "gitlab")
        if grant is None:
            return JSONResponse({"message": "401 Unauthorized"}, 401)
        person = grant.person
        return JSONResponse(
            {
                "id": person.id,
                "username": person.username,
                "name": person.name,
                "email": person.email,
                "state": "active",
            }
        )

    async def _gitlab_check(self, request: Request) -> Response:
        grant = self._granted(request, "gitlab")
        if grant is None:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse({"scope": grant.scope.split(), "application": {"uid": grant.client_id}})

    def _granted(self, request: Request, kind: str) -> _Grant | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self._tokens.get(token) if scheme == "Bearer" else None
        return grant if grant is not None and grant.kind == kind else None


class _InPlaceOf:
    """Answers as a test has said, where it has."""

    def __init__(self, app: ASGIApp, answers: Mapping[str, tuple[int, bytes]]) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answers.get(scope.get("path", ""))
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await Response(answer[1], answer[0], media_type="application/json")(scope, receive, send)


@asynccontextmanager
async def providing(*people: Person) -> AsyncIterator[Provider]:
    """Run a provider that knows these people."""
    sock = api.bind(0)
    provider = Provider(people, api.port_of(sock))
    server = api.AppServer(provider.app, sock)
    await server.start()
    try:
        yield provider
    finally:
        await server.close()
