"""Codes from the wire, known and unknown."""

import pytest

from terratunnel.errors import RemoteProtocolError
from terratunnel.protocol.errors import GoAwayCode, LinkError, ResetCode, goaway_code, reset_code


@pytest.mark.parametrize("code", ResetCode)
def test_a_reset_code_is_read(code: ResetCode) -> None:
    assert reset_code(code.value) is code


@pytest.mark.parametrize("code", GoAwayCode)
def test_a_goaway_code_is_read(code: GoAwayCode) -> None:
    assert goaway_code(code.value) is code


@pytest.mark.parametrize("number", [len(ResetCode), 2**32 - 1])
def test_an_unknown_code_counts_as_a_fault(number: int) -> None:
    assert reset_code(number) is ResetCode.INTERNAL
    assert goaway_code(number) is GoAwayCode.PROTOCOL_ERROR


def test_a_link_error_is_the_peers_fault_and_says_why() -> None:
    error = LinkError(GoAwayCode.FLOW_CONTROL_ERROR, "too much")
    assert isinstance(error, RemoteProtocolError)
    assert (error.code, error.reason, str(error)) == (GoAwayCode.FLOW_CONTROL_ERROR, "too much", "too much")
