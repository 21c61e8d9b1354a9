"""`/api/admin`: what is live, the users and the audit log. For administrators with a session."""

from typing import Annotated, Final

from fastapi import APIRouter, Query

from terratunnel.server.control.api.parameters import Before, PageNumber, PageSize, Search
from terratunnel.server.control.deps import AnySite, CallingAdmin
from terratunnel.server.control.problems import documented
from terratunnel.server.control.schemas import Event, Events, LiveTunnels, UserInfo, Users
from terratunnel.server.storage.audit import Audit, AuditFilters
from terratunnel.server.storage.users import Users as UserTable

router = APIRouter(prefix="/api/admin", tags=["admin"])

# More is no table that anybody reads.
BUSIEST: Final = 200


@router.get("/live", responses=documented(401, 403, 503))
async def live(site: AnySite, actor: CallingAdmin) -> LiveTunnels:
    """All live tunnels added up, and the busiest of them."""
    return LiveTunnels.of(site.live.totals(), site.live.busiest(BUSIEST))


@router.get("/users", responses=documented(401, 403, 422, 503))
async def users(
    site: AnySite, actor: CallingAdmin, page: PageNumber = 1, page_size: PageSize = 50, search: Search = ""
) -> Users:
    """A page of users, oldest first; `search` is a part of a name or address."""
    async with site.services.database.reading() as session:
        table = UserTable(session)
        found, total = await table.list(page, page_size, search), await table.count(search)
    return Users(users=[UserInfo.of(user) for user in found], total=total, page=page, page_size=page_size)


@router.get("/audit", responses=documented(401, 403, 422, 503))
async def audit(
    site: AnySite,
    actor: CallingAdmin,
    before: Before = None,
    page_size: PageSize = 50,
    event_type: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")] = None,
    subdomain: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00]*$")] = None,
    user_id: Before = None,
) -> Events:
    """What has happened, newest first."""
    filters = AuditFilters(user_id=user_id, subdomain=subdomain, event_type=event_type)
    async with site.services.database.reading() as session:
        found = await Audit(session).list(filters, before, page_size)
    return Events(events=[Event.of(row) for row in found.rows], next_before=found.next_before)
