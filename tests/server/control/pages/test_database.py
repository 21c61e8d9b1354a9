"""`/admin/database`: tables, their pages and the query box."""

from terratunnel.server.control.pages.database import PAGE_SIZE
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.databases import Databases
from tests.server.control.lab import pages


async def test_a_table_is_shown_page_by_page(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        async with lab.services.database.session() as session:
            for number in range(PAGE_SIZE):
                await Users(session).upsert_from_profile(Profile("github", f"n{number}", f"user-{number:03}"))
        first = (await root.get("/admin/database")).text
        assert "user-049" in first
        assert 'users <span class="count">51</span>' in first
        assert 'rel="next" href="?table=users&amp;before=2"' in first
        second = (await root.get("/admin/database?table=users&before=2")).text
        assert "<td>root</td>" in second
        assert 'rel="prev" href="?table=users"' in second
        assert 'rel="next"' not in second
        assert "<td>root</td>" in (await root.get("/admin/database?table=users&page=2")).text
        assert "No rows." in (await root.get("/admin/database?table=released_names")).text
        assert (await root.get("/admin/database?table=nothing")).status_code == 404


async def test_a_table_without_numbers_is_shown_page_by_page_too(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        async with lab.services.database.session() as session:
            await Tunnels(session).release([f"name-{number}" for number in range(PAGE_SIZE + 1)])
        first = (await root.get("/admin/database?table=released_names")).text
        assert 'rel="next" href="?table=released_names&amp;page=2"' in first
        assert "<td>name-0</td>" in (await root.get("/admin/database?table=released_names&page=2")).text
        assert (await root.get("/admin/database?table=released_names&before=2")).status_code == 400


async def test_no_secret_column_is_there(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        await lab.key_of(root)
        page = (await root.get("/admin/database?table=api_keys")).text
    assert "key_prefix" in page
    assert "key_hash" not in page


async def test_the_query_box_answers(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        page = await root.post("/admin/database", {"sql": "SELECT id, email, avatar_url FROM users"})
        assert page.status_code == 200
        assert "<td>root@example.com</td>" in page.text
        assert '<span class="null">null</span>' in page.text
        assert "1 row, in" in page.text
        assert "SELECT id, email, avatar_url FROM users</textarea>" in page.text
        wrong = await root.post("/admin/database", {"sql": "DROP TABLE users"})
        assert wrong.status_code == 400
        assert 'role="alert"' in wrong.text
        assert (await root.get("/")).status_code == 200
