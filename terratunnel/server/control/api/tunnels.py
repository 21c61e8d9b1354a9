"""`/api/tunnels`: the caller's tunnels and whether they are live. Used by the dashboard, which asks again and again."""

from fastapi import APIRouter

from terratunnel.server.control.deps import AnySite, Caller
from terratunnel.server.control.problems import documented
from terratunnel.server.control.schemas import Tunnel

router = APIRouter(prefix="/api/tunnels", tags=["tunnels"])


@router.get("", responses=documented(401, 403, 503))
async def tunnels(site: AnySite, actor: Caller) -> list[Tunnel]:
    """The caller's tunnels, oldest first."""
    found = await site.services.accounts.tunnels_of(actor)
    return [Tunnel.of(own, site.url_of(own.tunnel), site.live.of(own.tunnel.subdomain)) for own in found]
