"""Live tunnels as the pages and the API show them. Used by both. Rule: the route table is only read here."""

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime

from terratunnel.server.routes import Route, RouteTable


@dataclass(frozen=True)
class LiveTunnel:
    """A tunnel whose client is connected. Bytes are those of bodies: in from visitors, out to them."""

    subdomain: str
    url: str
    connection_id: str
    user_id: int | None
    username: str
    since: datetime
    address: str
    local_endpoint: str
    user_agent: str
    requests: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class LiveTotals:
    """What all live tunnels are together."""

    tunnels: int
    requests: int
    bytes_in: int
    bytes_out: int


class LiveView:
    """Reads the route table."""

    def __init__(self, routes: RouteTable) -> None:
        self._routes = routes

    def of(self, subdomain: str) -> LiveTunnel | None:
        """Return the live tunnel of a name."""
        route = self._routes.find(f"{subdomain}.{self._routes.domain}")
        return None if route is None else _described(route)

    def busiest(self, count: int) -> list[LiveTunnel]:
        """Return the tunnels with the most requests, at most so many."""
        return [_described(route) for route in heapq.nlargest(count, self._agents(), key=lambda route: route.requests)]

    def totals(self) -> LiveTotals:
        """Add all live tunnels up."""
        agents = self._agents()
        return LiveTotals(
            len(agents),
            sum(route.requests for route in agents),
            sum(route.bytes_in for route in agents),
            sum(route.bytes_out for route in agents),
        )

    def _agents(self) -> list[Route]:
        return [route for route in self._routes.routes() if route.name]


def _described(route: Route) -> LiveTunnel:
    return LiveTunnel(
        subdomain=route.name,
        url=route.url,
        connection_id=route.connection_id,
        user_id=route.user_id,
        username=route.username,
        since=datetime.fromtimestamp(route.connected_at, UTC),
        address=route.agent_address,
        local_endpoint=route.local_endpoint,
        user_agent=route.user_agent,
        requests=route.requests,
        bytes_in=route.bytes_in,
        bytes_out=route.bytes_out,
    )
