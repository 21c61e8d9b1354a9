"""`/admin`: users and the audit log."""

from terratunnel.server.auditing import Event
from terratunnel.server.control.pages.admin import PAGE_SIZE
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.databases import Databases, SQLiteFiles
from tests.server.control.lab import Lab, pages


async def many(lab: Lab, count: int) -> None:
    async with lab.services.database.session() as session:
        for number in range(count):
            await Users(session).upsert_from_profile(Profile("github", f"n{number}", f"user-{number:03}"))


async def test_users_are_listed_page_by_page(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        await many(lab, PAGE_SIZE)
        first = (await root.get("/admin/users")).text
        assert f"{PAGE_SIZE + 1} users." in first
        assert 'rel="next" href="?page=2"' in first
        assert 'rel="prev"' not in first
        second = (await root.get("/admin/users?page=2")).text
        assert f"user-{PAGE_SIZE - 1:03}" in second
        assert 'rel="prev" href="?page=1"' in second
        assert 'rel="next"' not in second


async def test_users_are_found_by_a_part_of_their_name(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        await lab.person("ann")
        found = (await root.get("/admin/users?search=AN")).text
        assert "1 user matches." in found
        assert ">ann</a>" in found
        assert "Nobody matches." in (await root.get("/admin/users?search=nobody")).text


async def test_a_user_is_shown_disabled_and_let_in_again(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root, ann = await lab.person("root", admin=True), await lab.person("ann")
        await lab.services.audit.flush()
        path = f"/admin/users/{ann.actor.id}"
        page = (await root.get(path)).text
        assert ann.subdomain in page
        assert "ann@example.com" in page
        assert "tunnel_created" in page
        for active, state in (("false", "disabled"), ("true", "active")):
            answer = await root.post(f"{path}/active", {"active": active})
            assert answer.headers["Location"] == path
            assert f"<dt>State</dt><dd>{state}</dd>" in (await root.get(path)).text
        assert "Disable" not in (await root.get(f"/admin/users/{root.actor.id}")).text
        assert (await root.get("/admin/users/999")).status_code == 404


async def test_a_user_is_deleted_after_a_question(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root, ann = await lab.person("root", admin=True), await lab.person("ann")
        path = f"/admin/users/{ann.actor.id}/delete"
        assert f"{ann.subdomain}.localhost" in (await root.get(path)).text
        assert (await root.post(path)).headers["Location"] == "/admin/users"
        assert (await root.get(path)).status_code == 404
        assert ">ann</a>" not in (await root.get("/admin/users")).text


async def test_the_audit_log_is_filtered(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root, ann = await lab.person("root", admin=True), await lab.person("ann")
        made = await lab.key_of(ann)
        await lab.services.audit.flush()
        everything = (await root.get("/admin/audit")).text
        assert everything.count("<tr>") == 6  # the head, two tunnels, two sign-ins and a key
        assert f'<span class="sub">key {made.api_key.id}</span>' in everything
        assert f"key prefix: {made.prefix}" in everything
        assert (await root.get("/admin/audit?event=key_rotated")).text.count("<tr>") == 2
        assert (await root.get("/admin/audit?user=ann")).text.count("<tr>") == 4
        assert (await root.get(f"/admin/audit?subdomain={ann.subdomain}")).text.count("<tr>") == 3
        for nothing in ("user=nobody", "event=else", "subdomain=else"):
            assert "Nothing like that has happened." in (await root.get(f"/admin/audit?{nothing}")).text


async def test_the_audit_log_goes_back_page_by_page(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        for number in range(PAGE_SIZE + 5):
            lab.services.audit.record(Event.KEY_REVOKED, subdomain=f"name-{number}")
        await lab.services.audit.flush()
        first = (await root.get("/admin/audit?event=key_revoked")).text
        assert "name-54" in first
        link = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        second = (await root.get(f"/admin/audit{link}")).text
        assert "name-4<" in second
        assert "name-5<" not in second
        assert 'rel="prev" href="?event=key_revoked"' in second
        assert 'rel="next"' not in second
