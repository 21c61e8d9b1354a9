"""`/`: strangers, users and administrators."""

from terratunnel.server.actors import Origin
from terratunnel.server.auditing import Event
from terratunnel.testing.databases import Databases, SQLiteFiles
from tests.server.control.lab import PAGE, pages


async def test_a_stranger_sees_how_to_come_in(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        page = await lab.client.get("/", headers=PAGE)
    assert 'href="/auth/github"' in page.text
    assert "Sign in with GitHub" in page.text
    assert "Sign out" not in page.text


async def test_a_user_sees_the_tunnel_its_key_and_what_to_run(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        ann = await lab.person("ann")
        await lab.person("bob")
        before = (await ann.get("/")).text
        assert f"http://{ann.subdomain}.localhost:8000" in before
        assert "Not connected" in before
        assert "none yet" in before
        assert "terratunnel login --server-url http://localhost:8000" in before
        assert before.count("<article") == 1
        assert 'href="/admin' not in before
        key = await lab.key_of(ann)
        lab.connect(ann.subdomain, connected_at=1_750_000_000.0, agent_address="203.0.113.7", requests=1234)
        now = (await ann.get("/")).text
    assert f"<code>{key.prefix}…</code>" in now
    assert key.plain not in now
    assert 'data-live="yes"' in now
    assert "203.0.113.7" in now
    assert '<dd data-field="requests">1,234</dd>' in now
    assert 'title="2025-06-15 15:06:40 UTC"' in now


async def test_an_administrator_sees_everything_live_and_who_came_last(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        ann, root = await lab.person("ann"), await lab.person("root", admin=True)
        empty = (await root.get("/")).text
        assert "No client is connected." in empty
        assert "Nobody has connected yet." in empty
        lab.connect(ann.subdomain, username="ann", connection_id="c", bytes_out=123_456_789)
        lab.services.audit.record(Event.CONNECT, ann.actor, Origin("203.0.113.7"), subdomain=ann.subdomain)
        await lab.services.audit.flush()
        page = (await root.get("/")).text
    assert f'<a data-field="url" href="http://{ann.subdomain}.localhost:8000">{ann.subdomain}</a>' in page
    assert "123 MB" in page
    assert "203.0.113.7" in page
    assert '<a href="/admin/users">2</a>' in page
    assert 'href="/tunnels/new"' in page
