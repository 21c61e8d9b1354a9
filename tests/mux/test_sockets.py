"""What is asked of a TCP socket behind a transport, on real sockets; and that every other transport is left alone."""

import asyncio
import socket
import struct
import sys
from typing import cast

import pytest

from terratunnel.mux.link import NOTSENT_LOWAT_BYTES
from terratunnel.mux.sockets import (
    TCP_CLOSE_WAIT,
    TCP_ESTABLISHED,
    UNKNOWN_STATE,
    Transport,
    keep_alive,
    keep_kernel_queue_short,
    reset_on_close,
    tcp_state,
)
from terratunnel.testing.clock import settled
from terratunnel.testing.links import connected_transports


def option(transport: asyncio.BaseTransport, level: int, name: int) -> int:
    sock: socket.socket = transport.get_extra_info("socket")
    return sock.getsockopt(level, name)


async def test_the_state_tells_that_the_other_side_has_closed() -> None:
    ours, theirs = await connected_transports()
    ours.pause_reading()
    known = sys.platform == "linux"
    assert tcp_state(ours) == (TCP_ESTABLISHED if known else UNKNOWN_STATE)
    theirs.close()
    await settled()
    assert tcp_state(ours) == (TCP_CLOSE_WAIT if known else UNKNOWN_STATE)
    ours.abort()


async def test_a_reset_at_the_close_is_none_of_a_clean_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, *listening.getsockname()[:2]
        )
        other, _ = listening.accept()
    with other:
        reset_on_close(transport)
        transport.abort()
        await settled()
        other.settimeout(10)
        with pytest.raises(ConnectionResetError):
            other.recv(1)


async def test_the_kernel_looks_after_a_connection_that_may_idle_for_days() -> None:
    ours, theirs = await connected_transports()
    keep_alive(ours)
    assert option(ours, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    ours.abort()
    theirs.abort()


@pytest.mark.parametrize("known", [True, False])
async def test_the_kernel_is_told_to_hold_little_where_it_can_be_told(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await connected_transports()
    lowat = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if not known:
        monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    keep_kernel_queue_short(ours)
    if lowat is not None:
        assert (option(ours, socket.IPPROTO_TCP, lowat) == NOTSENT_LOWAT_BYTES) is known
    ours.abort()
    theirs.abort()


async def test_a_socket_that_is_not_tcp_is_left_alone() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=ours)
    before = option(transport, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for change in (keep_alive, keep_kernel_queue_short, reset_on_close):
        change(transport)
    assert option(transport, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == before
    assert tcp_state(transport) == UNKNOWN_STATE
    transport.abort()
    theirs.close()


async def test_a_transport_that_is_closing_is_left_alone() -> None:
    ours, theirs = await connected_transports()
    ours.abort()
    reset_on_close(ours)
    assert tcp_state(ours) == UNKNOWN_STATE
    theirs.abort()


class Gone:
    """A transport over a socket that refuses every option, as one does whose peer was faster on some systems."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._sock


def test_a_socket_that_refuses_is_no_error() -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(OSError, match="descriptor"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset_on_close(cast(Transport, Gone(sock)))
