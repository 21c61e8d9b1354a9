"""The WebSocket link over real sockets, with the frames of the `websockets` package at its other end."""

import asyncio
import socket
from typing import cast

import pytest

from terratunnel.mux.websocket import (
    CLOSE_TIMEOUT_S,
    MAX_CLOSE_WAITS,
    WebSocketLink,
)
from terratunnel.testing.clock import Clock, clocked, settled
from terratunnel.testing.streams import ReceiverRecorder
from tests.mux.rawpeer import RawPeer, linked

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


async def started(client: bool = False) -> tuple[WebSocketLink, ReceiverRecorder, RawPeer]:
    link, receiver, peer = await linked(client)
    link.start(receiver, b"")
    return link, receiver, peer


@pytest.mark.parametrize("client", [True, False])
async def test_messages_go_both_ways_whole(client: bool) -> None:
    link, receiver, peer = await started(client)
    link.send_message([b"a", memoryview(b"bc"), b""])
    link.send_message([b"x" * 100_000])
    assert await peer.frame() == (BINARY, b"abc")
    assert await peer.frame() == (BINARY, b"x" * 100_000)
    peer.send(BINARY, b"hello")
    peer.send(BINARY, b"y" * 300_000)
    await receiver.until(lambda: len(receiver.messages) == 2)
    assert receiver.messages == [b"hello", b"y" * 300_000]
    link.abort()


async def test_bytes_behind_the_handshake_are_read_first() -> None:
    link, receiver, peer = await linked()
    peer.send(BINARY, b"second")
    frame = bytes([0x82, 0x85]) + b"\0\0\0\0" + b"first"
    link.start(receiver, frame)
    await receiver.until(lambda: len(receiver.messages) == 2)
    assert receiver.messages == [b"first", b"second"]
    link.abort()


async def test_a_ping_is_answered_with_its_bytes() -> None:
    link, receiver, peer = await started()
    peer.send(PING, b"are you there")
    assert await peer.frame() == (PONG, b"are you there")
    peer.send(PONG, b"nobody asked")
    peer.send(BINARY, b"next")
    await receiver.until_heard("message")
    assert receiver.names() == ["message"]
    link.abort()


async def test_of_many_pings_at_once_the_last_is_answered() -> None:
    link, receiver, peer = await linked()
    for n in range(1000):
        peer.send(PING, b"%d" % n)
    await settled()
    link.start(receiver, b"")
    payloads = [(await peer.frame())[1]]
    while payloads[-1] != b"999":
        payloads.append((await peer.frame())[1])
    assert len(payloads) < 100
    link.abort()


async def test_a_peer_that_pings_and_does_not_read_costs_no_memory() -> None:
    link, receiver, peer = await started()
    while "pause" not in receiver.names():
        link.send_message([b"x" * 100_000])
    before = buffered(link)
    for _ in range(100):
        peer.send(PING, b"p" * 125)
        await settled()
    assert buffered(link) <= before
    frames = []
    while (frame := await peer.frame())[0] == BINARY:
        frames.append(frame)
    assert frame == (PONG, b"p" * 125)
    assert "resume" in receiver.names()
    link.abort()


async def test_a_full_link_says_so_and_says_when_it_has_drained() -> None:
    link, receiver, peer = await started()
    sent = 0
    while "pause" not in receiver.names():
        link.send_message([b"x" * 65_536])
        sent += 1
    for _ in range(sent):
        await peer.frame()
    await receiver.until_heard("resume")
    assert receiver.names() == ["pause", "resume"]
    link.abort()


async def test_close_says_why_and_waits_for_the_answer() -> None:
    link, receiver, peer = await started()
    link.send_message([b"last"])
    link.close(1000, "done")
    link.send_message([b"never"])
    link.close(1002, "again")
    assert await peer.frame() == (BINARY, b"last")
    assert await peer.frame() == (CLOSE, b"\x03\xe8done")
    peer.send(BINARY, b"still on its way")
    peer.send(CLOSE, b"\x03\xe8")
    await receiver.until_heard("lost")
    assert receiver.heard == [("message", b"still on its way"), ("lost", "the peer closed the link")]
    assert await peer.ended()


async def test_a_long_reason_is_cut_at_a_character() -> None:
    link, _, peer = await started()
    link.close(1000, "é" * 100)
    assert await peer.frame() == (CLOSE, b"\x03\xe8" + ("é" * 60).encode())
    link.abort()


async def test_a_close_of_the_peer_is_answered_and_its_reason_kept() -> None:
    _, receiver, peer = await started()
    peer.send(CLOSE, b"\x03\xe9going away")
    assert await peer.frame() == (CLOSE, b"\x03\xe8")
    await receiver.until_heard("lost")
    assert receiver.heard == [("lost", "going away")]
    assert await peer.ended()


async def test_nothing_follows_a_close_of_the_peer() -> None:
    _, receiver, peer = await started()
    peer.send(CLOSE, b"")
    peer.send(BINARY, b"too late")
    peer.send(PING, b"too late")
    assert await peer.frame() == (CLOSE, b"\x03\xe8")
    assert await peer.ended()
    assert receiver.heard == [("lost", "the peer closed the link")]


async def test_a_broken_rule_ends_the_link_after_what_came_before_it() -> None:
    _, receiver, peer = await started()
    peer.send(BINARY, b"good")
    peer.send(1, b"text")
    peer.send(BINARY, b"bad")
    assert await peer.frame() == (CLOSE, b"\x03\xeba link carries binary messages only")
    await receiver.until_heard("lost")
    peer.send(BINARY, b"worse")
    peer.writer.close()
    await settled()
    assert receiver.heard == [("message", b"good"), ("lost", "a link carries binary messages only")]


async def test_the_end_of_the_connection_is_the_end_of_the_link() -> None:
    _, receiver, peer = await started()
    peer.writer.close()
    await receiver.until_heard("lost")
    assert receiver.heard == [("lost", "the connection was closed")]


async def test_abort_drops_the_connection() -> None:
    link, receiver, peer = await started()
    link.abort()
    await receiver.until_heard("lost")
    link.send_message([b"x"])
    link.close(1000, "")
    assert await peer.ended()
    assert receiver.names() == ["lost"]


async def test_a_receiver_that_comes_late_still_hears_that_the_link_is_gone() -> None:
    link, receiver, peer = await linked()
    link.abort()
    await settled()
    link.start(receiver, b"")
    assert receiver.heard == []
    await receiver.until_heard("lost")
    assert receiver.heard == [("lost", "the connection was closed")]
    assert await peer.ended()


async def test_a_link_without_a_receiver_reads_and_loses_in_silence() -> None:
    link, _, peer = await linked()
    link.data_received(bytes([0x82, 0x81]) + b"\0\0\0\0x")
    link.pause_writing()
    link.resume_writing()
    link.connection_lost(ConnectionResetError("gone"))
    link.abort()
    assert await peer.ended()


async def test_a_lost_connection_names_its_error() -> None:
    link, receiver, peer = await started()
    link.connection_lost(ConnectionResetError("reset by peer"))
    assert receiver.heard == [("lost", "reset by peer")]
    link.abort()
    assert await peer.ended()


async def test_bytes_that_end_the_link_in_its_start_do_not_wake_it() -> None:
    link, receiver, peer = await linked()
    link.start(receiver, bytes([0x88, 0x80]) + b"\0\0\0\0")
    assert receiver.names() == ["lost"]
    assert await peer.frame() == (CLOSE, b"\x03\xe8")
    assert await peer.ended()


@clocked
async def test_a_peer_that_does_not_answer_a_close_is_dropped(clock: Clock) -> None:
    link, receiver, peer = await started()
    link.close(1000, "bye")
    assert await peer.frame() == (CLOSE, b"\x03\xe8bye")
    await clock.advance(CLOSE_TIMEOUT_S - 0.1)
    assert receiver.heard == []
    await clock.advance(0.2)
    assert receiver.names() == ["lost"]
    assert await peer.ended()


@clocked
async def test_a_close_does_not_cost_a_slow_peer_what_was_queued_before_it(clock: Clock) -> None:
    link, _, peer = await started()
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sent = 0
    while buffered(link) < 500_000:
        link.send_message([b"x" * 50_000])
        sent += 1
        await settled()
    link.close(1000, "bye")
    taken = 0
    while (await peer.frame())[0] == BINARY:
        taken += 1
        await clock.advance(0.75)
    assert taken == sent
    link.abort()


@clocked
async def test_a_peer_that_speaks_has_more_time_to_answer_a_close_but_not_for_ever(clock: Clock) -> None:
    link, receiver, peer = await started()
    link.close(1000, "bye")
    for _ in range(MAX_CLOSE_WAITS - 1):
        peer.send(BINARY, b"credit")
        await settled()
        await clock.advance(CLOSE_TIMEOUT_S)
        assert "lost" not in receiver.names()
    peer.send(BINARY, b"credit")
    await settled()
    await clock.advance(CLOSE_TIMEOUT_S)
    assert receiver.names()[-1] == "lost"


def buffered(link: WebSocketLink) -> int:
    return cast(asyncio.WriteTransport, link._transport).get_write_buffer_size()
