"""Live links and their keys: whoever ends a key, and wherever, ends the link within a second, and its client knows why.

On real sockets; other processes are other connections to the same database. Time is counted in looks of the watch, of
which two fit into the second, so that a busy machine fails no test.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from terratunnel.mux.handshake import HandshakeRefused
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.actors import OPERATOR, Actor
from terratunnel.server.auditing import AuditLog
from terratunnel.server.config import AccountsConfig, ServerConfig
from terratunnel.server.live import CHECK_EVERY_S
from terratunnel.server.storage.audit import Audit, AuditFilters
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import ApiKey
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.tunnels import Accounts, NewKey
from terratunnel.testing.clock import turns
from terratunnel.testing.databases import Databases, PostgresCluster
from tests.server.desk import ADMIN, ALICE, BOB
from tests.server.lab import KEYS, Agent, Lab, answer, begin, running

WITHIN_S = 1.0  # security.md A4
LOOKS = 2


class Office(Lab):
    """A running server with two users, and the same database as another process sees it."""

    alice: Actor
    root: Actor
    elsewhere: Accounts
    looks: int

    @property
    def accounts(self) -> Accounts:
        """The server's own accounts."""
        return self.server.services.accounts

    async def new_key(self, **options: Any) -> NewKey:
        """A key of Alice's tunnel."""
        tunnel = (await self.accounts.tunnels_of(self.alice))[0].tunnel
        return await self.accounts.rotate_key(self.alice, tunnel.id, **options)

    def count_looks(self) -> None:
        """Count what the watch does."""
        watch = self.server._accounts._watch._key_watch
        look = watch._job

        async def counted() -> None:
            self.looks += 1
            await look()

        self.looks = 0
        watch._job = counted

    async def cut_off(self, agent: Agent) -> str:
        """Wait until an agent is told that its key has ended, just now; return why."""
        since = self.looks
        await agent.owner.until_heard("closed")
        assert self.looks - since <= LOOKS
        kind, code, reason = agent.owner.heard[-1]
        assert (kind, code) == ("closed", GoAwayCode.REVOKED)
        return str(reason)

    async def connected(self) -> tuple[NewKey, Agent]:
        """Alice's client, connected."""
        made = await self.new_key()
        return made, await self.agent(made.plain)


@asynccontextmanager
async def office(databases: Databases) -> AsyncIterator[Office]:
    url = databases.new()
    accounts = AccountsConfig(admins=frozenset({("github", "root")}))
    config = ServerConfig("127.0.0.1", 0, database_url=url, static_keys=KEYS, accounts=accounts)
    async with running(config=config) as lab, Database(url) as database:
        lab.__class__ = Office
        assert isinstance(lab, Office)
        lab.alice, lab.root = await lab.accounts.sign_in(ALICE), await lab.accounts.sign_in(ADMIN)
        lab.elsewhere = Accounts(database, accounts, AuditLog(database), lambda *_: None)
        lab.count_looks()
        yield lab


async def test_a_client_with_a_key_serves_the_tunnel_of_its_account(databases: Databases) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        assert agent.url == f"http://{made.tunnel.subdomain}.localhost:{at.server.port}"
        route = at.server.routes.find(f"{made.tunnel.subdomain}.localhost")
        assert route is not None
        assert (route.tunnel_id, route.user_id, route.key_id, route.username) == (
            made.tunnel.id,
            at.alice.id,
            made.api_key.id,
            "alice",
        )


async def test_a_new_key_cuts_the_client_of_the_old_one_off_and_takes_its_own(databases: Databases) -> None:
    async with office(databases) as at:
        old, agent = await at.connected()
        new = await at.new_key()
        assert await at.cut_off(agent) == "a new key has replaced it"
        with pytest.raises(HandshakeRefused, match="revoked, or replaced") as refused:
            await at.agent(old.plain)
        assert refused.value.status == 401
        await at.agent(new.plain)


async def test_a_refusal_is_audited_with_whose_the_key_is(databases: Databases) -> None:
    async with office(databases) as at:
        made = await at.new_key()
        await at.accounts.revoke_key(at.alice, made.api_key.id)
        with pytest.raises(HandshakeRefused):
            await at.agent(made.plain)
        await at.server.services.audit.flush()
        async with at.server.services.database.reading() as session:
            (row,) = (await Audit(session).list(AuditFilters(event_type="refused"))).rows
        assert (row.user_id, row.username, row.api_key_id) == (at.alice.id, "alice", made.api_key.id)
        subdomain = made.tunnel.subdomain
        assert (row.subdomain, row.hostname, row.client_ip) == (subdomain, f"{subdomain}.localhost", "127.0.0.1")


async def test_a_revoked_key_cuts_its_client_off(databases: Databases) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        await at.accounts.revoke_key(at.alice, made.api_key.id)
        assert await at.cut_off(agent) == "by alice"


async def test_revoking_an_older_key_leaves_the_client_of_the_newer_one(databases: Databases) -> None:
    async with office(databases) as at:
        old = await at.new_key()
        new, agent = await at.connected()
        await at.accounts.revoke_key(at.alice, old.api_key.id)
        assert at.server.routes.find(f"{new.tunnel.subdomain}.localhost") is not None
        assert "closed" not in agent.owner.names()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_link_that_was_taken_over_and_still_finishes_something_is_cut_off_as_well(
    elsewhere: bool, databases: Databases
) -> None:
    async with office(databases) as at:
        made, older = await at.connected()
        visitor = await at.visit()
        visitor.get(host=f"{made.tunnel.subdomain}.localhost".encode())
        request = await older.request()
        begin(request)
        assert (await visitor.head()).status == 200
        newer = await at.agent(made.plain)
        await older.owner.until_heard("goaway")
        await (at.elsewhere if elsewhere else at.accounts).revoke_key(OPERATOR, made.api_key.id)
        since = at.looks
        await at.cut_off(newer)
        assert await visitor.is_cut()
        assert at.looks - since <= LOOKS
        await older.owner.until_heard("closed")
        assert at.server.routes.links_of(f"{made.tunnel.subdomain}.localhost") == []


@pytest.mark.parametrize("how", ["disable", "delete", "delete the tunnel"])
async def test_what_an_administrator_does_to_a_user_is_told_to_their_client(how: str, databases: Databases) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        if how == "disable":
            await at.accounts.set_user_active(at.root, at.alice.id, False)
            assert await at.cut_off(agent) == "its user was disabled"
        elif how == "delete":
            await at.accounts.delete_user(at.root, at.alice.id)
            assert await at.cut_off(agent) == "its user was deleted"
        else:
            await at.accounts.delete_tunnel(at.root, made.tunnel.id)
            assert await at.cut_off(agent) == "the tunnel was deleted"


REVOKED = "by its user or an administrator, or a new key has replaced it"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("rotate", REVOKED),
        ("revoke", REVOKED),
        ("disable", "its tunnel or user was disabled"),
        ("delete", "its tunnel or user was deleted"),
    ],
)
async def test_what_another_process_ends_is_over_within_a_second_as_well(
    how: str, reason: str, databases: Databases
) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        if how == "rotate":
            await at.elsewhere.rotate_key(OPERATOR, made.tunnel.id)
        elif how == "revoke":
            await at.elsewhere.revoke_key(OPERATOR, made.api_key.id)
        elif how == "disable":
            await at.elsewhere.set_user_active(OPERATOR, at.alice.id, False)
        else:
            await at.elsewhere.delete_user(OPERATOR, at.alice.id)
        assert await at.cut_off(agent) == reason


async def test_a_key_that_expires_while_its_client_is_connected_ends_its_link(databases: Databases) -> None:
    async with office(databases) as at:
        _, agent = await at.connected()
        async with Database(at.server.services.database.url) as other, other.session() as session:
            await session.execute(update(ApiKey).values(expires_at=session.now()))
        assert await at.cut_off(agent) == "it has expired"


async def test_a_client_that_came_in_between_is_found_by_the_watch(databases: Databases) -> None:
    """Asked before the key was revoked, connected after it: nobody saw its route when the key ended."""
    async with office(databases) as at:
        made = await at.new_key()
        decide = asyncio.Event()
        keys = at.server.services.keys

        class Slow:
            async def authenticate(self, credentials: Any) -> Any:
                grant = await keys.authenticate(credentials)
                await decide.wait()
                return grant

        at.server._acceptor._authenticator = Slow()
        asking = asyncio.ensure_future(at.agent(made.plain))
        while not keys._used:
            await turns()
        await at.accounts.revoke_key(at.alice, made.api_key.id)
        decide.set()
        agent = await asking
        assert await at.cut_off(agent) == REVOKED


async def test_keys_of_the_configuration_and_other_users_are_left_alone(databases: Databases) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        static = await at.agent("key-of-app")
        bob = await at.accounts.sign_in(replace(BOB, username="bob"))
        tunnel = (await at.accounts.tunnels_of(bob))[0].tunnel
        theirs = await at.agent((await at.accounts.rotate_key(bob, tunnel.id)).plain)
        await at.elsewhere.revoke_key(OPERATOR, made.api_key.id)
        await at.cut_off(agent)
        assert "closed" not in static.owner.names() + theirs.owner.names()


async def test_a_request_through_its_link_is_a_use_of_the_key(databases: Databases) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        await at.server.services.keys.flush()
        visitor = await at.visit()
        visitor.post(b"body", host=f"{made.tunnel.subdomain}.localhost".encode())
        answer(await agent.request(), b"12345678")
        await visitor.response()
        route = at.server.routes.find(f"{made.tunnel.subdomain}.localhost")
        assert route is not None
        assert (route.requests, route.bytes_in, route.bytes_out) == (1, 4, 8)
        watch = at.server._accounts._watch
        await watch.check_keys()
        assert list(at.server.services.keys._used) == [made.api_key.id]
        await at.server.services.keys.flush()
        await watch.check_keys()
        assert at.server.services.keys._used == {}
        async with at.server.services.database.reading() as session:
            stored = await session.get(ApiKey, made.api_key.id)
            assert stored is not None
            assert stored.last_used_at is not None


async def test_a_name_that_exists_is_502_and_any_other_404(databases: Databases) -> None:
    async with office(databases) as at:
        tunnel = (await at.accounts.tunnels_of(at.alice))[0].tunnel
        new = await at.elsewhere.create_tunnel(at.root)
        await at.server._accounts._watch.learn_names()
        visitor = await at.visit()
        for name, status in ((tunnel.subdomain, 502), (new.subdomain, 502), ("nobodys", 404)):
            visitor.get(host=f"{name}.localhost".encode())
            assert (await visitor.response()).status == status


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_name_of_a_tunnel_that_was_deleted_is_404(elsewhere: bool, databases: Databases) -> None:
    async with office(databases) as at:
        made, agent = await at.connected()
        kept = (await at.accounts.tunnels_of(at.root))[0].tunnel
        await (at.elsewhere if elsewhere else at.accounts).delete_tunnel(at.root, made.tunnel.id)
        await at.cut_off(agent)
        await at.server._accounts._watch.review_names()
        visitor = await at.visit()
        for name, status in ((made.tunnel.subdomain, 404), (kept.subdomain, 502)):
            visitor.get(host=f"{name}.localhost".encode())
            assert (await visitor.response()).status == status


async def test_a_name_that_is_committed_after_a_later_one_is_found(postgres: PostgresCluster) -> None:
    async with office(postgres) as at:
        watch, database = at.server._accounts._watch, at.server.services.database
        async with database.session() as early:
            await Tunnels(early).create(at.root.id, "early")
            await at.elsewhere.create_tunnel(at.root)
            await watch.learn_names()
        await watch.learn_names()
        assert not at.server.routes.is_known("early.localhost")
        await watch.review_names()
        assert at.server.routes.is_known("early.localhost")


def test_the_watch_looks_often_enough() -> None:
    assert LOOKS * CHECK_EVERY_S < WITHIN_S
