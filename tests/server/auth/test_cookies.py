"""Cookies as they are set and as they come back."""

import pytest

from terratunnel.server.auth.cookies import MAX_VALUE_CHARS, SetCookie, cookie_name, value_of


def test_a_cookie_is_for_this_host_alone_and_out_of_reach_of_scripts() -> None:
    cookie = SetCookie("__Host-name", "value", 60, secure=True)
    assert cookie.header() == "__Host-name=value; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"


def test_an_empty_cookie_is_taken_away() -> None:
    assert SetCookie("name", "", 60, secure=False).header() == "name=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"


def test_over_https_the_name_is_one_that_no_sibling_may_set() -> None:
    assert cookie_name("terratunnel_session", secure=True) == "__Host-terratunnel_session"
    assert cookie_name("terratunnel_session", secure=False) == "terratunnel_session"


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([], None),
        (["a=1"], "1"),
        (["b=2; a=1; c=3"], "1"),
        (["b=2", "a=1"], "1"),
        (["a=b=c"], "b=c"),
        (["aa=1; ba=2"], None),
        (["A=1"], None),
        (["a"], None),
        (["a="], None),
        (["a=1; a=1"], None),
        (["a=1", "a=2"], None),
        (["a=1; a="], None),
        (["a=" + "x" * MAX_VALUE_CHARS], "x" * MAX_VALUE_CHARS),
        (["a=" + "x" * (MAX_VALUE_CHARS + 1)], None),
    ],
)
def test_one_cookie_of_a_name_is_read_and_two_are_none(fields: list[str], value: str | None) -> None:
    assert value_of(fields, "a") == value
