"""`terratunnel admin audit` and `admin database`: what has happened, and how the database is. Used by `cli.admin`.

Rule: reading changes nothing; only `database migrate` does, after a backup.
"""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from terratunnel.cli.answers import Answer, Row
from terratunnel.cli.desk import Desk, at_desk, must_exist, on_database
from terratunnel.cli.options import limit_option

if TYPE_CHECKING:
    from terratunnel.server.storage.check import CheckReport
    from terratunnel.server.storage.models import TunnelAuditLog

AUDIT_COLUMNS: Final = ("time", "event", "user", "tunnel", "key_id", "address", "details")
TIMES: Final = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")


# ---------------------------------------------------------------------- audit


@click.command()
@click.option("--user", "username", metavar="USERNAME", help="What this user did.")
@click.option("--tunnel", "subdomain", metavar="NAME", help="What happened to this tunnel.")
@click.option("--key", "key_id", type=click.IntRange(min=1), metavar="ID", help="What was done with this key.")
@click.option("--event", metavar="KIND", help="One kind: connect, refused, key_rotated, login …")
@click.option("--since", type=click.DateTime(TIMES), help="From this time (UTC) on.")
@click.option("--until", type=click.DateTime(TIMES), help="Before this time (UTC).")
@limit_option
@at_desk
async def audit(
    at: Desk,
    username: str | None,
    subdomain: str | None,
    key_id: int | None,
    event: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> Answer:
    """What has happened, newest first."""
    from terratunnel.server.storage.audit import Audit, AuditFilters

    user_id = (await at.user(username)).id if username else None
    filters = AuditFilters(user_id, key_id, subdomain, _kind(event), _utc(since), _utc(until))
    async with at.database.reading() as session:
        found = await Audit(session).list(filters, None, limit)
    return Answer([_event(row) for row in found.rows], AUDIT_COLUMNS, "Nothing of the kind has happened.")


def _kind(event: str | None) -> str | None:
    from terratunnel.server.auditing import Event

    kinds = [kind.value for kind in Event]
    if event is not None and event not in kinds:
        raise click.BadParameter(f"{event!r} is none of {', '.join(kinds)}.", param_hint="--event")
    return event


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None else None


def _event(row: "TunnelAuditLog") -> Row:
    return {
        "id": row.id,
        "time": row.timestamp,
        "event": row.event_type,
        "user": row.username,
        "user_id": row.user_id,
        "tunnel": row.subdomain,
        "key_id": row.api_key_id,
        "address": row.client_ip,
        "user_agent": row.user_agent,
        "hostname": row.hostname,
        "local_endpoint": row.local_endpoint,
        "connection_id": row.connection_id,
        "details": _details(row.additional_data),
    }


def _details(text: str | None) -> Any:
    """Return the details as they were recorded; the older program's may be any text."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


# ---------------------------------------------------------------------- the database


@click.group()
def database() -> None:
    """The database itself."""


@database.command("check")
@on_database
async def check_database(url: str) -> Answer:
    """Look all of it over, and change nothing; ends with 1 when something is wrong."""
    from terratunnel.server.storage.check import check
    from terratunnel.server.storage.urls import locate

    must_exist(url)
    report = await check(url)
    shown = locate(url).shown
    row = {
        "database": shown,
        "dialect": report.dialect,
        "revision": report.revision,
        "newest_revision": report.newest_revision,
        "is_current": report.is_current,
        "problems": list(report.problems),
        "counts": report.counts,
    }
    return Answer([row], sentence="\n".join(_findings(shown, report)), status=1 if report.problems else 0)


def _findings(shown: str, report: "CheckReport") -> list[str]:
    if report.problems:
        return [f"Something is wrong with {shown}:", *(f"  {problem}" for problem in report.problems)]
    counted = [f"  {count:>9} {table}" for table, count in report.counts.items()]
    if not report.is_current:
        return [f"{shown} is sound, but not of this version; run: terratunnel admin database migrate", *counted]
    return [f"{shown} is sound and of this version ({report.revision}). It holds rows:", *counted]


@database.command("migrate")
@on_database
async def migrate_database(url: str) -> Answer:
    """Make it, or bring it to this version; a SQLite file is copied first."""
    from terratunnel.server.storage.migrate import migrate
    from terratunnel.server.storage.urls import locate

    report = await migrate(url)
    shown = locate(url).shown
    sentence = f"{shown} is of this version ({report.to_revision}); nothing had to be done."
    if report.changed:
        kept = f" What it was before is in {report.backup}." if report.backup else ""
        sentence = "\n".join([f"{shown} is now of this version ({report.to_revision}).{kept}", *report.notes])
    row = {
        "database": shown,
        "changed": report.changed,
        "from_revision": report.from_revision,
        "to_revision": report.to_revision,
        "backup": report.backup,
        "notes": list(report.notes),
    }
    return Answer([row], sentence=sentence)
