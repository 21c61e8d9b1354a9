"""The route table: names to links, removed by identity alone."""

import pytest

from terratunnel.mux.connection import MuxConnection
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server import routes
from terratunnel.server.routes import MAX_SPELLINGS, Route, RouteTable
from terratunnel.testing.links import join_in_memory


def a_route(name: str, connection: MuxConnection | None = None) -> Route:
    return Route(name, f"{name}.example.com", f"https://{name}.example.com", connection or a_link(), 0.0)


def a_link() -> MuxConnection:
    return join_in_memory().server


class Waiting:
    def __init__(self, heard: list[str], name: str) -> None:
        self._heard = heard
        self._name = name

    def capacity_available(self) -> None:
        self._heard.append(f"{self._name} may go")

    def route_lost(self) -> None:
        self._heard.append(f"{self._name} is lost")


async def test_a_route_is_found_by_its_host_name() -> None:
    table = RouteTable("example.com")
    route = a_route("app")
    assert table.add(route) is None
    assert table.find("app.example.com") is route
    assert table.find("app.example.org") is None
    assert table.routes() == [route]


async def test_a_newer_route_takes_the_place_of_the_older_one() -> None:
    table = RouteTable("example.com")
    old, new = a_route("app"), a_route("app")
    table.add(old)
    assert table.add(new) is old
    assert table.find("app.example.com") is new


async def test_the_death_of_an_old_link_never_removes_the_new_route() -> None:
    table = RouteTable("example.com")
    old, new = a_route("app"), a_route("app")
    table.add(old)
    table.add(new)
    assert table.remove(old.connection) is None
    assert table.find("app.example.com") is new
    assert table.remove(new.connection) is new
    assert len(table) == 0


async def test_a_link_is_known_until_it_is_gone_also_when_it_has_lost_its_name() -> None:
    table = RouteTable("example.com")
    old, new, other = a_route("app"), a_route("app"), a_route("other")
    for route in (old, other, new):
        table.add(route)
    assert table.remove(other.connection) is other  # it has said goodbye and finishes something
    assert table.links_of("app.example.com") == [new, old]
    assert set(table.links()) == {new, old, other}
    for route in (old, new, other):
        table.forget(route)
    assert table.links() == table.links_of("app.example.com") == []


async def test_a_link_that_is_gone_with_its_route_is_not_kept() -> None:
    table = RouteTable("example.com")
    route = a_route("app")
    table.add(route)
    route.connection.close_now(GoAwayCode.NORMAL, "")
    assert table.remove(route.connection) is route
    assert table.links() == []


async def test_a_name_that_somebody_has_is_known_before_it_is_online() -> None:
    table = RouteTable("example.com")
    table.learn("app.example.com")
    assert table.is_known("app.example.com")
    assert table.find("app.example.com") is None


async def test_a_name_stays_known_when_its_route_is_gone() -> None:
    table = RouteTable("example.com")
    route = a_route("app")
    assert not table.is_known("app.example.com")
    table.add(route)
    table.remove(route.connection)
    assert table.is_known("app.example.com")
    assert table.find("app.example.com") is None


async def test_a_name_that_is_nobodys_any_more_is_not_known() -> None:
    table = RouteTable("example.com")
    table.learn("app.example.com")
    for _ in range(2):
        table.unlearn("app.example.com")
        assert not table.is_known("app.example.com")


async def test_names_of_accounts_are_told_from_those_that_were_online_only() -> None:
    table = RouteTable("example.com")
    connected = a_route("connected")
    connected.tunnel_id = 7
    table.add(connected)
    table.add(a_route("anonymous"))
    table.learn("reserved.example.com")
    assert table.reserved() == {"connected.example.com", "reserved.example.com"}


async def test_known_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_KNOWN_NAMES", 3)
    table = RouteTable("example.com")
    for name in ("a", "b", "c", "a", "d"):
        table.add(a_route(name))
    known = [name for name in "abcd" if table.is_known(f"{name}.example.com")]
    assert known == ["a", "c", "d"]


async def test_the_servers_own_pages_are_no_agent() -> None:
    table = RouteTable("example.com")
    table.add(Route("", "example.com", "https://example.com", a_link(), 0.0))
    table.add(a_route("app"))
    assert (len(table), table.agents) == (2, 1)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"App.Example.COM:8000", "app.example.com"),
        (b"app.example.com.", "app.example.com"),
        (b"example.com", "example.com"),
        (b"localhost:1", "example.com"),
        (b"127.0.0.1", "example.com"),
        (b"[::1]:80", "example.com"),
        (b"1.example.com", "1.example.com"),
    ],
)
async def test_a_host_field_names_a_route(host: bytes, name: str) -> None:
    table = RouteTable("example.com")
    assert [table.name_of(host), table.name_of(host)] == [name, name]


async def test_remembered_spellings_are_bounded() -> None:
    table = RouteTable("example.com")
    for number in range(MAX_SPELLINGS + 10):
        table.name_of(b"%d.example.com" % number)
    assert len(table._spellings) <= MAX_SPELLINGS


async def test_those_who_wait_go_in_their_order_while_there_are_streams() -> None:
    links = await join_in_memory().opened()
    route = a_route("app", links.server)
    heard: list[str] = []
    for name in ("one", "two"):
        route.waiting.append(Waiting(heard, name))
    route.serve_waiting()
    assert heard == ["one may go", "two may go"]
    assert not route.waiting


async def test_nobody_goes_while_no_stream_is_free() -> None:
    route = a_route("app")  # the agent's settings are not here yet
    heard: list[str] = []
    route.waiting.append(Waiting(heard, "one"))
    route.serve_waiting()
    assert heard == []
    route.refuse_waiting()
    assert heard == ["one is lost"]
    assert "app.example.com" in repr(route)
