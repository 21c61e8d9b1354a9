"""Joined links carry exchanges, in memory and over loopback."""

from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.settings import Settings
from terratunnel.testing.links import connected_transports, join_in_memory, join_over_sockets
from terratunnel.testing.streams import StreamRecorder

GET = [b"GET", b"/", b"Host", b"a"]


async def test_links_in_memory_carry_a_request() -> None:
    links = await join_in_memory().opened()
    links.open(GET)
    await links.agent_owner.until(lambda: bool(links.agent_owner.streams))
    await links.agent_owner.streams[0].until_heard("headers")
    assert links.agent_owner.streams[0].heard == [("headers", GET, "end")]
    links.server.close_now(GoAwayCode.NORMAL, "")


async def test_links_over_sockets_carry_a_request_to_a_handler_of_ones_own() -> None:
    handler = StreamRecorder()
    links = await (await join_over_sockets(lambda stream: handler)).opened()
    links.open(GET)
    await handler.until_heard("headers")
    assert links.agent_owner.streams == []
    links.server.close_now(GoAwayCode.NORMAL, "")
    await links.agent_owner.until_heard("closed")


async def test_each_end_may_have_settings_of_its_own() -> None:
    links = await join_in_memory(settings=Settings(max_streams=5), agent_settings=Settings(max_streams=1)).opened()
    links.open(GET)
    assert not links.server.can_open
    links.server.close_now(GoAwayCode.NORMAL, "")


async def test_transports_are_joined_and_read_nothing_by_themselves() -> None:
    accepted, called = await connected_transports()
    assert accepted.get_extra_info("peername") == called.get_extra_info("sockname")
    assert not accepted.is_reading()
    assert not called.is_reading()
    accepted.abort()
    called.abort()
