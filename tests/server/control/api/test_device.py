"""`/api/auth/device`: what `terratunnel login` talks to."""

from terratunnel.server.control.throttle import TRIES
from terratunnel.testing.databases import Databases, SQLiteFiles
from tests.server.control.lab import pages

TOKEN = "/api/auth/device/token"


async def test_a_client_gets_its_key_once_somebody_has_approved(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        ann = await lab.person("ann")
        codes = (await lab.client.post("/api/auth/device", json={"client_name": "ann's laptop"})).json()
        assert codes["verification_url"] == "http://localhost:8000/auth/device"
        assert codes["verification_url_complete"] == f"http://localhost:8000/auth/device?code={codes['user_code']}"
        assert (codes["expires_in_s"], codes["interval_s"]) == (600, 2)
        body = {"device_code": codes["device_code"]}
        waiting = await lab.client.post(TOKEN, json=body)
        assert (waiting.status_code, waiting.json()) == (202, {"state": "authorization_pending"})
        page = await ann.get(f"/auth/device?code={codes['user_code']}")
        assert "ann&#39;s laptop at this machine" in page.text
        await ann.post("/auth/device", {"code": codes["user_code"], "decision": "approve"})
        given = await lab.client.post(TOKEN, json=body)
        assert given.status_code == 200
        assert given.json()["tunnel_url"] == f"http://{ann.subdomain}.localhost:8000"
        assert given.json()["user_id"] == ann.actor.id
        key = {"Authorization": f"Bearer {given.json()['api_key']}"}
        assert (await lab.client.get("/api/auth/me", headers=key)).json()["username"] == "ann"
        assert (await lab.client.post(TOKEN, json=body)).status_code == 404


async def test_a_client_that_was_declined_is_told(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        codes = (await lab.client.post("/api/auth/device", json={})).json()
        page = await ann.post("/auth/device", {"code": codes["user_code"], "decision": "deny"})
        assert "The client gets no key" in page.text
        over = await lab.client.post(TOKEN, json={"device_code": codes["device_code"]})
        assert over.status_code == 404
        assert "was declined" in over.json()["message"]


async def test_what_a_client_calls_itself_is_shown_only_as_text(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        for name, shown in (("<b>x</b>", "&lt;b&gt;x&lt;/b&gt; at"), ("a\nb\x1b[31m", "A client at")):
            codes = (await lab.client.post("/api/auth/device", json={"client_name": name})).json()
            assert shown in (await ann.get(f"/auth/device?code={codes['user_code']}")).text


async def test_codes_are_given_so_often_and_no_more(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        answers = [await lab.client.post("/api/auth/device", json={}) for _ in range(TRIES + 1)]
    assert [answer.status_code for answer in answers] == [200] * TRIES + [429]
