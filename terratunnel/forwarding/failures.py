"""What a visitor is told when a stream ends early. Used by the edge, which answers, and the forwarder.

The codes are those of the specification, §4; each has one status.
"""

from typing import Final

from terratunnel.protocol.errors import ResetCode

# nginx's number in the log for a visitor who did not wait.
CLIENT_CLOSED_REQUEST: Final = 499

STATUS_OF_RESET: Final[dict[ResetCode, int]] = {
    ResetCode.STOPPED: 502,
    ResetCode.CANCELLED: 502,
    ResetCode.UPSTREAM_UNREACHABLE: 502,
    ResetCode.UPSTREAM_TIMEOUT: 504,
    ResetCode.UPSTREAM_BROKEN: 502,
    ResetCode.CHECKSUM_MISMATCH: 502,
    ResetCode.TOO_LARGE: 413,
    ResetCode.REFUSED: 503,
    ResetCode.INTERNAL: 502,
    ResetCode.STREAM_PROTOCOL_ERROR: 502,
}
