"""`/`: the way in for strangers, their tunnels for users, and everything live for administrators."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from terratunnel.server.actors import Actor
from terratunnel.server.auditing import Event
from terratunnel.server.control import commands
from terratunnel.server.control.api.admin import BUSIEST
from terratunnel.server.control.deps import AnySite, Visitor
from terratunnel.server.control.live import LiveTunnel
from terratunnel.server.control.pages.signing_in import sign_in_values
from terratunnel.server.control.site import Site
from terratunnel.server.storage.audit import Audit, AuditFilters
from terratunnel.server.storage.users import Users

router = APIRouter(include_in_schema=False)

RECENT: Final = 10
# The row that the page's module fills in for a tunnel that was not live when the page was made.
BLANK: Final = LiveTunnel("", "/", "", None, "", datetime.fromtimestamp(0, UTC), "", "", "", 0, 0, 0)


@router.get("/")
async def home(site: AnySite, actor: Visitor) -> Response:
    """Home."""
    if actor is None:
        return site.pages.page("sign_in.html", None, sign_in_values(site))
    tunnels = await site.services.accounts.tunnels_of(actor)
    shown = [(own, site.url_of(own.tunnel), site.live.of(own.tunnel.subdomain)) for own in tunnels]
    values: dict[str, object] = {
        "tunnels": shown,
        "client_command": commands.client(site.base_url),
        "login_command": commands.login(site.base_url),
        "short_command": commands.SHORT,
    }
    if not actor.is_admin:
        return site.pages.page("home.html", actor, values)
    return site.pages.page("admin_home.html", actor, values | await _everything(site, actor))


async def _everything(site: Site, actor: Actor) -> dict[str, object]:
    async with site.services.database.reading() as session:
        recent = await Audit(session).list(AuditFilters(event_type=Event.CONNECT.value), None, RECENT)
        users = await Users(session).count()
    return {
        "totals": site.live.totals(),
        "live": site.live.busiest(BUSIEST),
        "blank": BLANK,
        "recent": recent.rows,
        "users": users,
    }
