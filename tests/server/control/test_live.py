"""Live tunnels as pages show them."""

from datetime import UTC, datetime

from terratunnel.server.control.live import LiveTotals, LiveView
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import pages


async def test_a_live_tunnel_is_described_by_its_route(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        lab.connect(
            "happy-panda",
            connection_id="c",
            connected_at=1_750_000_000.0,
            agent_address="203.0.113.7",
            local_endpoint="http://localhost:3000",
            user_agent="terratunnel",
            username="ann",
            user_id=1,
            requests=3,
            bytes_in=4,
            bytes_out=5,
        )
        live = LiveView(lab.services.routes).of("happy-panda")
    assert live is not None
    assert (live.url, live.username, live.user_id) == ("http://happy-panda.localhost:8000", "ann", 1)
    assert (live.address, live.local_endpoint, live.user_agent) == (
        "203.0.113.7",
        "http://localhost:3000",
        "terratunnel",
    )
    assert live.since == datetime.fromtimestamp(1_750_000_000, UTC)
    assert (live.requests, live.bytes_in, live.bytes_out) == (3, 4, 5)


async def test_the_busiest_come_first_and_all_are_added_up(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        lab.connect("", requests=99)  # the server's own pages are no tunnel
        for name, requests in (("a", 1), ("b", 3), ("c", 2)):
            lab.connect(name, requests=requests, bytes_in=10, bytes_out=100)
        view = LiveView(lab.services.routes)
        assert [tunnel.subdomain for tunnel in view.busiest(2)] == ["b", "c"]
        assert view.totals() == LiveTotals(tunnels=3, requests=6, bytes_in=30, bytes_out=300)
        assert view.of("nobody") is None
