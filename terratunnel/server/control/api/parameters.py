"""Parameters that several routes share. Used by the API and the pages.

Rule: an id fits the column it is looked up in on either database, so nothing odd reaches a query.
"""

from typing import Annotated, Final

from fastapi import Path, Query

from terratunnel.server.control.sqlbrowser.tables import MAX_PAGE_SIZE

# INTEGER of Postgres.
MAX_ID: Final = 2**31 - 1
# Far more rows than a table of ours will have; an offset beyond it is a mistake.
MAX_PAGE: Final = 10_000_000

Id = Annotated[int, Path(ge=1, le=MAX_ID)]
PageNumber = Annotated[int, Query(ge=1, le=MAX_PAGE)]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]
Before = Annotated[int | None, Query(ge=1, le=MAX_ID)]
Search = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]
