"""`/admin/database`: the database browser as a page. For administrators."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from fastapi.responses import Response

from terratunnel.server.actors import Actor
from terratunnel.server.auditing import Event
from terratunnel.server.control.api.parameters import Before, PageNumber
from terratunnel.server.control.deps import Admin, AnySite, SubmittingAdmin
from terratunnel.server.control.site import Site
from terratunnel.server.control.sqlbrowser.answers import MAX_SQL_CHARS, BrowserUnavailable, QueryRefused
from terratunnel.server.tunnels import NotFound

router = APIRouter(prefix="/admin/database", include_in_schema=False)

PAGE_SIZE: Final = 50


@router.get("")
async def browse(
    site: AnySite,
    actor: Admin,
    table: Annotated[str, Query(max_length=100)] = "users",
    page: PageNumber = 1,
    before: Before = None,
) -> Response:
    """A table, page by page."""
    found = await site.browser.tables.page(table, page, PAGE_SIZE, before)
    if found is None:
        raise NotFound("There is no such table.")
    newest = _link(table) if page > 1 or before is not None else ""
    following = ""
    if found.has_next:
        following = _link(table, before=found.next_before) if found.next_before else _link(table, page=page + 1)
    return await _page(site, actor, table=table, found=found, newest=newest, following=following)


@router.post("")
async def query(site: AnySite, actor: SubmittingAdmin, sql: Annotated[str, Form(max_length=MAX_SQL_CHARS)]) -> Response:
    """What the query box answers."""
    site.services.audit.record(Event.DATABASE_QUERY, actor, details={"sql": sql})
    try:
        return await _page(site, actor, sql=sql, timed=await site.browser.query(sql))
    except (QueryRefused, BrowserUnavailable) as refused:
        return await _page(site, actor, 400, sql=sql, refused=str(refused))


def _link(table: str, **where: object) -> str:
    return f"?{urlencode({'table': table, **where})}"


async def _page(site: Site, actor: Actor, status: int = 200, **values: object) -> Response:
    absent = {"table": "", "found": None, "sql": "", "timed": None, "refused": ""}
    tables = await site.browser.tables.list()
    all_values = {**absent, **values, "tables": tables, "dialect": site.browser.dialect}
    return site.pages.page("admin_database.html", actor, all_values, status)
