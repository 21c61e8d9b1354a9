"""`/api/admin/db`: the database browser. For administrators with a session; queries and downloads are audited.

Rule (security.md D1): what may be asked is decided by `sqlbrowser`, never here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Final

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse

from terratunnel.server.auditing import Event
from terratunnel.server.control.api.parameters import Before, Id, PageNumber, PageSize
from terratunnel.server.control.deps import AnySite, CallingAdmin, ChangingAdmin, DownloadingAdmin
from terratunnel.server.control.problems import documented
from terratunnel.server.control.schemas import Deleted, Query, QueryAnswer, Table, TableRows, Tables
from terratunnel.server.tunnels import NotFound

router = APIRouter(prefix="/api/admin/db", tags=["database"])

READ_BYTES: Final = 1_048_576
FILE_TYPE: Final = "application/vnd.sqlite3"
_DOWNLOAD: Final = {
    200: {"content": {FILE_TYPE: {"schema": {"type": "string", "format": "binary"}}}, "description": "The backup"},
    **documented(401, 403, 503),
}


@router.get("/tables", responses=documented(401, 403, 503))
async def tables(site: AnySite, actor: CallingAdmin) -> Tables:
    """Every table, and the SQL that the query box takes."""
    found = [Table.of(table) for table in await site.browser.tables.list()]
    return Tables(dialect=site.browser.dialect, tables=found)


@router.get("/tables/{name}", responses=documented(400, 401, 403, 404, 422, 503))
async def rows(
    site: AnySite,
    actor: CallingAdmin,
    name: Annotated[str, Path(max_length=100)],
    page: PageNumber = 1,
    page_size: PageSize = 50,
    before: Before = None,
) -> TableRows:
    """A page of a table, newest first, without the columns that nobody sees; `before` is quick far down a long one."""
    found = await site.browser.tables.page(name, page, page_size, before)
    if found is None:
        raise NotFound("There is no such table.")
    return TableRows(
        table=Table.of(found.table),
        rows=found.rows,
        page=page,
        page_size=page_size,
        has_next=found.has_next,
        next_before=found.next_before,
    )


@router.post("/query", responses=documented(400, 401, 403, 409, 413, 422, 503))
async def query(site: AnySite, actor: ChangingAdmin, body: Query) -> QueryAnswer:
    """Run one SELECT, which can change nothing, for less than a second."""
    site.services.audit.record(Event.DATABASE_QUERY, actor, details={"sql": body.sql})
    found = await site.browser.query(body.sql)
    return QueryAnswer(
        columns=found.answer.columns,
        rows=found.answer.rows,
        truncated=found.answer.truncated,
        duration_ms=found.duration_ms,
    )


@router.delete("/users/{user_id}", responses=documented(401, 403, 404, 409, 422, 503))
async def delete_user(site: AnySite, actor: ChangingAdmin, user_id: Id) -> Deleted:
    """Delete a user with everything that is theirs; their clients are cut off."""
    return Deleted(subdomains=await site.services.accounts.delete_user(actor, user_id))


@router.get("/download", response_class=StreamingResponse, responses=_DOWNLOAD)
async def download(site: AnySite, actor: DownloadingAdmin) -> StreamingResponse:
    """A consistent backup: a SQLite database that Terratunnel opens, whichever database this is."""
    async with AsyncExitStack() as making:
        path = await making.enter_async_context(site.browser.backup())
        until_sent = making.pop_all()
    site.services.audit.record(Event.DATABASE_DOWNLOAD, actor)
    name = f"terratunnel-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    fields = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(path.stat().st_size)}
    return StreamingResponse(_content(path, until_sent), media_type=FILE_TYPE, headers=fields)


async def _content(path: FilePath, until_sent: AsyncExitStack) -> AsyncIterator[bytes]:
    async with until_sent:
        with path.open("rb") as file:
            while data := await asyncio.to_thread(file.read, READ_BYTES):
                yield data
