"""What the fields of one head say together."""

import pytest

from terratunnel.http1.errors import BadMessage
from terratunnel.http1.fields import HOST, X_FORWARDED_FOR, read_block
from terratunnel.http1.sections import Section


def section(*lines: bytes, minor_version: int = 1) -> Section:
    return Section(read_block(b"\r\n".join(lines), 100), minor_version)


def test_fields_are_pairs_in_order() -> None:
    assert section(b"B: 1", b"A: 2", b"B: 3").fields == [(b"B", b"1"), (b"A", b"2"), (b"B", b"3")]


def test_values_of_a_kind_leave_out_empty_ones() -> None:
    made = section(b"X-Forwarded-For: a", b"x-forwarded-for:", b"X-FORWARDED-FOR: b")
    assert made.values(X_FORWARDED_FOR) == [b"a", b"b"]
    assert made.values(HOST) == []


def test_one_good_host_is_required() -> None:
    section(b"Host: a:80").require_host()


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([b"A: b"], "no Host"),
        ([b"Host: a", b"host: a"], "several"),
        ([b"Host: a/b"], "not host"),
        ([b"Host:"], "not host"),
    ],
)
def test_anything_but_one_good_host_is_refused(lines: list[bytes], word: str) -> None:
    made = section(*lines)
    assert made.host == b""
    with pytest.raises(BadMessage, match=word):
        made.require_host()


@pytest.mark.parametrize(
    ("minor_version", "lines", "keep_alive"),
    [
        (1, [], True),
        (1, [b"Connection: close"], False),
        (1, [b"Connection: Keep-Alive, CLOSE"], False),
        (1, [b"Connection: x", b"Connection: close"], False),
        (0, [], False),
        (0, [b"Connection: Keep-Alive"], True),
        (0, [b"Connection: keep-alive", b"Connection: close"], False),
    ],
)
def test_a_connection_lives_on_by_version_and_options(minor_version: int, lines: list[bytes], keep_alive: bool) -> None:
    assert section(*lines, minor_version=minor_version).keep_alive is keep_alive


def test_connection_nominates_what_is_no_option_of_ours() -> None:
    assert section(b"Connection: keep-alive, Foo", b"Connection: upgrade, BAR").nominated == (b"foo", b"bar")
    assert section(b"Connection: foo").nominated == (b"foo",)
    assert section(b"Connection: ,").nominated == ()
    assert section(b"Connection: close").nominated == ()


def test_keep_alive_tells_its_timeout() -> None:
    assert section(b"Keep-Alive: timeout=5").keep_alive_timeout_s == 5
    assert section(b"Keep-Alive: max=5").keep_alive_timeout_s is None


def test_an_expectation_counts_from_http_1_1_on() -> None:
    assert section(b"Expect: 100-Continue").expect_continue
    assert not section(b"Expect: 100-continue", minor_version=0).expect_continue
    assert not section(b"Expect: tea").expect_continue


def test_an_upgrade_is_the_value_that_connection_nominates() -> None:
    assert section(b"Connection: Upgrade", b"Upgrade: WebSocket").upgrade == b"WebSocket"
    assert section(b"Connection: upgrade", b"Upgrade: a/1, b").upgrade == b"a/1, b"
    assert section(b"Connection: upgrade", b"Upgrade: a", b"Content-Length: 0").upgrade == b"a"


@pytest.mark.parametrize(
    "lines",
    [
        [b"Upgrade: websocket"],
        [b"Connection: keep-alive", b"Upgrade: websocket"],
        [b"Connection: upgrade"],
        [b"Connection: upgrade", b"Upgrade:"],
        [b"Connection: upgrade", b"Upgrade: a", b"Upgrade: b"],
        [b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 1"],
        [b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"],
    ],
)
def test_an_upgrade_needs_one_offer_that_is_nominated_and_no_body(lines: list[bytes]) -> None:
    assert section(*lines).upgrade is None


def test_http_1_0_has_no_upgrade() -> None:
    assert section(b"Connection: upgrade", b"Upgrade: websocket", minor_version=0).upgrade is None


@pytest.mark.parametrize("offer", [b"h2c", b"H2C", b"websocket, h2c", b"HTTP/2.0"])
def test_an_upgrade_to_http_2_is_passed_over(offer: bytes) -> None:
    assert section(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + offer).upgrade is None
