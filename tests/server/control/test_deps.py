"""Who is asking: by a key, by a session, from where. Who may do what is the matrix's."""

from terratunnel.server.auditing import Event
from terratunnel.server.control.throttle import TRIES
from terratunnel.server.proxies import networks_in
from terratunnel.server.storage.audit import Audit, AuditFilters
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import pages


async def test_a_key_that_is_shown_counts_before_the_session(sqlite: SQLiteFiles) -> None:
    """A program that shows a wrong key is told so, whatever its browser may hold."""
    async with pages(sqlite.new()) as lab:
        ann, bob = await lab.person("ann"), await lab.person("bob")
        key = (await lab.key_of(bob)).plain
        found = await lab.client.get("/api/auth/me", headers=ann.session | {"Authorization": f"Bearer {key}"})
        assert found.json()["username"] == "bob"
        wrong = await lab.client.get("/api/auth/me", headers=ann.session | {"Authorization": "Bearer no"})
        assert wrong.status_code == 401
        basic = await lab.client.get("/api/auth/me", headers=ann.session | {"Authorization": "Basic YTpi"})
        assert (basic.status_code, basic.json()["message"]) == (
            401,
            "Send your API key as: Authorization: Bearer KEY",
        )


async def test_the_address_is_what_the_edge_has_seen(sqlite: SQLiteFiles) -> None:
    """It writes it last; whatever stands before it is the visitor's own word."""
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        fields = {"X-Forwarded-For": "10.0.0.1, 203.0.113.7", "User-Agent": "a browser"}
        await ann.post(f"/tunnels/{ann.tunnel_id}/keys/new", None, **fields)
        await lab.services.audit.flush()
        async with lab.services.database.reading() as session:
            event = (await Audit(session).list(AuditFilters(event_type=Event.KEY_ROTATED.value))).rows[0]
    assert (event.client_ip, event.user_agent, event.username) == ("203.0.113.7", "a browser", "ann")


async def test_behind_a_trusted_proxy_the_address_is_what_the_proxy_has_seen(sqlite: SQLiteFiles) -> None:
    """So those behind one proxy do not share the tries of each other."""
    async with pages(sqlite.new(), trusted_proxies=networks_in("10.0.0.0/8")) as lab:
        for _ in range(TRIES):
            lab.app.state.site.throttle.count("203.0.113.7")
        statuses = [
            (await lab.client.post("/api/auth/device", json={}, headers={"X-Forwarded-For": addresses})).status_code
            for addresses in ("203.0.113.7, 10.0.0.1", "203.0.113.8, 10.0.0.1", "203.0.113.7, 203.0.113.9, 10.0.0.1")
        ]
    assert statuses == [429, 200, 200]


async def test_a_session_that_comes_twice_counts_as_none(sqlite: SQLiteFiles) -> None:
    """A tunnel's page may set a cookie for the whole domain (security.md A1)."""
    async with pages(sqlite.new()) as lab:
        ann, mallory = await lab.person("ann"), await lab.person("mallory")
        both = await lab.client.get("/auth/me", headers={"Cookie": f"{mallory.cookie}; {ann.cookie}"})
        assert both.status_code == 401


async def test_a_session_ends_with_its_user(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann, root = await lab.person("ann"), await lab.person("root", admin=True)
        assert (await ann.get("/auth/me")).status_code == 200
        await root.post(f"/admin/users/{ann.actor.id}/active", {"active": "false"})
        assert (await ann.get("/auth/me")).status_code == 401
