"""Codes and errors of the link protocol. Used by every module of the package and by both ends of a stream.

The numbers are those of `docs/spec/protocol.md` §4 and §7.
`LocalProtocolError` is our bug, `RemoteProtocolError` theirs.
"""

from enum import IntEnum

from terratunnel.errors import RemoteProtocolError


class ResetCode(IntEnum):
    """Why a stream ended before its time (spec §4)."""

    STOPPED = 0
    CANCELLED = 1
    UPSTREAM_UNREACHABLE = 2
    UPSTREAM_TIMEOUT = 3
    UPSTREAM_BROKEN = 4
    CHECKSUM_MISMATCH = 5
    TOO_LARGE = 6
    REFUSED = 7
    INTERNAL = 8
    STREAM_PROTOCOL_ERROR = 9


class GoAwayCode(IntEnum):
    """Why a link takes no more streams (spec §7)."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 2
    BUDGET_EXCEEDED = 3
    REPLACED = 4
    REVOKED = 5
    DRAINING = 6
    DEAD = 7


def reset_code(number: int) -> ResetCode:
    """Return the code for a number from the wire; an unknown one counts as INTERNAL (spec §9)."""
    return ResetCode(number) if number <= ResetCode.STREAM_PROTOCOL_ERROR else ResetCode.INTERNAL


def goaway_code(number: int) -> GoAwayCode:
    """Return the code for a number from the wire; an unknown one counts as PROTOCOL_ERROR (spec §9)."""
    return GoAwayCode(number) if number <= GoAwayCode.DEAD else GoAwayCode.PROTOCOL_ERROR


class LinkError(RemoteProtocolError):
    """The peer broke the link protocol; the link ends with GOAWAY(`code`) and this sentence as its reason."""

    def __init__(self, code: GoAwayCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
