"""What crosses the link, what stops before it, and what is not believed behind it."""

import pytest

from terratunnel.http1 import forwarding
from terratunnel.http1.bodies import Trailers
from terratunnel.http1.errors import BadMessage
from terratunnel.http1.forwarding import (
    check_request_items,
    check_response_items,
    check_trailer_items,
    request_items,
    response_items,
    trailer_items,
)
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser
from tests.http1.transcript import request_head, response_head

ADDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Request-Id")


def pairs(items: list[bytes]) -> list[tuple[str, str]]:
    texts = [item.decode("latin-1") for item in items[2:]]
    return list(zip(texts[::2], texts[1::2], strict=True))


def forwarded(*lines: bytes, host: bytes = b"a.localhost", client_ip: bytes = b"192.0.2.1") -> list[tuple[str, str]]:
    head = request_head(b"\r\n".join([b"GET /x?y HTTP/1.1", b"Host: " + host, *lines, b"", b""]))
    items = request_items(head, client_ip, b"https", b"new-id")
    assert items[:2] == [b"GET", b"/x?y"]
    check_request_items(items)
    return pairs(items)


def passed(*lines: bytes) -> list[str]:
    """The names of the visitor's fields that cross the link, without Host and without what we add."""
    return [name for name, _ in forwarded(*lines) if name != "Host" and name not in ADDED]


def added(*lines: bytes, host: bytes = b"a.localhost", client_ip: bytes = b"192.0.2.1") -> dict[str, str]:
    fields = [(name, value) for name, value in forwarded(*lines, host=host, client_ip=client_ip) if name in ADDED]
    assert [name for name, _ in fields] == list(ADDED)
    return dict(fields)


def answered(*lines: bytes, status: bytes = b"200 OK", method: bytes = b"GET") -> list[tuple[str, str]]:
    head = response_head(b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""]), method)
    items = response_items(head)
    assert b" ".join(items[:2]) == status
    check_response_items(items, method)
    return pairs(items)


# ---- requests on their way to the link


def test_end_to_end_fields_pass_in_order_with_case_and_repeats() -> None:
    fields = forwarded(
        b"b: 1", b"A: \xff", b"B: 2", b"b: 3", b"Content-Length: 5", b"COOKIE: a=b", b"Expect: 100-continue"
    )
    names = ["b", "A", "B", "b", "Content-Length", "COOKIE", "Expect"]
    assert [name for name, _ in fields] == ["Host", *names, *ADDED]
    assert fields[2] == ("A", "\xff")


def test_fields_of_one_hop_stop_here() -> None:
    hop = (
        b"Keep-Alive: x",
        b"Proxy-Connection: y",
        b"TE: trailers",
        b"Connection: keep-alive",
        b"Transfer-Encoding: chunked",
    )
    assert passed(b"A: b", *hop, b"Trailer: c") == ["A", "Trailer"]


def test_nominated_fields_stop_here() -> None:
    assert passed(b"Connection: foo, X-Bar", b"FOO: 1", b"x-bar: 2", b"A: b", b"Connection: baz", b"baz: 3") == ["A"]


@pytest.mark.parametrize(
    "name", [b"Authorization", b"Cookie", b"Content-Length", b"Content-Type", b"Origin", b"X-Real-IP", b"Range"]
)
def test_nominating_an_end_to_end_field_does_not_remove_it(name: bytes) -> None:
    assert passed(b"Connection: close, " + name, name + b": 1") == [name.decode()]


def test_nominating_host_or_forwarded_fields_removes_nothing() -> None:
    fields = forwarded(b"Connection: host, x-forwarded-for, forwarded, x-request-id", b"X-Forwarded-For: 203.0.113.9")
    assert fields[0] == ("Host", "a.localhost")
    assert dict(fields)["X-Forwarded-For"] == "203.0.113.9, 192.0.2.1"


def test_an_upgrade_keeps_its_field_and_anything_else_loses_it() -> None:
    assert passed(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x") == [
        "Upgrade",
        "Sec-WebSocket-Key",
    ]
    assert passed(b"Upgrade: websocket") == []
    assert passed(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x") == []


def test_where_a_request_came_from_is_added() -> None:
    assert added() == {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Host": "a.localhost",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=192.0.2.1;host=a.localhost;proto=https",
        "X-Request-Id": "new-id",
    }


def test_what_rfc_7239_wants_quoted_is_quoted() -> None:
    fields = added(host=b"a.localhost:8000", client_ip=b"2001:db8::1")
    assert fields["Forwarded"] == 'for="[2001:db8::1]";host="a.localhost:8000";proto=https'
    assert fields["X-Forwarded-For"] == "2001:db8::1"


def test_our_address_is_appended_to_the_visitors() -> None:
    fields = added(
        b"X-Forwarded-For: 1.1.1.1, 2.2.2.2",
        b"Forwarded: for=1.1.1.1",
        b"x-forwarded-for: 3.3.3.3",
        b"X-Forwarded-For:",
    )
    assert fields["X-Forwarded-For"] == "1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.1"
    assert fields["Forwarded"] == "for=1.1.1.1, for=192.0.2.1;host=a.localhost;proto=https"


def test_a_visitor_cannot_name_host_or_scheme() -> None:
    fields = added(b"X-Forwarded-Host: evil", b"X-Forwarded-Proto: gopher", b"x-forwarded-host: evil2")
    assert (fields["X-Forwarded-Host"], fields["X-Forwarded-Proto"]) == ("a.localhost", "https")


@pytest.mark.parametrize("theirs", [b'for="', b'for="\\"', b'for="a\\"b"'])
def test_a_forwarded_value_that_would_swallow_ours_is_dropped(theirs: bytes) -> None:
    assert added(b"Forwarded: " + theirs)["Forwarded"] == "for=192.0.2.1;host=a.localhost;proto=https"


def test_a_quoted_forwarded_value_is_kept() -> None:
    assert added(b'Forwarded: for="[::1]"')["Forwarded"].startswith('for="[::1]", for=192.0.2.1')


@pytest.mark.parametrize(("name", "value"), [("x-request-id", "mine-42"), ("X-Request-Id", "x" * 128)])
def test_a_sane_request_id_of_the_visitor_stays_where_it_is(name: str, value: str) -> None:
    fields = forwarded(b"A: 1", f"{name}: {value}".encode(), b"B: 2")
    assert fields[1:4] == [("A", "1"), (name, value), ("B", "2")]
    assert [name for name, _ in fields[4:]] == list(ADDED[:-1])


def test_the_request_id_in_use_is_known_once_the_request_is_forwarded() -> None:
    for line, own in [(b"X-Request-Id: mine", b"mine"), (b"X-Request-Id: not sane", b""), (b"A: b", b"")]:
        head = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")
        request_items(head, b"::1", b"http", b"new-id")
        assert head.section.request_id == own


@pytest.mark.parametrize("lines", [[b""], [b"a b"], [b"a;b"], [b"x" * 129], [b"\xff"], [b"a", b"b"]])
def test_any_other_request_id_is_replaced(lines: list[bytes]) -> None:
    assert added(*[b"X-Request-Id: " + value for value in lines])["X-Request-Id"] == "new-id"


def test_equal_heads_on_one_connection_are_forwarded_for_each_client_alone() -> None:
    parser = RequestParser(HeadLimits())
    seen = []
    for client_ip, proto, request_id in [
        (b"::1", b"http", b"1"),
        (b"::1", b"http", b"2"),
        (b"::2", b"http", b"3"),
        (b"::2", b"https", b"4"),
    ]:
        parser.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = parser.next_event()
        assert isinstance(head, RequestHead)
        items = request_items(head, client_ip, proto, request_id)
        seen.append((items[5], items[9], items[-1]))
        parser.start_next()
    assert seen == [(b"::1", b"http", b"1"), (b"::1", b"http", b"2"), (b"::2", b"http", b"3"), (b"::2", b"https", b"4")]


def test_what_is_remembered_of_visitors_is_bounded() -> None:
    for n in range(1500):
        assert added(client_ip=b"client-%d" % n)["X-Forwarded-For"] == f"client-{n}"
    assert 0 < len(forwarding._remembered) <= 1024


# ---- responses on their way to the link


def test_a_response_passes_in_order_with_case_and_repeats() -> None:
    lines = (b"set-cookie: a", b"Set-Cookie: b", b"Content-Length: 3", b"X-Request-Id: x", b"X-Forwarded-For: y")
    assert answered(*lines) == [tuple(line.decode().split(": ")) for line in lines]


def test_fields_of_one_hop_of_a_response_stop_here() -> None:
    hop = (
        b"Connection: close, Foo",
        b"Foo: x",
        b"Keep-Alive: timeout=5",
        b"Transfer-Encoding: chunked",
        b"Upgrade: h2",
    )
    assert answered(b"A: b", *hop) == [("A", "b")]


def test_a_switch_keeps_its_upgrade_field() -> None:
    assert answered(b"Connection: Upgrade", b"Upgrade: websocket", status=b"101 x") == [("Upgrade", "websocket")]


@pytest.mark.parametrize("status", [b"204 x", b"103 x"])
def test_a_status_that_allows_no_length_loses_it(status: bytes) -> None:
    assert answered(b"Content-Length: 0", b"A: b", status=status) == [("A", "b")]


def test_a_length_that_only_describes_is_kept() -> None:
    assert answered(b"Content-Length: 5", status=b"304 x") == [("Content-Length", "5")]
    assert answered(b"Content-Length: 5", method=b"HEAD") == [("Content-Length", "5")]


def test_equal_responses_are_forwarded_equal() -> None:
    head = response_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
    assert response_items(head) == response_items(head) == [b"200", b"OK", b"A", b"b"]


def test_trailers_become_a_flat_list() -> None:
    items = trailer_items(Trailers([(b"A", b"b"), (b"C", b"d")]))
    assert items == [b"A", b"b", b"C", b"d"]
    check_trailer_items(items)
    check_trailer_items([])


# ---- what came over the link


def test_a_checked_request_says_what_the_forwarder_asks() -> None:
    meta = check_request_items(
        [b"BREW", b"/x", b"Host", b"a", b"Content-Length", b"0", b"Upgrade", b"websocket", b"A", b""]
    )
    assert (meta.method, meta.target, meta.host) == (b"BREW", b"/x", b"a")
    assert (meta.content_length, meta.upgrade) == (0, b"websocket")
    plain = check_request_items([b"GET", b"/", b"host", b"a"])
    assert (plain.content_length, plain.upgrade) == (None, None)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [b"GET"],
        [b"GET", b"/", b"Host"],
        [b"GET", b"/"],
        [b"GET", b"/", b"Host", b""],
        [b"GET", b"/", b"Host", b"a/b"],
        [b"GET", b"/", b"Host", b"a", b"host", b"a"],
        [b"", b"/", b"Host", b"a"],
        [b"G T", b"/", b"Host", b"a"],
        [b"CONNECT", b"a:1", b"Host", b"a:1"],
        [b"GET", b"", b"Host", b"a"],
        [b"GET", b"/ HTTP/1.1", b"Host", b"a"],
        [b"GET", b"/\r\nA: b", b"Host", b"a"],
        [b"GET", b"/\t", b"Host", b"a"],
        [b"GET", b"http://b/", b"Host", b"a"],
        [b"GET", b"/", b"Host", b"a", b"", b"x"],
        [b"GET", b"/", b"Host", b"a", b"A b", b"x"],
        [b"GET", b"/", b"Host", b"a", b"A:", b"x"],
        [b"GET", b"/", b"Host", b"a", b"A\r\nB", b"x"],
        [b"GET", b"/", b"Host", b"a", b"A", b"x\r\nB: y"],
        [b"GET", b"/", b"Host", b"a", b"A", b"x\x00"],
        [b"GET", b"/", b"Host", b"a", b"Transfer-Encoding", b"chunked"],
        [b"GET", b"/", b"Host", b"a", b"connection", b"close"],
        [b"GET", b"/", b"Host", b"a", b"TE", b"trailers"],
        [b"GET", b"/", b"Host", b"a", b"Keep-Alive", b"timeout=1"],
        [b"GET", b"/", b"Host", b"a", b"Proxy-Connection", b"x"],
        [b"GET", b"/", b"Host", b"a", b"Upgrade", b""],
        [b"GET", b"/", b"Host", b"a", b"Upgrade", b"a", b"Upgrade", b"b"],
        [b"GET", b"/", b"Host", b"a", b"Upgrade", b"websocket", b"Content-Length", b"1"],
        [b"GET", b"/", b"Host", b"a", b"Content-Length", b"+1"],
        [b"GET", b"/", b"Host", b"a", b"Content-Length", b"1", b"content-length", b"1"],
    ],
)
def test_a_request_from_the_link_is_checked_like_one_from_a_socket(items: list[bytes]) -> None:
    with pytest.raises(BadMessage):
        check_request_items(items)


@pytest.mark.parametrize(
    ("items", "method", "has_body", "length"),
    [
        ([b"200", b"OK"], b"GET", True, None),
        ([b"200", b"", b"Content-Length", b"5"], b"GET", True, 5),
        ([b"200", b"OK", b"Content-Length", b"0"], b"GET", False, 0),
        ([b"200", b"OK", b"Content-Length", b"5"], b"HEAD", False, 5),
        ([b"304", b"x", b"Content-Length", b"5"], b"GET", False, 5),
        ([b"204", b"x"], b"GET", False, None),
        ([b"100", b"x"], b"GET", False, None),
        ([b"999", b"\xe9\t", b"Host", b"anything"], b"GET", True, None),
    ],
)
def test_a_checked_response_says_what_the_edge_asks(
    items: list[bytes], method: bytes, has_body: bool, length: int | None
) -> None:
    meta = check_response_items(items, method)
    assert (meta.status, meta.reason, meta.has_body, meta.content_length) == (int(items[0]), items[1], has_body, length)
    assert meta.upgrade is None


def test_a_checked_switch_names_its_protocol() -> None:
    assert check_response_items([b"101", b"x", b"Upgrade", b"websocket"], b"GET").upgrade == b"websocket"


@pytest.mark.parametrize(
    "items",
    [
        [],
        [b"200"],
        [b"200", b"OK", b"A"],
        [b"99", b"x"],
        [b"099", b"x"],
        [b"1000", b"x"],
        [b"2x0", b"x"],
        [b"", b""],
        [b"200", b"O\r\nK"],
        [b"200", b"OK", b"A\n", b"x"],
        [b"200", b"OK", b"A", b"\x7f"],
        [b"200", b"OK", b" A", b"x"],
        [b"200", b"OK", b"Transfer-Encoding", b"chunked"],
        [b"200", b"OK", b"Connection", b"close"],
        [b"200", b"OK", b"Keep-Alive", b"x"],
        [b"200", b"OK", b"Upgrade", b"h2"],
        [b"101", b"x"],
        [b"101", b"x", b"Upgrade", b""],
        [b"101", b"x", b"Upgrade", b"a", b"upgrade", b"a"],
        [b"204", b"x", b"Content-Length", b"0"],
        [b"103", b"x", b"Content-Length", b"0"],
        [b"200", b"OK", b"Content-Length", b"1, 1"],
        [b"200", b"OK", b"Content-Length", b"1", b"Content-Length", b"1"],
    ],
)
def test_a_response_from_the_link_is_checked_like_one_from_a_socket(items: list[bytes]) -> None:
    with pytest.raises(BadMessage):
        check_response_items(items, b"GET")


@pytest.mark.parametrize(
    "items", [[b"A"], [b"A", b"b\r\n"], [b"A b", b"c"], [b"Content-Length", b"1"], [b"host", b"a"], [b"TE", b"x"]]
)
def test_trailers_from_the_link_are_checked(items: list[bytes]) -> None:
    with pytest.raises(BadMessage):
        check_trailer_items(items)
