"""`/admin`: the users and the audit log. For administrators."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from fastapi.responses import RedirectResponse, Response

from terratunnel.server.auditing import Event
from terratunnel.server.control.api.parameters import Before, Id, PageNumber, Search
from terratunnel.server.control.deps import Admin, AnySite, SubmittingAdmin
from terratunnel.server.storage.audit import Audit, AuditFilters
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Users
from terratunnel.server.tunnels import NotFound

router = APIRouter(prefix="/admin", include_in_schema=False)

PAGE_SIZE: Final = 50
Filter = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]


@router.get("/users")
async def users(site: AnySite, actor: Admin, page: PageNumber = 1, search: Search = "") -> Response:
    """All users, or those who match a search."""
    async with site.services.database.reading() as session:
        table = Users(session)
        found = await table.list(page, PAGE_SIZE, search)
        # The last page says how many there are by itself; a search reads every user.
        last = 0 < len(found) < PAGE_SIZE
        total = (page - 1) * PAGE_SIZE + len(found) if last else await table.count(search)
    values = {
        "users": found,
        "total": total,
        "search": search,
        "previous": _link(search=search, page=page - 1) if page > 1 else "",
        "following": _link(search=search, page=page + 1) if page * PAGE_SIZE < total else "",
    }
    return site.pages.page("admin_users.html", actor, values)


@router.post("/users/{user_id}/active")
async def set_active(site: AnySite, actor: SubmittingAdmin, user_id: Id, active: Annotated[bool, Form()]) -> Response:
    """Let a user in again, or keep them out and cut their clients off."""
    await site.services.accounts.set_user_active(actor, user_id, active)
    return RedirectResponse(f"/admin/users/{user_id}", 303)


@router.get("/users/{user_id}")
async def user(site: AnySite, actor: Admin, user_id: Id) -> Response:
    """One user: their tunnels, what they did last, and what can be done about them."""
    async with site.services.database.reading() as session:
        found = await Users(session).get(user_id)
        if found is None:
            raise NotFound("There is no such user.")
        events = await Audit(session).list(AuditFilters(user_id=user_id), None, 10)
    tunnels = await site.services.accounts.tunnels_of(actor, user_id)
    shown = [(own, site.url_of(own.tunnel), site.live.of(own.tunnel.subdomain)) for own in tunnels]
    return site.pages.page("admin_user.html", actor, {"user": found, "tunnels": shown, "events": events.rows})


@router.get("/users/{user_id}/delete")
async def ask_delete(site: AnySite, actor: Admin, user_id: Id) -> Response:
    """Ask whether a user is to be deleted, and say what goes with them."""
    async with site.services.database.reading() as session:
        found = await Users(session).get(user_id)
        tunnels = await Tunnels(session).of_user(user_id)
    if found is None:
        raise NotFound("There is no such user.")
    return site.pages.page("user_delete.html", actor, {"user": found, "tunnels": tunnels})


@router.post("/users/{user_id}/delete")
async def delete_user(site: AnySite, actor: SubmittingAdmin, user_id: Id) -> Response:
    """Delete a user with everything that is theirs."""
    await site.services.accounts.delete_user(actor, user_id)
    return RedirectResponse("/admin/users", 303)


@router.get("/audit")
async def audit(
    site: AnySite,
    actor: Admin,
    before: Before = None,
    event: Filter = "",
    subdomain: Filter = "",
    user: Filter = "",
) -> Response:
    """What has happened, newest first."""
    async with site.services.database.reading() as session:
        named = await Users(session).by_username(user) if user else []
        filters = AuditFilters(
            user_id=named[0].id if named else None, subdomain=subdomain or None, event_type=event or None
        )
        found = await Audit(session).list(filters, before, PAGE_SIZE)
    unknown = bool(user) and not named
    asked = {"event": event, "subdomain": subdomain, "user": user}
    values = {
        "rows": [] if unknown else found.rows,
        "asked": asked,
        "newest": _link(**asked) if before else "",
        "events": [kind.value for kind in Event],
        "following": _link(**asked, before=found.next_before) if found.next_before and not unknown else "",
    }
    return site.pages.page("admin_audit.html", actor, values)


def _link(**query: object) -> str:
    """Return the address of another part of the same list."""
    return f"?{urlencode({name: value for name, value in query.items() if value})}"
