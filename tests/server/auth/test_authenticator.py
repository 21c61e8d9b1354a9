"""The authenticators that need no database: a static key, or anyone."""

from dataclasses import replace

import pytest

from terratunnel.server.auth.authenticator import AnonymousOrKey, Credentials, Refused, StaticKeys
from terratunnel.server.auth.names import NameTokens, is_valid_name

NOBODY = Credentials(key="", token="", address="127.0.0.1", user_agent="", local_endpoint="")
KEYS = StaticKeys({"first-key": "app", "second-key": "other"})
TOKENS = NameTokens(b"a secret")
ANYONE = AnonymousOrKey(KEYS, TOKENS)


@pytest.mark.parametrize(("key", "name"), [("first-key", "app"), ("second-key", "other")])
async def test_a_key_has_its_name(key: str, name: str) -> None:
    grant = await KEYS.authenticate(replace(NOBODY, key=key))
    assert (grant.name, grant.token) == (name, "")


@pytest.mark.parametrize("key", ["", "first", "first-key ", "first-key2", "FIRST-KEY", "schlüssel"])
async def test_any_other_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Refused) as refused:
        await KEYS.authenticate(replace(NOBODY, key=key))
    assert refused.value.status == 401
    assert not key or key not in refused.value.message


async def test_no_key_is_valid_where_there_are_none() -> None:
    with pytest.raises(Refused):
        await StaticKeys({}).authenticate(replace(NOBODY, key="x"))


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
