"""The authenticators that need no database: a static key, or anyone."""

from dataclasses import replace

import pytest

from terratunnel.server.auth.authenticator import AnonymousOrKey, Credentials, Grant, Refused, StaticKeys
from terratunnel.server.names import NameTokens, is_valid_name

NOBODY = Credentials(key="", token="", address="127.0.0.1", user_agent="", local_endpoint="")
KEYS = StaticKeys({"first-key": "app", "second-key": "other"})
TOKENS = NameTokens(b"a secret")
OF_AN_ACCOUNT = "somebodys"


class OnlyStatic:
    """Authenticates by the static keys alone."""

    async def authenticate(self, credentials: Credentials) -> Grant:
        name = KEYS.name_of(credentials.key)
        if not name:
            raise Refused(401, "no")
        return Grant(name)


async def taken(name: str) -> bool:
    return name == OF_AN_ACCOUNT


ANYONE = AnonymousOrKey(OnlyStatic(), TOKENS, taken)


@pytest.mark.parametrize(("key", "name"), [("first-key", "app"), ("second-key", "other")])
def test_a_key_has_its_name(key: str, name: str) -> None:
    assert KEYS.name_of(key) == name


@pytest.mark.parametrize("key", ["", "first", "first-key ", "first-key2", "FIRST-KEY", "schlüssel"])
def test_any_other_key_has_none(key: str) -> None:
    assert KEYS.name_of(key) == ""


async def test_anyone_gets_a_name_and_the_token_that_keeps_it() -> None:
    first = await ANYONE.authenticate(NOBODY)
    assert is_valid_name(first.name)
    again = await ANYONE.authenticate(replace(NOBODY, token=first.token))
    assert again == first


async def test_a_token_of_another_server_is_worth_a_new_name() -> None:
    theirs = NameTokens(b"another secret").token_for("hook")
    grant = await ANYONE.authenticate(replace(NOBODY, token=theirs))
    assert grant.name != "hook"


async def test_a_token_for_a_reserved_name_is_worth_a_new_one() -> None:
    grant = await ANYONE.authenticate(replace(NOBODY, token=TOKENS.token_for("admin")))
    assert grant.name != "admin"


async def test_who_shows_a_key_is_held_to_it() -> None:
    assert (await ANYONE.authenticate(replace(NOBODY, key="first-key"))).name == "app"
    with pytest.raises(Refused):
        await ANYONE.authenticate(replace(NOBODY, key="wrong", token=TOKENS.token_for("app")))


async def test_a_name_that_came_to_belong_to_an_account_is_kept_by_no_token() -> None:
    grant = await ANYONE.authenticate(replace(NOBODY, token=TOKENS.token_for(OF_AN_ACCOUNT)))
    assert grant.name != OF_AN_ACCOUNT
