"""Where a change comes from: our own pages, by the Origin and by the session's token."""

import pytest
from fastapi import Request

from terratunnel.server.control.csrf import CsrfRefused, check_link, check_origin, check_token, origin_of

BASE = "https://tunnel.example.com"


def request(**fields: str) -> Request:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers})


@pytest.mark.parametrize("fields", [{"origin": BASE}, {"sec_fetch_site": "same-origin"}])
def test_our_own_pages_may_ask(fields: dict[str, str]) -> None:
    check_origin(request(**fields), BASE)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"origin": "null"},
        {"origin": "https://happy-panda.tunnel.example.com"},
        {"origin": "http://tunnel.example.com"},
        {"origin": "https://tunnel.example.com:8443"},
        {"origin": "https://tunnel.example.com.evil.example"},
        {"origin": "https://evil.example", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"referer": f"{BASE}/"},
    ],
)
def test_nobody_else_may_ask(fields: dict[str, str]) -> None:
    with pytest.raises(CsrfRefused, match="not asked for by a page"):
        check_origin(request(**fields), BASE)


@pytest.mark.parametrize(
    "fields", [{}, {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}, {"origin": BASE}]
)
def test_a_link_of_ours_or_of_nobody_may_be_followed(fields: dict[str, str]) -> None:
    check_link(request(**fields), BASE)


@pytest.mark.parametrize(
    "fields", [{"sec_fetch_site": "same-site"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}]
)
def test_a_link_of_a_sibling_or_a_stranger_may_not(fields: dict[str, str]) -> None:
    with pytest.raises(CsrfRefused, match="not asked for by a page"):
        check_link(request(**fields), BASE)


@pytest.mark.parametrize("given", [None, "", "else", "tökén", "token "])
def test_the_token_has_to_be_the_session_s(given: str | None) -> None:
    check_token("token", "token")
    with pytest.raises(CsrfRefused, match="too old"):
        check_token(given, "token")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Tunnel.Example.com/", "https://tunnel.example.com"),
        ("https://tunnel.example.com:443", "https://tunnel.example.com"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:80", "http://localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
