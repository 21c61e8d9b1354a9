"""`/api/auth`: keys for tokens of a real provider, and the keys of a user."""

import pytest

from terratunnel.server.control.throttle import TRIES
from terratunnel.testing.databases import SQLiteFiles
from terratunnel.testing.provider import Person, providing
from tests.server.control.lab import pages

ANN = Person(1, "ann", "ann@example.com", "Ann")


@pytest.mark.parametrize("kind", ["github", "gitlab"])
async def test_a_provider_s_token_is_exchanged_for_a_key(sqlite: SQLiteFiles, kind: str) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config(kind)) as lab:
        body = {"provider": kind, "token": provider.token_of("ann", kind), "api_key_name": "ci"}
        answer = await lab.client.post("/api/auth/exchange", json=body)
        assert answer.status_code == 200
        given = answer.json()
        assert set(given) == {"api_key", "api_key_prefix", "user_id", "username", "expires_at", "tunnel_url"}
        assert given["api_key"].startswith(given["api_key_prefix"])
        assert (given["username"], given["expires_at"]) == ("ann", None)
        assert given["tunnel_url"].endswith(".localhost:8000")
        key = {"Authorization": f"Bearer {given['api_key']}"}
        assert (await lab.client.get("/api/auth/me", headers=key)).json() == {
            "id": given["user_id"],
            "username": "ann",
            "email": "ann@example.com",
            "name": "Ann",
            "avatar_url": "https://avatars.example.com/1" if kind == "github" else None,
            "provider": kind,
        }
        assert [item["name"] for item in (await lab.client.get("/api/auth/keys", headers=key)).json()] == ["ci"]


async def test_the_guide_s_body_is_understood_and_the_old_key_stops(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        body = {"github_token": provider.token_of("ann", "github")}
        first, second = [(await lab.client.post("/api/auth/exchange", json=body)).json() for _ in range(2)]
        assert (first["tunnel_url"], first["user_id"]) == (second["tunnel_url"], second["user_id"])
        statuses = [
            (await lab.client.get("/api/auth/me", headers={"Authorization": f"Bearer {given['api_key']}"})).status_code
            for given in (first, second)
        ]
        assert statuses == [401, 200]


async def test_a_token_that_is_none_gets_no_key(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        answer = await lab.client.post("/api/auth/exchange", json={"github_token": "no"})
        assert answer.status_code == 401
        assert answer.json()["message"].startswith("GitHub has not given this token to this server's app; ")
        other = await lab.client.post("/api/auth/exchange", json={"provider": "gitlab", "token": "no"})
        assert other.status_code == 404


async def test_whoever_tries_tokens_is_held_up(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        for _ in range(TRIES):
            await lab.client.post("/api/auth/exchange", json={"github_token": "no"})
        answer = await lab.client.post("/api/auth/exchange", json={"github_token": "no"})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        elsewhere = {"X-Forwarded-For": "203.0.113.7"}
        other = await lab.client.post("/api/auth/exchange", json={"github_token": "no"}, headers=elsewhere)
        assert other.status_code == 401


async def test_who_has_no_tunnel_any_more_is_told(sqlite: SQLiteFiles) -> None:
    """A sign-in makes a tunnel for whoever has none, so it comes back under another name."""
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        root = await lab.person("root", admin=True)
        body = {"github_token": provider.token_of("ann", "github")}
        first = (await lab.client.post("/api/auth/exchange", json=body)).json()
        tunnels = await lab.services.accounts.tunnels_of(root.actor, first["user_id"])
        await lab.services.accounts.delete_tunnel(root.actor, tunnels[0].tunnel.id)
        second = (await lab.client.post("/api/auth/exchange", json=body)).json()
        assert second["tunnel_url"] != first["tunnel_url"]


async def test_keys_are_listed_without_the_key_and_revoked(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        old, new = await lab.key_of(ann), await lab.key_of(ann)
        key = {"Authorization": f"Bearer {new.plain}"}
        listed = (await lab.client.get("/api/auth/keys", headers=key)).json()
        assert [(item["id"], item["is_active"]) for item in listed] == [(new.api_key.id, True), (old.api_key.id, False)]
        assert set(listed[0]) == {
            "id", "key_prefix", "name", "created_at", "last_used_at", "expires_at", "is_active", "scopes",
        }  # fmt: skip
        assert listed[0]["scopes"] == "tunnel:create"
        in_use = await lab.client.delete(f"/api/auth/keys/{new.api_key.id}", headers=key)
        assert in_use.status_code == 400
        assert (await ann.call("DELETE", f"/api/auth/keys/{new.api_key.id}")).status_code == 204
        assert (await lab.client.get("/api/auth/me", headers=key)).status_code == 401


async def test_an_administrator_s_key_ends_no_key_of_others(sqlite: SQLiteFiles) -> None:
    """Whoever finds it on a laptop is that laptop's tunnel, and no administrator."""
    async with pages(sqlite.new()) as lab:
        root, ann = await lab.person("root", admin=True), await lab.person("ann")
        found, theirs = await lab.key_of(root), await lab.key_of(ann)
        path, key = f"/api/auth/keys/{theirs.api_key.id}", {"Authorization": f"Bearer {found.plain}"}
        assert (await lab.client.delete(path, headers=key)).status_code == 404
        assert (await lab.services.accounts.keys_of(ann.actor))[0].is_active
        assert (await root.call("DELETE", path)).status_code == 204


async def test_a_disabled_user_s_key_is_refused(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann, root = await lab.person("ann"), await lab.person("root", admin=True)
        key = await lab.key_of(ann)
        await lab.services.accounts.set_user_active(root.actor, ann.actor.id, False)
        answer = await lab.client.get("/api/auth/me", headers={"Authorization": f"Bearer {key.plain}"})
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
