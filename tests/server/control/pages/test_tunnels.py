"""`/tunnels`: new ones, new keys, and an end."""

import re

from terratunnel.testing.databases import Databases, SQLiteFiles
from tests.server.control.lab import pages


async def test_a_key_is_shown_once_and_the_old_one_stops(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        ann = await lab.person("ann")
        path = f"/tunnels/{ann.tunnel_id}/keys/new"
        assert "Make the key" in (await ann.get(path)).text
        shown = (await ann.post(path, {"name": "laptop"})).text
        [key] = set(re.findall(r"tt_[\w-]{43}", shown))
        assert f"--api-key {key}" in shown
        assert f"http://{ann.subdomain}.localhost:8000" in shown
        call = {"Authorization": f"Bearer {key}"}
        assert (await lab.client.get("/api/auth/me", headers=call)).status_code == 200
        asked = (await ann.get(path)).text
        assert f"{key[:8]}…" in asked
        assert key not in asked
        assert key not in (await ann.get("/")).text
        await ann.post(path)
        assert (await lab.client.get("/api/auth/me", headers=call)).status_code == 401


async def test_who_is_connected_is_warned_of_before(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        await lab.key_of(ann)
        lab.connect(ann.subdomain, agent_address="203.0.113.7")
        page = await ann.get(f"/tunnels/{ann.tunnel_id}/keys/new")
    assert "The client that is connected from 203.0.113.7 is cut off." in page.text


async def test_an_administrator_makes_tunnels_and_deletes_them(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        answer = await root.post("/tunnels/new", {"name": "Billing"})
        found = re.fullmatch(r"/tunnels/(\d+)/keys/new", answer.headers["Location"])
        assert found
        number = found[1]
        assert "A key for" in (await root.get(f"/tunnels/{number}/keys/new")).text
        assert "<h2" in (await root.get("/")).text
        assert "Billing" in (await root.get("/")).text
        assert "will not arrive any more" in (await root.get(f"/tunnels/{number}/delete")).text
        assert (await root.post(f"/tunnels/{number}/delete")).headers["Location"] == "/"
        assert "Billing" not in (await root.get("/")).text


async def test_a_name_that_is_no_name_is_refused_with_a_sentence(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        for name in ("n" * 101, "a\nb"):
            page = await root.post("/tunnels/new", {"name": name})
            assert page.status_code == 400
            assert "A name has at most 100 characters" in page.text
