"""The route table: which link serves which host name. Used by the edge for every request and by the acceptor.

A dict in memory, the seam for a cluster. A link removes only its own route: identity, not name, decides.
"""

from collections import OrderedDict, deque
from typing import Final, Protocol

from terratunnel.http1.hosts import hostname
from terratunnel.mux.connection import MuxConnection

# Names that somebody has, or that were online lately, answer 502 rather than 404; the oldest are forgotten.
MAX_KNOWN_NAMES: Final = 100_000
# Spellings of Host seen lately, so that the common request costs one look-up.
MAX_SPELLINGS: Final = 4_096


class Waiter(Protocol):
    """An exchange that waits for a free stream."""

    def capacity_available(self) -> None:
        """Take a stream now, unless the exchange is over."""

    def route_lost(self) -> None:
        """There will be no stream."""


class Route:
    """One live way from a host name to an agent."""

    __slots__ = (
        "agent_address",
        "bytes_in",
        "bytes_out",
        "connected_at",
        "connection",
        "connection_id",
        "hostname",
        "is_own",
        "key_id",
        "local_endpoint",
        "name",
        "requests",
        "since",
        "tunnel_id",
        "url",
        "user_agent",
        "user_id",
        "username",
        "waiting",
    )

    def __init__(self, name: str, host: str, url: str, connection: MuxConnection, since: float) -> None:
        self.name: str = name  # empty for the server's own pages
        self.is_own: bool = not name
        self.hostname: str = host
        self.url: str = url
        self.connection: MuxConnection = connection
        self.since: float = since
        self.local_endpoint: str = ""
        self.agent_address: str = ""
        self.user_agent: str = ""
        self.connection_id: str = ""
        self.connected_at: float = 0.0  # seconds since 1970, for people
        self.tunnel_id: int | None = None  # these are of an account, if one vouches for the agent
        self.user_id: int | None = None
        self.key_id: int | None = None
        self.username: str = ""
        self.requests: int = 0
        self.bytes_in: int = 0  # of bodies, from visitors
        self.bytes_out: int = 0  # of bodies, to visitors
        self.waiting: deque[Waiter] = deque()

    def __repr__(self) -> str:
        return f"<Route {self.hostname} {self.connection!r}>"

    def serve_waiting(self) -> None:
        """Give freed streams to those who wait, first come first served."""
        while self.waiting and self.connection.can_open:
            self.waiting.popleft().capacity_available()

    def refuse_waiting(self) -> None:
        """The link takes no more streams: tell those who wait."""
        while self.waiting:
            self.waiting.popleft().route_lost()


class RouteTable:
    """Host name → route. `domain` is the server's own name, whose route leads to its pages."""

    def __init__(self, domain: str) -> None:
        self.domain: str = domain
        self._routes: dict[str, Route] = {}
        self._leaving: set[Route] = set()
        self._known: OrderedDict[str, bool] = OrderedDict()  # whether it is an account's
        self._spellings: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._routes)

    @property
    def agents(self) -> int:
        """How many agents are connected; the server's own pages do not count."""
        return len(self._routes) - (self.domain in self._routes)

    def routes(self) -> list[Route]:
        """Return every live route."""
        return list(self._routes.values())

    def links(self) -> list[Route]:
        """Return what has a link: live routes, and those that another took over or that finish what is under way."""
        return [*self._routes.values(), *self._leaving]

    def links_of(self, name: str) -> list[Route]:
        """Return what has a link for a host name; the live route is first."""
        live = self._routes.get(name)
        return [*([live] if live is not None else []), *(route for route in self._leaving if route.hostname == name)]

    def name_of(self, host: bytes) -> str:
        """Return the host name in a Host field that was checked: lower case, no port.

        An address, or `localhost`, names the server itself: health checks and a client on the same machine use those.
        """
        name = self._spellings.get(host)
        if name is None:
            name = hostname(host)
            if name == "localhost" or name.startswith("[") or name.replace(".", "").isdigit():
                name = self.domain
            if len(self._spellings) >= MAX_SPELLINGS:
                self._spellings.clear()
            self._spellings[host] = name
        return name

    def find(self, name: str) -> Route | None:
        """Return the live route for a host name."""
        return self._routes.get(name)

    def is_known(self, name: str) -> bool:
        """Whether a host name is somebody's, or was online before."""
        return name in self._known

    def add(self, route: Route) -> Route | None:
        """Put a route in its place; returns the one that was there, whose connection the caller closes."""
        before = self._routes.get(route.hostname)
        self._routes[route.hostname] = route
        if before is not None:
            self._leaving.add(before)
        self.learn(route.hostname, reserved=route.tunnel_id is not None)
        return before

    def reserved(self) -> set[str]:
        """Return the known host names that are accounts', connected or not."""
        return {name for name, reserved in self._known.items() if reserved}

    def learn(self, name: str, reserved: bool = True) -> None:
        """Note that a host name is somebody's: reserved for an account, or used by whoever is connected."""
        self._known[name] = reserved
        self._known.move_to_end(name)
        if len(self._known) > MAX_KNOWN_NAMES:
            self._known.popitem(last=False)

    def unlearn(self, name: str) -> None:
        """Note that a host name is nobody's any more."""
        self._known.pop(name, None)

    def remove(self, connection: MuxConnection) -> Route | None:
        """Remove the route of this very connection; a newer one of the same name stays."""
        for name, route in self._routes.items():
            if route.connection is connection:
                del self._routes[name]
                if not connection.closed:
                    self._leaving.add(route)
                return route
        return None

    def forget(self, route: Route) -> None:
        """Its link is gone."""
        self.remove(route.connection)
        self._leaving.discard(route)
