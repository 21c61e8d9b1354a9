"""`/api/admin/db`: the browser over the API. What a query may do is `sqlbrowser`'s."""

import json
import re
from pathlib import Path

from terratunnel.server.storage.check import check
from terratunnel.server.storage.urls import database_url
from terratunnel.testing.databases import Databases, SQLiteFiles
from tests.server.control.lab import pages


async def test_tables_are_listed_and_paged(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        await lab.person("ann")
        listed = (await root.call("GET", "/api/admin/db/tables")).json()
        assert listed["dialect"] == lab.services.database.dialect
        assert listed["tables"][0]["name"] == "users"
        assert (listed["tables"][0]["rows"], listed["tables"][0]["more"]) == (2, False)
        page = (await root.call("GET", "/api/admin/db/tables/users?page_size=1")).json()
        assert page["rows"][0][page["table"]["columns"].index("provider_username")] == "ann"
        assert (page["page"], page["page_size"], page["has_next"]) == (1, 1, True)
        rest = (await root.call("GET", f"/api/admin/db/tables/users?before={page['next_before']}")).json()
        assert [row[page["table"]["columns"].index("provider_username")] for row in rest["rows"]] == ["root"]
        assert (rest["has_next"], rest["next_before"]) == (False, None)
        assert (await root.call("GET", "/api/admin/db/tables/sqlite_master")).status_code == 404


async def test_a_query_is_answered_and_audited(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        sql = "SELECT provider_username, is_active FROM users"
        answer = (await root.call("POST", "/api/admin/db/query", {"sql": sql})).json()
        assert (answer["columns"], answer["truncated"]) == (["provider_username", "is_active"], False)
        assert answer["rows"] == [["root", True]]
        wrong = await root.call("POST", "/api/admin/db/query", {"sql": "DELETE FROM users"})
        assert wrong.status_code == 400
        await lab.services.audit.flush()
        noted = (await root.call("GET", "/api/admin/audit?event_type=database_query")).json()["events"]
        assert [event["additional_data"] for event in noted] == ['{"sql": "DELETE FROM users"}', f'{{"sql": "{sql}"}}']


async def test_a_user_is_deleted_with_everything_that_is_theirs(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root, ann = await lab.person("root", admin=True), await lab.person("ann")
        await lab.key_of(ann)
        answer = await root.call("DELETE", f"/api/admin/db/users/{ann.actor.id}")
        assert answer.json() == {"subdomains": [ann.subdomain]}
        for table in ("users", "tunnels", "api_keys"):
            rows = (await root.call("GET", f"/api/admin/db/tables/{table}")).json()["rows"]
            assert len(rows) == (0 if table == "api_keys" else 1), table
        assert (await root.call("DELETE", f"/api/admin/db/users/{ann.actor.id}")).status_code == 404
        assert (await root.call("DELETE", f"/api/admin/db/users/{root.actor.id}")).status_code == 409
        await lab.services.audit.flush()
        (noted,) = (await root.call("GET", "/api/admin/audit?event_type=user_deleted")).json()["events"]
        gone = {"id": ann.actor.id, "user": "ann", "tunnels": [ann.subdomain]}
        assert (noted["username"], json.loads(noted["additional_data"])) == ("root", gone)


async def test_the_download_is_a_database(databases: Databases, tmp_path: Path) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        answer = await root.get("/api/admin/db/download", **{"Sec-Fetch-Site": "same-origin"})
        await lab.services.audit.flush()
        (noted,) = (await root.call("GET", "/api/admin/audit?event_type=database_download")).json()["events"]
    assert noted["username"] == "root"
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/vnd.sqlite3"
    assert re.fullmatch(r'attachment; filename="terratunnel-\d{8}T\d{6}Z\.db"', answer.headers["Content-Disposition"])
    assert len(answer.content) == int(answer.headers["Content-Length"])
    kept = tmp_path / "kept.db"
    kept.write_bytes(answer.content)
    report = await check(database_url(str(kept)))
    assert (report.problems, report.counts["users"]) == ((), 1)


async def test_no_page_of_a_tunnel_has_backups_made(sqlite: SQLiteFiles) -> None:
    """SameSite does not hold a sibling off, and each one is a copy of everything on the server's disk."""
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        answer = await root.get("/api/admin/db/download", **{"Sec-Fetch-Site": "same-site"})
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
        await lab.services.audit.flush()
        assert (await root.call("GET", "/api/admin/audit?event_type=database_download")).json()["events"] == []
