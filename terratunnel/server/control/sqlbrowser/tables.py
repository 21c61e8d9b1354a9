"""Our tables, page by page. Used by the browser.

Rule: what follows a row is found by its key, so that it costs the same however long the table is; secret columns are
left out.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Integer, Table, func, select

from terratunnel.errors import TerratunnelError
from terratunnel.server.control.sqlbrowser.answers import SECRET_COLUMNS, Cell, cell
from terratunnel.server.storage.engine import Database, Session
from terratunnel.server.storage.models import Base

# Counting a million rows takes longer than everything else on the page.
COUNTED: Final = 10_000
MAX_PAGE_SIZE: Final = 200


@dataclass(frozen=True)
class TableInfo:
    """A table; `rows` is how many it has, or COUNTED when `more` says that there are more."""

    name: str
    columns: list[str]
    rows: int
    more: bool


@dataclass(frozen=True)
class TablePage:
    """Rows of a table, newest first; `has_next` when another page follows. `next_before` leads to it by its key."""

    table: TableInfo
    rows: list[list[Cell]]
    page: int
    page_size: int
    has_next: bool
    next_before: int | None


class NotNumbered(TerratunnelError):
    """The rows of this table have no number to begin before."""


class Tables:
    """Reads the tables of this program; others that may be in the database are none of its business."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[TableInfo]:
        """Return every table, the guide's first."""
        async with self._database.reading() as session:
            return [await _info(session, table) for table in Base.metadata.tables.values()]

    async def page(self, name: str, page: int, page_size: int, before: int | None = None) -> TablePage | None:
        """Return a page of a table, None when there is no such table; pages count from 1.

        `before` leaves out the rows whose id is not below it. To reach a page by its number takes the longer the
        higher it is; by `before` it does not. Raises NotNumbered.
        """
        table = Base.metadata.tables.get(name)
        if table is None:
            return None
        columns = [column for column in table.columns if column.name not in SECRET_COLUMNS]
        order = [column.desc() for column in table.primary_key.columns]
        query = select(*columns).order_by(*order).limit(page_size + 1).offset((page - 1) * page_size)
        number = _number_of(table)
        if before is not None:
            if number is None:
                raise NotNumbered("The rows of this table have no numbers; ask for a page.")
            query = query.where(number < before)
        async with self._database.reading() as session:
            info = await _info(session, table)
            found = (await session.execute(query)).all()
        rows = [[cell(value) for value in row] for row in found[:page_size]]
        has_next = len(found) > page_size
        next_before = int(found[page_size - 1]._mapping[number]) if has_next and number is not None else None
        return TablePage(info, rows, page, page_size, has_next, next_before)


def _number_of(table: Table) -> Column[int] | None:
    """Return the column that numbers the rows of a table, where there is one."""
    (key,) = table.primary_key.columns
    return key if isinstance(key.type, Integer) else None


async def _info(session: Session, table: Table) -> TableInfo:
    some = select(*table.primary_key.columns).limit(COUNTED + 1).subquery()
    count = await session.scalar(select(func.count()).select_from(some)) or 0
    columns = [column.name for column in table.columns if column.name not in SECRET_COLUMNS]
    return TableInfo(table.name, columns, min(count, COUNTED), count > COUNTED)
