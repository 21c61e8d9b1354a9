"""Cookies of the server's own pages and of tunnels keep apart (security.md A1); every other byte stays as it is."""

import pytest

from terratunnel.http1.cookies import without_apex, without_ours

APEX = b"tunnel.example.com"
START = [b"GET", b"/"]


def sent(*cookies: bytes) -> list[bytes]:
    """A request with these Cookie fields between others."""
    items = [*START, b"Host", b"app.tunnel.example.com"]
    for cookie in cookies:
        items += [b"Cookie", cookie]
    return [*items, b"X-Last", b"terratunnel_session=1"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"terratunnel_session=x", None),
        (b"__Host-terratunnel_session=x", None),
        (b"__Host-terratunnel_oauth=x; terratunnel_session=y", None),
        (b"a=1; terratunnel_session=x; b=2", b"a=1; b=2"),
        (b"terratunnel_session=x; b=2;c=3", b"b=2;c=3"),
        (b"a=1;\tterratunnel_session=x", b"a=1"),
        (b"a=1; terratunnel_session", b"a=1"),
    ],
)
def test_our_cookies_do_not_reach_a_tunnel(before: bytes, after: bytes | None) -> None:
    assert without_ours(sent(before)) == sent(*([after] if after is not None else []))


@pytest.mark.parametrize(
    "cookie",
    [
        b"a=1; b=2",
        b"a=terratunnel_session",
        b"my_terratunnel_session=1; x",
        b"__Host-session=1",
        b"__Secure-terratunnel_session=1",
        b"a=1;;  b = 2 ; terra\xff=3",
        b"",
    ],
)
def test_other_cookies_stay_byte_for_byte(cookie: bytes) -> None:
    items = sent(cookie, cookie)
    assert without_ours(items) is items


def test_each_cookie_field_is_looked_at() -> None:
    assert without_ours(sent(b"terratunnel_a=1", b"b=2", b"c=3; terratunnel_d=4")) == sent(b"b=2", b"c=3")


def answered(*cookies: bytes) -> list[bytes]:
    """A response that sets these cookies between other fields."""
    items = [b"200", b"OK", b"Content-Type", b"text/html"]
    for cookie in cookies:
        items += [b"set-Cookie", cookie]
    return [*items, b"X-Last", b"a; Domain=tunnel.example.com"]


@pytest.mark.parametrize(
    "attributes",
    [
        *(b"Domain=tunnel.example.com", b"domain=.tunnel.example.com", b"DOMAIN=Tunnel.Example.COM"),
        *(b"Domain=example.com", b"Domain=.com", b"Path=/; Domain = tunnel.example.com ; Secure"),
        *(b"Domain=app.tunnel.example.com; Domain=tunnel.example.com", b"Domain=tunnel.example.com; Domain=other"),
        *(b"Domain=tunnel.example.com.", b"\tDomain\t=\ttunnel.example.com"),
        # Chromium takes each of these for the apex.
        *(b"Domain=tunnel.\xef\xbd\x85xample.com", b"Domain=tunnel\xe3\x80\x82example.com"),
        b"Domain=tunnel.exa\xc2\xadmple.com",
    ],
)
def test_a_tunnel_sets_no_cookie_that_would_come_to_us(attributes: bytes) -> None:
    wanted = [b"a=1; Path=/", b"b=2; Domain=app.tunnel.example.com"]
    tossed = b"__Host-terratunnel_session=x; " + attributes
    assert without_apex(answered(wanted[0], tossed, wanted[1], tossed), APEX) == answered(*wanted)


@pytest.mark.parametrize(
    "cookie",
    [
        *(b"a=1", b"a=1; Path=/; HttpOnly; SameSite=Lax", b"a=1; Domain=app.tunnel.example.com", b"a=1; Domain="),
        *(b"a=1; Domain=nel.example.com", b"a=1; Domain=x.example.com", b"domain=tunnel.example.com; Path=/"),
        *(b"a=Domain=tunnel.example.com", b"a=1; Domains=tunnel.example.com", b""),
    ],
)
def test_what_a_tunnel_sets_for_itself_stays_byte_for_byte(cookie: bytes) -> None:
    items = answered(cookie, cookie)
    assert without_apex(items, APEX) is items


def test_a_cookie_for_localhost_reaches_localhost() -> None:
    assert without_apex(answered(b"a=1; Domain=localhost"), b"localhost") == answered()
