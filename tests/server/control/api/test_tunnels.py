"""`/api/tunnels`: the caller's own, and whether they are live."""

from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import pages


async def test_tunnels_are_listed_with_key_and_client(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        await lab.person("bob")
        [before] = (await ann.call("GET", "/api/tunnels")).json()
        assert before["url"] == f"http://{ann.subdomain}.localhost:8000"
        assert (before["id"], before["subdomain"], before["name"]) == (ann.tunnel_id, ann.subdomain, None)
        assert (before["key_prefix"], before["live"]) == (None, None)
        key = await lab.key_of(ann)
        lab.connect(ann.subdomain, connected_at=1_750_000_000.0, agent_address="203.0.113.7", requests=2)
        [now] = (await lab.client.get("/api/tunnels", headers={"Authorization": f"Bearer {key.plain}"})).json()
        assert now["key_prefix"] == key.prefix
        assert now["live"] == {
            "since": "2025-06-15T15:06:40Z",
            "address": "203.0.113.7",
            "local_endpoint": "",
            "user_agent": "",
            "requests": 2,
            "bytes_in": 0,
            "bytes_out": 0,
        }
