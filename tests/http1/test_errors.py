"""A refusal names its status and its reason."""

from terratunnel.errors import RemoteProtocolError
from terratunnel.http1.errors import BadMessage, bad_request


def test_a_bad_message_is_the_peers_fault_and_says_what_to_answer() -> None:
    error = BadMessage(431, "The head is longer than 16384 bytes.")
    assert isinstance(error, RemoteProtocolError)
    assert (error.status, error.reason, str(error)) == (431, "The head is longer than 16384 bytes.", error.reason)


def test_a_bad_request_is_answered_with_400() -> None:
    assert bad_request("The request has no Host field.").status == 400
