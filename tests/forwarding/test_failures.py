"""Every way a stream can end early has a status for the visitor."""

from http import HTTPStatus

from terratunnel.forwarding.failures import STATUS_OF_RESET
from terratunnel.protocol.errors import ResetCode


def test_every_code_has_a_status_of_http() -> None:
    assert set(STATUS_OF_RESET) == set(ResetCode)
    assert all(status >= HTTPStatus.BAD_REQUEST for status in STATUS_OF_RESET.values())


def test_a_slow_service_is_told_apart_from_a_broken_one() -> None:
    assert STATUS_OF_RESET[ResetCode.UPSTREAM_TIMEOUT] == HTTPStatus.GATEWAY_TIMEOUT
    assert STATUS_OF_RESET[ResetCode.UPSTREAM_BROKEN] == HTTPStatus.BAD_GATEWAY
