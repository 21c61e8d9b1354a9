"""Who is asking, as parameters of the routes. Used by every route that is not for everybody.

Rule: a route says by its parameter who may come in, and whoever may not never reaches its body. A key is asked for
before a session; a session that changes something shows that a page of ours asked for it.
"""

from typing import Annotated

from fastapi import Depends, Form, Header, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from terratunnel.errors import TerratunnelError
from terratunnel.server.actors import Actor, Origin
from terratunnel.server.control import csrf
from terratunnel.server.control.site import Site
from terratunnel.server.proxies import visitor_of
from terratunnel.server.tunnels import Forbidden

# For the OpenAPI document alone; `app` puts the cookie's real name in.
SESSION = APIKeyCookie(name="terratunnel_session", scheme_name="session", auto_error=False)
KEY = HTTPBearer(scheme_name="key", description="An API key of a tunnel", auto_error=False)


class NotSignedIn(TerratunnelError):
    """Nobody is signed in, or not any more."""

    status = 401


def site_of(request: Request) -> Site:
    """Return the site that was put into the application."""
    found: Site = request.app.state.site
    return found


async def any_site(request: Request) -> Site:
    """The same for routes: FastAPI would call `site_of` itself in a thread, which costs more than all it does."""
    return site_of(request)


AnySite = Annotated[Site, Depends(any_site)]


async def origin_of(request: Request, site: AnySite) -> Origin:
    """Return where a request came from: the edge has written the address of its own peer last (RFC 7239 §5.2)."""
    addresses = request.headers.get("x-forwarded-for", "")
    address = visitor_of(addresses, site.services.config.trusted_proxies)
    return Origin(address, request.headers.get("user-agent", ""))


From = Annotated[Origin, Depends(origin_of)]


# ---------------------------------------------------------------------- pages: sessions only


async def visitor(request: Request, site: AnySite, origin: From) -> Actor | None:
    """Whoever is signed in, or nobody."""
    return await site.services.sessions.read(request.headers.getlist("cookie"), origin)


Visitor = Annotated[Actor | None, Depends(visitor)]


async def signed_in(actor: Visitor) -> Actor:
    """Whoever is signed in. Raises NotSignedIn."""
    if actor is None:
        raise NotSignedIn("Sign in first.")
    return actor


SignedIn = Annotated[Actor, Depends(signed_in)]


async def submitting(
    request: Request, site: AnySite, actor: SignedIn, csrf_token: Annotated[str | None, Form()] = None
) -> Actor:
    """Whoever is signed in and has sent a form of ours. Raises CsrfRefused."""
    csrf.check_origin(request, site.base_url)
    csrf.check_token(csrf_token, site.services.sessions.csrf_token(actor))
    return actor


Submitting = Annotated[Actor, Depends(submitting)]


async def only_admin(actor: SignedIn) -> Actor:
    """An administrator. Raises Forbidden."""
    return _admin(actor)


async def submitting_admin(actor: Submitting) -> Actor:
    """An administrator who has sent a form of ours. Raises Forbidden."""
    return _admin(actor)


Admin = Annotated[Actor, Depends(only_admin)]
SubmittingAdmin = Annotated[Actor, Depends(submitting_admin)]


# ---------------------------------------------------------------------- API: keys, or sessions


async def session_caller(actor: Visitor, _: Annotated[str | None, Depends(SESSION)]) -> Actor:
    """Whoever calls with a session. Raises NotSignedIn."""
    return await signed_in(actor)


async def changing_session(
    request: Request,
    site: AnySite,
    actor: Annotated[Actor, Depends(session_caller)],
    x_csrf_token: Annotated[str | None, Header(description="csrf_token of GET /auth/me")] = None,
) -> Actor:
    """Whoever changes something with a session. Raises CsrfRefused."""
    csrf.check_origin(request, site.base_url)
    csrf.check_token(x_csrf_token, site.services.sessions.csrf_token(actor))
    return actor


async def caller(
    request: Request,
    site: AnySite,
    origin: From,
    _: Annotated[object, Depends(KEY)],
    __: Annotated[str | None, Depends(SESSION)],
) -> Actor:
    """Whoever calls with a key or a session. Raises Refused or NotSignedIn."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return await site.services.keys.actor(authorization, origin)
    actor = await visitor(request, site, origin)
    if actor is None:
        raise NotSignedIn("Send your API key as: Authorization: Bearer KEY")
    return actor


async def changing_caller(
    request: Request,
    site: AnySite,
    actor: Annotated[Actor, Depends(caller)],
    x_csrf_token: Annotated[str | None, Header(description="csrf_token of GET /auth/me; not with a key")] = None,
) -> Actor:
    """Whoever changes something with a key or a session. Raises CsrfRefused."""
    return actor if actor.key_id is not None else await changing_session(request, site, actor, x_csrf_token)


async def calling_admin(actor: Annotated[Actor, Depends(session_caller)]) -> Actor:
    """An administrator with a session. Raises Forbidden."""
    return _admin(actor)


async def downloading_admin(request: Request, site: AnySite, actor: Annotated[Actor, Depends(calling_admin)]) -> Actor:
    """An administrator who has not followed a link of somebody else's. Raises Forbidden or CsrfRefused."""
    csrf.check_link(request, site.base_url)
    return actor


async def changing_admin(actor: Annotated[Actor, Depends(changing_session)]) -> Actor:
    """An administrator who changes something. Raises Forbidden or CsrfRefused."""
    return _admin(actor)


SessionCaller = Annotated[Actor, Depends(session_caller)]
Caller = Annotated[Actor, Depends(caller)]
ChangingCaller = Annotated[Actor, Depends(changing_caller)]
CallingAdmin = Annotated[Actor, Depends(calling_admin)]
DownloadingAdmin = Annotated[Actor, Depends(downloading_admin)]
ChangingAdmin = Annotated[Actor, Depends(changing_admin)]


def _admin(actor: Actor) -> Actor:
    if not actor.is_admin:
        raise Forbidden("Only administrators may do this.")
    return actor
