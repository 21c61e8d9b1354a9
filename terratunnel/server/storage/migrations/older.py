"""Takes over the tables of the older program, in whichever of its shapes. Used by revision 0001 alone.

Rule: no row, column or id is lost, and every key that worked goes on working. What could not be kept as it was is
said in a note. People's names in the database stay theirs: a legacy `users.tunnel_subdomain` becomes a tunnel.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import TIMESTAMP, Connection, MetaData, Table, inspect, text

from terratunnel.server.storage.errors import MigrationRefused

# In the order in which they refer to each other.
TABLES: Final = ("users", "tunnels", "api_keys", "tunnel_audit_log")
# What a column that the older program left empty has to be now; a flag that is not set is off.
_FILLED: Final = {
    "is_active": "CASE WHEN is_active IN (1, 'true', 'True', 'TRUE') THEN 1 ELSE 0 END",
    "created_at": "COALESCE(created_at, CURRENT_TIMESTAMP)",
    "updated_at": "COALESCE(updated_at, CURRENT_TIMESTAMP)",
    "timestamp": "COALESCE(timestamp, CURRENT_TIMESTAMP)",
    "event_type": "COALESCE(event_type, 'connect')",
    "subdomain": "LOWER(TRIM(subdomain))",  # names are compared as DNS compares them
    "tunnel_subdomain": "NULL",  # set from the tunnels, when those are there
}
_SECOND: Final = "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
# `YYYY-MM-DD HH:MM:SS` with at most six more digits and nothing else, so that texts sort as times do.
_CANONICAL: Final = (
    "TYPEOF({0}) = 'text' AND ({0} GLOB '{1}' OR {0} GLOB '{1}.[0-9]*' AND LENGTH({0}) <= 26"
    " AND {0} NOT GLOB '*[^0-9 .:-]*')"
)
# A key that is tied to no tunnel, or to none of its user's.
_LOOSE: Final = (
    "NOT EXISTS (SELECT 1 FROM tunnels WHERE tunnels.id = api_keys.tunnel_id AND tunnels.user_id = api_keys.user_id)"
)


def adopt(connection: Connection, tables: MetaData) -> list[str]:
    """Replace the older tables by `tables` with everything that is in them; return what is to be said about it."""
    set_aside = [name for name in TABLES if inspect(connection).has_table(name)]
    for name in set_aside:
        _set_aside(connection, name)
    tables.create_all(connection, checkfirst=False)
    for name in set_aside:
        _copy(connection, tables.tables[name])
        _make_times_canonical(connection, tables.tables[name])
    notes = [*_drop_orphans(connection), *_name_tunnels(connection), *_tie_keys(connection)]
    _set_first_subdomains(connection)
    for name in reversed(set_aside):
        connection.execute(text(f"DROP TABLE older_{name}"))
    return notes


def _set_aside(connection: Connection, name: str) -> None:
    # Names of indexes are global, and ours may be taken.
    for index in inspect(connection).get_indexes(name):
        connection.execute(text(f"DROP INDEX {_quoted(str(index['name']))}"))
    connection.execute(text(f"ALTER TABLE {name} RENAME TO older_{name}"))


def _copy(connection: Connection, table: Table) -> None:
    columns = {row[1]: row[2] for row in connection.exec_driver_sql(f"PRAGMA table_info(older_{table.name})")}
    for column, declared in columns.items():
        if column not in table.columns:  # somebody's own
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {_quoted(column)} {declared}")
    names = ", ".join(map(_quoted, columns))
    values = ", ".join(_FILLED.get(column, _quoted(column)) for column in columns)
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) SELECT {values} FROM older_{table.name}")


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _make_times_canonical(connection: Connection, table: Table) -> None:
    for name in [column.name for column in table.columns if isinstance(column.type, TIMESTAMP)]:
        strange = f"SELECT id, {name} FROM {table.name} WHERE {name} IS NOT NULL AND NOT ({_canonical(name)})"
        for row, value in connection.exec_driver_sql(strange).all():
            moment = _moment(value, f"{name} of row {row} of {table.name}")
            connection.exec_driver_sql(f"UPDATE {table.name} SET {name} = ? WHERE id = ?", (moment, row))


def _canonical(column: str) -> str:
    return _CANONICAL.format(column, _SECOND)


def _moment(value: object, where: str) -> str:
    try:
        if isinstance(value, int | float):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as error:
        raise MigrationRefused(f"The time {value!r}, {where}, cannot be read. Nothing was changed.") from error
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def _drop_orphans(connection: Connection) -> Iterator[str]:
    """Do what the foreign keys would have done, had the older program had them on."""
    no_user = "user_id NOT IN (SELECT id FROM users)"
    for table in ("tunnels", "api_keys"):
        count = connection.execute(text(f"DELETE FROM {table} WHERE {no_user}")).rowcount
        if count:
            yield f"{count} rows of {table} were of users who are gone, and went too"
    connection.execute(text(f"UPDATE tunnel_audit_log SET user_id = NULL WHERE {no_user}"))
    connection.execute(
        text("UPDATE tunnel_audit_log SET api_key_id = NULL WHERE api_key_id NOT IN (SELECT id FROM api_keys)")
    )


def _name_tunnels(connection: Connection) -> Iterator[str]:
    for user, subdomain in _legacy_names(connection):
        owner = connection.scalar(text("SELECT user_id FROM tunnels WHERE subdomain = :name"), {"name": subdomain})
        if owner is None:
            _add_tunnel(connection, user, subdomain)
        elif owner != user:
            yield f"the name {subdomain} was of the users {owner} and {user}; user {owner} keeps it"
            continue
        connection.execute(
            text("UPDATE users SET tunnel_subdomain = :name WHERE id = :user"), {"name": subdomain, "user": user}
        )


def _legacy_names(connection: Connection) -> list[tuple[int, str]]:
    if "tunnel_subdomain" not in {column["name"] for column in inspect(connection).get_columns("older_users")}:
        return []
    name = "LOWER(TRIM(tunnel_subdomain))"
    rows = connection.execute(text(f"SELECT id, {name} FROM older_users WHERE {name} <> '' ORDER BY id"))
    return [(row[0], row[1]) for row in rows]


def _add_tunnel(connection: Connection, user: int, subdomain: str) -> None:
    connection.execute(
        text(
            "INSERT INTO tunnels (user_id, subdomain, created_at, is_active)"
            " SELECT id, :subdomain, created_at, 1 FROM users WHERE id = :user"
        ),
        {"user": user, "subdomain": subdomain},
    )


def _tie_keys(connection: Connection) -> Iterator[str]:
    """A key serves a tunnel of its user: the one it is tied to, else the one of the legacy name, else the first."""
    without = f"is_active = 1 AND {_LOOSE} AND user_id NOT IN (SELECT user_id FROM tunnels)"
    for user in connection.scalars(text(f"SELECT DISTINCT user_id FROM api_keys WHERE {without}")).all():
        subdomain = _new_name(connection)
        _add_tunnel(connection, user, subdomain)
        yield f"user {user} had a key and no tunnel; it serves {subdomain} now"
    first = """
        SELECT tunnels.id FROM tunnels JOIN users ON users.id = tunnels.user_id
        WHERE tunnels.user_id = api_keys.user_id
        ORDER BY tunnels.subdomain = users.tunnel_subdomain DESC, tunnels.id LIMIT 1
    """
    connection.execute(text(f"UPDATE api_keys SET tunnel_id = ({first}) WHERE {_LOOSE}"))


def _new_name(connection: Connection) -> str:
    # Imported here: only databases that need it wait for its word lists.
    from coolname import generate_slug

    while True:
        name = str(generate_slug(3))
        if connection.scalar(text("SELECT 1 FROM tunnels WHERE subdomain = :name"), {"name": name}) is None:
            return name


def _set_first_subdomains(connection: Connection) -> None:
    first = "SELECT subdomain FROM tunnels WHERE tunnels.user_id = users.id ORDER BY id LIMIT 1"
    connection.execute(text(f"UPDATE users SET tunnel_subdomain = ({first}) WHERE tunnel_subdomain IS NULL"))
