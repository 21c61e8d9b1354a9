"""`/api/auth`: a key for a provider's token, whose key it is, and the keys of a user. Used by programs.

Rule: a key is shown in the answer that makes it and never again.
"""

from fastapi import APIRouter, Response

from terratunnel.server.control.api.parameters import Id
from terratunnel.server.control.deps import AnySite, Caller, ChangingCaller, From
from terratunnel.server.control.problems import documented
from terratunnel.server.control.schemas import Exchanged, GithubExchange, Key, Me, ProviderExchange
from terratunnel.server.tunnels import Conflict

router = APIRouter(prefix="/api/auth", tags=["auth"])


@router.post("/exchange", responses=documented(400, 401, 403, 404, 409, 413, 422, 429, 502, 503))
async def exchange(site: AnySite, origin: From, body: GithubExchange | ProviderExchange) -> Exchanged:
    """Give a new API key to whom a provider's token belongs; the tunnel's old key stops.

    The token is one that the provider gave to this server's own app, unless the server's operator takes others too.
    """
    site.throttle.count(origin.address)
    services = site.services
    given = ("github", body.github_token) if isinstance(body, GithubExchange) else (body.provider, body.token)
    profile = await services.oauth.exchange_token(*given)
    actor = await services.accounts.sign_in(profile, origin)
    tunnels = await services.accounts.tunnels_of(actor)
    if not tunnels:
        raise Conflict("You have no tunnel any more; ask the server's administrator.")
    made = await services.accounts.rotate_key(actor, tunnels[0].tunnel.id, body.api_key_name)
    return Exchanged(
        api_key=made.plain,
        api_key_prefix=made.prefix,
        user_id=actor.id,
        username=actor.username,
        expires_at=made.api_key.expires_at,
        tunnel_url=site.url_of(made.tunnel),
    )


@router.get("/me", responses=documented(401, 403, 503))
async def me(actor: Caller) -> Me:
    """Whose key or session it is."""
    return Me.model_validate(actor)


@router.get("/keys", responses=documented(401, 403, 503))
async def keys(site: AnySite, actor: Caller) -> list[Key]:
    """All keys of the caller, newest first."""
    return [Key.of(key) for key in await site.services.accounts.keys_of(actor)]


@router.delete("/keys/{key_id}", status_code=204, responses=documented(400, 401, 403, 404, 422, 503))
async def revoke(site: AnySite, actor: ChangingCaller, key_id: Id) -> Response:
    """End a key and cut its client off; not the key that the call is made with."""
    await site.services.accounts.revoke_key(actor, key_id)
    return Response(status_code=204)
