"""First lines of requests and responses, and what a head says beside its fields."""

import pytest

from terratunnel.http1.errors import BadMessage
from terratunnel.http1.heads import check_method, check_target, minor_version_of, read_status_line
from tests.http1.transcript import request_head, response_head


def test_a_request_head_tells_what_the_edge_asks() -> None:
    head = request_head(b"PUT /a HTTP/1.0\r\nHost: A:1\r\nConnection: foo\r\nContent-Length: 3\r\n\r\n")
    assert (head.method, head.target, head.minor_version, head.host) == (b"PUT", b"/a", 0, b"A:1")
    assert (head.content_length, head.chunked, head.has_body, head.keep_alive) == (3, False, True, False)
    assert (head.upgrade, head.expect_continue, head.section.nominated) == (None, False, (b"foo",))
    assert head.fields == [(b"Host", b"A:1"), (b"Connection", b"foo"), (b"Content-Length", b"3")]
    assert repr(head) == "<RequestHead b'PUT' b'/a' HTTP/1.0>"


def test_a_response_head_tells_what_the_forwarder_asks() -> None:
    head = response_head(
        b"HTTP/1.1 299 \xe9 x\r\nKeep-Alive: timeout=5\r\nConnection: foo\r\nContent-Length: 3\r\n\r\n"
    )
    assert (head.status, head.code, head.reason, head.minor_version) == (299, b"299", b"\xe9 x", 1)
    assert (head.content_length, head.chunked, head.until_close, head.has_body) == (3, False, False, True)
    assert (head.keep_alive, head.keep_alive_timeout_s, head.section.nominated) == (True, 5, (b"foo",))
    assert head.fields[0] == (b"Keep-Alive", b"timeout=5")
    assert repr(head) == "<ResponseHead 299 HTTP/1.1>"


@pytest.mark.parametrize(
    ("status", "method", "field", "has_body", "until_close"),
    [
        (b"200", b"GET", b"A: b", True, True),
        (b"200", b"GET", b"Content-Length: 0", False, False),
        (b"200", b"GET", b"Content-Length: 1", True, False),
        (b"200", b"GET", b"Transfer-Encoding: chunked", True, False),
        (b"200", b"HEAD", b"Content-Length: 1", False, False),
        (b"200", b"HEAD", b"A: b", False, False),
        (b"200", b"HEAD", b"Transfer-Encoding: chunked", False, False),
        (b"204", b"GET", b"Content-Length: 1", False, False),
        (b"304", b"GET", b"Content-Length: 1", False, False),
        (b"304", b"GET", b"Transfer-Encoding: chunked", False, False),
        (b"103", b"GET", b"Content-Length: 1", False, False),
        (b"999", b"GET", b"A: b", True, True),
    ],
)
def test_status_and_method_decide_whether_a_body_follows(
    status: bytes, method: bytes, field: bytes, has_body: bool, until_close: bool
) -> None:
    head = response_head(b"HTTP/1.1 %b x\r\n%b\r\n\r\n" % (status, field), method)
    assert (head.has_body, head.until_close) == (has_body, until_close)
    assert head.keep_alive is not until_close


def test_a_response_without_reason_is_taken() -> None:
    assert read_status_line(b"HTTP/1.1 200").reason == b""
    assert read_status_line(b"HTTP/1.1 200 ").reason == b""


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 99 x", b"HTTP/1.1 099 x", b"HTTP/1.1 2000 x", b"HTTP/1.1 2x0 x", b"HTTP/1.1  200 x", b"HTTP/1.1",
     b"HTTP/1.1 -12 x", b"HTTP/1.1 200\tx", b"ICY 200 OK", b"", b"HTTP/1.1 200 a\x00b", b"HTTP/1.1 200 a\rb"],
)  # fmt: skip
def test_a_malformed_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        read_status_line(line)


def test_two_versions_are_spoken() -> None:
    assert (minor_version_of(b"HTTP/1.0"), minor_version_of(b"HTTP/1.1")) == (0, 1)


@pytest.mark.parametrize(
    ("version", "status"),
    [(b"HTTP/2.0", 505), (b"HTTP/1.2", 505), (b"HTTP/0.9", 505), (b"http/1.1", 400), (b"HTTP/1.10", 400),
     (b"HTTP/1", 400), (b"HTTP/1.x", 400), (b"HTTP/11.", 400), (b"HTTP", 400), (b"", 400), (b"x HTTP/1.1", 400),
     (b"HTTP/1.1\r", 400)],
)  # fmt: skip
def test_another_version_is_505_and_no_version_400(version: bytes, status: int) -> None:
    with pytest.raises(BadMessage) as refused:
        minor_version_of(version)
    assert refused.value.status == status


@pytest.mark.parametrize("method", [b"GET", b"get", b"BREW", b"M-SEARCH", b"!#$%&'*+-.^_`|~"])
def test_methods_nobody_has_heard_of_are_taken(method: bytes) -> None:
    check_method(method)


@pytest.mark.parametrize(("method", "status"), [(b"", 400), (b"G@T", 400), (b"G\xc9T", 400), (b"CONNECT", 501)])
def test_what_is_no_method_or_asks_for_a_proxy_is_refused(method: bytes, status: int) -> None:
    with pytest.raises(BadMessage) as refused:
        check_method(method)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "target",
    [b"/", b"/p%2Fq", b"//a//b", b"/?flag", b"/?a=1+2&a=%20", b"/?", b"/\xff\x80", b'/"<>\\^`{|}', b"/a/../b",
     b"http://a.b:80/x", b"HTTP://A.B:80", b"https://a.b:80?q", b"http://a.b:80/x?http://c/"],
)  # fmt: skip
def test_origin_and_absolute_targets_are_taken_as_they_are(target: bytes) -> None:
    check_target(b"GET", target, b"A.b:80")


def test_an_asterisk_is_for_options() -> None:
    check_target(b"OPTIONS", b"*", b"a")
    with pytest.raises(BadMessage):
        check_target(b"GET", b"*", b"a")


@pytest.mark.parametrize(
    "target",
    [b"", b"x", b"a.b:80", b"?q", b"ftp://a.b:80/", b"http:/a.b:80/", b"http://a.b/", b"http://a.b:80@c/",
     b"http://u@a.b:80/", b"http:///", b"://a.b:80/", b"/a b", b"/a\tb", b"/a\x00", b"/a\x7f", b"/a\rb", b"/a\nb",
     b"/a#b", b"http://a.b:80\\c/"],
)  # fmt: skip
def test_other_targets_are_refused(target: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        check_target(b"GET", target, b"a.b:80")
    assert refused.value.status == 400
