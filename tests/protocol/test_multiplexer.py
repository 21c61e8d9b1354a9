"""The multiplexer, both ends of it: exchanges, credit, checked bodies, endings, liveness, broken peers."""

from terratunnel.protocol.errors import ResetCode
from tests.protocol.pair import REQUEST, RESPONSE, Pair


def test_an_exchange_without_bodies_is_two_heads() -> None:
    pair = Pair()
    stream = pair.server.open_stream(pair.now)
    pair.server.send_headers(stream, REQUEST, end=True)
    pair.run()
    assert pair.events("agent") == [("headers", 1, REQUEST, "opened", "end")]
    pair.agent.send_headers(pair.streams[1], RESPONSE, end=True)
    pair.run()
    assert pair.events("server") == [("headers", 1, RESPONSE, "end")]
    assert pair.server.open_streams == pair.agent.open_streams == 0


def test_a_body_travels_with_its_end_on_the_last_data() -> None:
    pair = Pair()
    mine, _ = pair.exchange()
    pair.server.send_data(mine, b"hello, ")
    pair.server.send_data(mine, b"world", end=True)
    pair.run()
    assert pair.events("agent") == [("data", 1, b"hello, world", "end")]


def test_a_checked_body_arrives_behind_its_checksum() -> None:
    pair = Pair()
    _, theirs = pair.exchange(checked=True)
    pair.agent.send_data(theirs, b"hello")
    pair.run()
    assert pair.events("server") == [("data", 1, b"hello")]
    pair.agent.send_end(theirs, [b"Trailer", b"x"])
    pair.run()
    assert pair.events("server") == [("end", 1, [b"Trailer", b"x"])]


def test_a_reset_ends_both_directions() -> None:
    pair = Pair()
    mine, _ = pair.exchange()
    pair.server.reset_stream(mine, ResetCode.CANCELLED, "the visitor left")
    pair.run()
    assert pair.events("agent") == [("reset", 1, ResetCode.CANCELLED, "the visitor left")]
    assert pair.server.open_streams == pair.agent.open_streams == 0
