"""Live tunnels, the keys they came with, and the names that exist. Used by `app`, and by whatever ends a key.

Rule (security.md A4): a link outlives its key by less than a second, whoever ended the key and in which process.
"""

from typing import Final

from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.auth.keys import KeyAuthenticator
from terratunnel.server.background import Periodic
from terratunnel.server.routes import Route, RouteTable
from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.engine import Database, Session
from terratunnel.server.storage.tunnels import Tunnels

CHECK_EVERY_S: Final = 0.4
LEARN_EVERY_S: Final = 2.0
REVIEW_EVERY_S: Final = 10.0  # of all names, in batches between which everything else goes on
BATCH: Final = 500


class LiveLinks:
    """Ends the links of tunnels."""

    def __init__(self, routes: RouteTable) -> None:
        self._routes = routes

    def end(self, subdomain: str, key_id: int | None, reason: str) -> None:
        """Close the link of a name now: the one that came with a key, or with whatever key (None)."""
        for route in self._routes.links_of(f"{subdomain}.{self._routes.domain}"):
            if route.key_id is not None and key_id in (None, route.key_id):
                end_route(route, reason)


def end_route(route: Route, reason: str) -> None:
    """Tell a client why, and cut its link with what is under way."""
    route.connection.close_now(GoAwayCode.REVOKED, reason)


class LiveWatch:
    """Looks after what other processes change: keys of live links, and names. `start`, then `close`."""

    def __init__(self, routes: RouteTable, database: Database, keys: KeyAuthenticator) -> None:
        self._routes = routes
        self._database = database
        self._keys = keys
        self._last_tunnel_id = 0
        self._requests: dict[str, int] = {}  # by connection, at the last look
        self._key_watch = Periodic("key_watch", CHECK_EVERY_S, self.check_keys)
        self._name_watch = Periodic("name_watch", LEARN_EVERY_S, self.learn_names)
        self._name_review = Periodic("name_review", REVIEW_EVERY_S, self.review_names)

    def start(self) -> None:
        """Begin to watch."""
        self._key_watch.start()
        self._name_watch.start()
        self._name_review.start()

    async def close(self) -> None:
        """Stop watching."""
        await self._key_watch.close()
        await self._name_watch.close()
        await self._name_review.close()

    async def check_keys(self) -> None:
        """End the links whose keys have ended. Raises StorageUnavailable; then every link lives on."""
        live = [(route.key_id, route) for route in self._routes.links() if route.key_id is not None]
        self._note_used(live)
        ids = sorted({key_id for key_id, _ in live})
        for start in range(0, len(ids), BATCH):
            ended = await self._ended(ids[start : start + BATCH])
            for key_id, route in live if ended else []:
                if key_id in ended:
                    end_route(route, ended[key_id])

    async def learn_names(self) -> None:
        """Learn the names of new tunnels: they are answered 502 while nobody is connected, not 404."""
        await self._read_names(self._last_tunnel_id)

    async def review_names(self) -> None:
        """Read all names: one that is gone is 404 from now on, and one that was committed late is found."""
        before = self._routes.reserved()
        for name in before - await self._read_names(0):
            self._routes.unlearn(name)

    async def _read_names(self, after: int) -> set[str]:
        names = set[str]()
        while True:
            async with self._database.reading() as session:
                found = await Tunnels(session).names_after(after, BATCH)
            for _, subdomain in found:
                name = f"{subdomain}.{self._routes.domain}"
                self._routes.learn(name)
                names.add(name)
            after = found[-1][0] if found else after
            self._last_tunnel_id = max(self._last_tunnel_id, after)
            if len(found) < BATCH:
                return names

    async def _ended(self, key_ids: list[int]) -> dict[int, str]:
        async with self._database.reading() as session:
            usable = await ApiKeys(session).usable(key_ids)
            return {key_id: await _reason(session, key_id) for key_id in key_ids if key_id not in usable}

    def _note_used(self, live: list[tuple[int, Route]]) -> None:
        """A key is used as long as requests come through its link."""
        for key_id, route in live:
            if self._requests.get(route.connection_id, 0) != route.requests:
                self._keys.used(key_id)
        self._requests = {route.connection_id: route.requests for _, route in live}


async def _reason(session: Session, key_id: int) -> str:
    """Return why a key that was good is so no more."""
    key = await ApiKeys(session).get(key_id)
    if key is None:
        return "its tunnel or user was deleted"
    if not key.is_active:
        return "by its user or an administrator, or a new key has replaced it"
    if key.expires_at is not None and key.expires_at <= session.now():
        return "it has expired"
    return "its tunnel or user was disabled"
