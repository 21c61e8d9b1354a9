"""What asyncio does not offer of a TCP socket: its state, its farewell, its queue. Used by links, edge, upstreams.

Rule: a transport without a TCP socket, or whose peer was faster, is left alone; nothing here raises.
"""

import socket
import sys
from struct import pack
from typing import Final, Protocol, cast

from terratunnel.mux.link import NOTSENT_LOWAT_BYTES

# States in TCP_INFO (Linux, include/net/tcp_states.h).
TCP_ESTABLISHED: Final = 1
TCP_CLOSE: Final = 7
TCP_CLOSE_WAIT: Final = 8
UNKNOWN_STATE: Final = 0
_LINGER_FOR_NO_TIME: Final = pack("ii", 1, 0)


class Transport(Protocol):
    """What is used of an asyncio transport."""

    def is_closing(self) -> bool: ...
    def get_extra_info(self, name: str, default: object = None) -> object: ...


def tcp_state(transport: Transport) -> int:
    """Return the kernel's state of the connection; UNKNOWN_STATE where it is not TCP, or not Linux.

    It tells of a peer that has closed before the loop does: while nothing is read, or in the turn that wakes a process.
    """
    sock = _tcp_socket(transport)
    if sock is None or sys.platform != "linux":
        return UNKNOWN_STATE
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def reset_on_close(transport: Transport) -> None:
    """Let the close of the connection be a RST, which nobody takes for a clean end."""
    _set_option(transport, socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_FOR_NO_TIME)


def keep_alive(transport: Transport) -> None:
    """Let the kernel find out whether the peer of a connection that may idle for days is still there."""
    _set_option(transport, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def keep_kernel_queue_short(transport: Transport) -> None:
    """Let the kernel hold little that is not yet sent, so that small exchanges can overtake bulk (Linux)."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        _set_option(transport, socket.IPPROTO_TCP, option, NOTSENT_LOWAT_BYTES)


def _tcp_socket(transport: Transport) -> socket.socket | None:
    sock = cast("socket.socket | None", transport.get_extra_info("socket"))
    if sock is None or transport.is_closing() or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return sock


def _set_option(transport: Transport, level: int, option: int, value: int | bytes) -> None:
    sock = _tcp_socket(transport)
    if sock is None:
        return
    try:
        sock.setsockopt(level, option, value)
    except OSError:  # the peer was faster
        pass
