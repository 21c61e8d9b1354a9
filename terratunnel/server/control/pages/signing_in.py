"""`/auth`: signing in with a provider or a one-time link, signing out, and approving `terratunnel login`.

Rule (security.md A2): a sign-in ends with a new session and leads to a path of ours; no token is ever in an address.
"""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from terratunnel.server.actors import Actor
from terratunnel.server.auth.cookies import SetCookie
from terratunnel.server.auth.links import DEVICE_PATH, LINK_PATH
from terratunnel.server.auth.oauth import safe_path
from terratunnel.server.control import commands, csrf
from terratunnel.server.control.deps import AnySite, From, SessionCaller, SignedIn, Submitting, Visitor
from terratunnel.server.control.schemas import SessionMe
from terratunnel.server.control.site import Site

router = APIRouter(include_in_schema=False)

Back = Annotated[str, Query(max_length=1_024)]
Code = Annotated[str, Query(max_length=20)]


@router.get("/auth/login")
async def login(site: AnySite, actor: Visitor, redirect_uri: Back = "") -> Response:
    """The page with a button for each provider."""
    path = safe_path(redirect_uri)
    if actor is not None:
        return RedirectResponse(path, 303)
    return site.pages.page("sign_in.html", None, sign_in_values(site, path))


def sign_in_values(site: Site, path: str = "/") -> dict[str, object]:
    """Return what the sign-in template needs."""
    back = f"?{urlencode({'redirect_uri': path})}" if path != "/" else ""
    providers = [(provider.name, provider.label) for provider in site.services.oauth.providers]
    return {
        "providers": providers,
        "back": back,
        "link_command": commands.login_link(),
        "client_command": commands.client(site.base_url),
        "anyone": not site.services.config.require_auth,
    }


@router.post("/auth/logout")
async def logout(site: AnySite, actor: Submitting) -> Response:
    """End the session, also for copies of its cookie."""
    return _leading_to("/", await site.services.sessions.end(actor))


@router.get("/auth/me")
async def me(site: AnySite, actor: SessionCaller) -> SessionMe:
    """The session's user, as JSON."""
    return SessionMe.of(actor, site.services.sessions.csrf_token(actor))


# ---------------------------------------------------------------------- one-time links


@router.get(LINK_PATH)
async def link(site: AnySite) -> Response:
    """Where a one-time link leads; its token is behind the #, so only the page itself sees it."""
    return site.pages.page("link.html", None)


@router.post(LINK_PATH)
async def use_link(
    request: Request, site: AnySite, origin: From, token: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Sign in by a one-time link."""
    csrf.check_origin(request, site.base_url)
    site.throttle.count(origin.address)
    return _signed_in(site, await site.services.links.use_link(_token_in(token), origin), "/", "one-time link")


def _token_in(text: str) -> str:
    """Return the token of a link, however much of the link was pasted."""
    return text.strip().rpartition("#")[2]


# ---------------------------------------------------------------------- terratunnel login


@router.get(DEVICE_PATH)
async def device(site: AnySite, actor: SignedIn, code: Code = "") -> Response:
    """Ask for the code that a client shows, or whether its login is what the user wants."""
    if not code:
        return site.pages.page("device_code.html", actor)
    waiting = await site.services.links.waiting(code)
    tunnels = await site.services.accounts.tunnels_of(actor)
    return site.pages.page("device.html", actor, {"waiting": waiting, "tunnels": tunnels})


@router.post(DEVICE_PATH)
async def decide_device(
    site: AnySite,
    actor: Submitting,
    code: Annotated[str, Form(max_length=20)],
    decision: Annotated[str, Form(pattern="^(approve|deny)$")],
    tunnel_id: Annotated[int | None, Form(ge=1)] = None,
) -> Response:
    """Let the client have a key, or drop its login."""
    if decision == "deny":
        await site.services.links.deny(actor, code)
    else:
        await site.services.links.approve(actor, code, tunnel_id)
    return site.pages.page("device_done.html", actor, {"approved": decision == "approve"})


# ---------------------------------------------------------------------- providers; last, because they take any name


@router.get("/auth/{provider}")
async def begin(site: AnySite, provider: str, redirect_uri: Back = "") -> Response:
    """Send the browser to a provider."""
    redirection = site.services.oauth.begin(provider, redirect_uri)
    return _leading_to(redirection.url, redirection.cookie)


@router.get("/auth/{provider}/callback")
async def finish(request: Request, site: AnySite, origin: From, provider: str) -> Response:
    """Take the browser back, signed in."""
    signed_in = await site.services.oauth.finish(
        provider, dict(request.query_params), request.headers.getlist("cookie")
    )
    actor = await site.services.accounts.sign_in(signed_in.profile, origin)
    return _signed_in(site, actor, signed_in.next_path, provider, signed_in.cookie)


def _signed_in(site: Site, actor: Actor, path: str, method: str, *cookies: SetCookie) -> Response:
    return _leading_to(path, site.services.sessions.issue(actor, method), *cookies)


def _leading_to(url: str, *cookies: SetCookie) -> Response:
    response = RedirectResponse(url, 303)
    for cookie in cookies:
        response.headers.append("Set-Cookie", cookie.header())
    return response
