"""The one error a peer's HTTP can cause. Raised by every module here, answered by the edge and the forwarder.
Rule: each carries the status a visitor is told and one sentence that says what is wrong."""

from terratunnel.errors import RemoteProtocolError


class BadMessage(RemoteProtocolError):
    """A message that breaks HTTP/1.1 or our limits. For a response the status is the caller's to choose: 502."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def bad_request(reason: str) -> BadMessage:
    return BadMessage(400, reason)
