"""`/api/admin`: what is live, users, and the audit log."""

from terratunnel.server.auditing import Event
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import Lab, Person, pages


async def audited(lab: Lab, root: Person, query: str = "") -> list[str]:
    await lab.services.audit.flush()
    answer = await root.call("GET", f"/api/admin/audit{query}")
    assert answer.status_code == 200
    return [event["event_type"] for event in answer.json()["events"]]


async def test_all_live_tunnels_are_listed_with_their_users(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        assert (await root.call("GET", "/api/admin/live")).json() == {
            "totals": {"tunnels": 0, "requests": 0, "bytes_in": 0, "bytes_out": 0},
            "tunnels": [],
        }
        lab.connect("happy-panda", username="ann", connection_id="c", requests=2, bytes_in=3, bytes_out=4)
        found = (await root.call("GET", "/api/admin/live")).json()
    assert found["totals"] == {"tunnels": 1, "requests": 2, "bytes_in": 3, "bytes_out": 4}
    [tunnel] = found["tunnels"]
    assert (tunnel["subdomain"], tunnel["username"], tunnel["connection_id"]) == ("happy-panda", "ann", "c")


async def test_users_are_paged_and_searched(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        for name in ("ann", "anton", "bob"):
            await lab.person(name)
        first = (await root.call("GET", "/api/admin/users?page_size=2")).json()
        assert [user["provider_username"] for user in first["users"]] == ["root", "ann"]
        assert (first["total"], first["page"], first["page_size"]) == (4, 1, 2)
        found = (await root.call("GET", "/api/admin/users?search=an")).json()
        assert [user["provider_username"] for user in found["users"]] == ["ann", "anton"]


async def test_the_audit_log_is_filtered_and_paged_backwards(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root, ann = await lab.person("root", admin=True), await lab.person("ann")
        await lab.key_of(ann)
        assert await audited(lab, root, f"?user_id={ann.actor.id}") == ["key_rotated", "login", "tunnel_created"]
        assert await audited(lab, root, f"?subdomain={ann.subdomain}") == ["key_rotated", "tunnel_created"]
        assert await audited(lab, root, f"?event_type={Event.KEY_ROTATED.value}") == ["key_rotated"]
        page = (await root.call("GET", "/api/admin/audit?page_size=2")).json()
        rest = (await root.call("GET", f"/api/admin/audit?before={page['next_before']}")).json()
        assert len(page["events"]) == 2
        assert page["events"][-1]["id"] > rest["events"][0]["id"]
        assert rest["next_before"] is None
