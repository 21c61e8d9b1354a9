"""Providers that answer wrongly: nothing is made of it, and it is said whose fault it is."""

import json
import ssl
from typing import Any

import pytest

from terratunnel.server.auth.providers import MAX_ANSWER_BYTES, ProviderClient, ProviderFailed, TokenRefused
from terratunnel.server.storage.users import Profile
from terratunnel.testing.provider import API_PATHS, Person, Provider, providing

ALICE = Person(7, "alice", "alice@example.com", "Alice")
USER = {"github": f"{API_PATHS['github']}/user", "gitlab": f"{API_PATHS['gitlab']}/user"}
GOOD: dict[str, Any] = {"id": 7, "login": "alice", "username": "alice", "email": "a@example.com"}


def client(provider: Provider, kind: str = "github") -> ProviderClient:
    return ProviderClient(provider.config(kind), ssl.create_default_context())


async def profile_of(kind: str, user: object) -> Profile:
    """What is made of a provider's words about a user."""
    async with providing(ALICE) as provider:
        provider.answers[USER[kind]] = (200, json.dumps(user).encode())
        return await client(provider, kind).profile("token")


@pytest.mark.parametrize("kind", ["github", "gitlab"])
@pytest.mark.parametrize(
    "wrong",
    [
        *([], None, "alice", {}, GOOD | {"id": None}, GOOD | {"id": "7"}, GOOD | {"id": True}, GOOD | {"id": 7.5}),
        GOOD | {"login": None, "username": None},
        GOOD | {"login": "", "username": ""},
        GOOD | {"login": "a" * 256, "username": "a" * 256},
        GOOD | {"login": "alice#1", "username": "alice#1"},
        GOOD | {"login": "root ", "username": "root "},
        GOOD | {"login": "r\u043e\u043et", "username": "r\u043e\u043et"},
    ],
)
async def test_somebody_without_a_number_and_a_name_is_nobody(kind: str, wrong: object) -> None:
    with pytest.raises(ProviderFailed, match="did not say who you are"):
        await profile_of(kind, wrong)


async def test_what_else_is_wrong_about_somebody_is_left_out() -> None:
    odd = {"email": 7, "name": "A\0li\x1bce \U0001f43c\ud800", "avatar_url": "javascript:alert(1)"}
    assert await profile_of("gitlab", GOOD | odd) == Profile("gitlab", "7", "alice", None, "Alice \U0001f43c", None)
    assert (await profile_of("gitlab", GOOD | {"name": "x" * 1_001})).name is None


@pytest.mark.parametrize("emails", [{}, [], ["a"], [{"email": 1, "primary": True, "verified": True}]])
async def test_a_list_of_addresses_that_is_none_names_no_address(emails: object) -> None:
    async with providing(ALICE) as provider:
        provider.answers[USER["github"]] = (200, json.dumps(GOOD | {"email": None}).encode())
        provider.answers[f"{API_PATHS['github']}/user/emails"] = (200, json.dumps(emails).encode())
        assert (await client(provider).profile("token")).email is None


async def test_an_address_that_was_never_confirmed_is_not_taken() -> None:
    async with providing(ALICE) as provider:
        provider.answers[USER["github"]] = (200, json.dumps(GOOD | {"email": None}).encode())
        address = {"email": "victim@example.com", "primary": True, "verified": False}
        provider.answers[f"{API_PATHS['github']}/user/emails"] = (200, json.dumps([address]).encode())
        assert (await client(provider).profile("token")).email is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, b"{}", "answered 500; try again"),
        (302, b"{}", "answered 302; try again"),
        (200, b"<html>", "no JSON"),
        (200, b"\xff", "no JSON"),
        (200, b"[" * 100_000, "no JSON"),
        (200, b"[" * MAX_ANSWER_BYTES + b"[", "too long"),
    ],
)
async def test_an_answer_that_is_none_is_the_providers_fault(status: int, body: bytes, words: str) -> None:
    async with providing(ALICE) as provider:
        provider.answers[USER["github"]] = (status, body)
        with pytest.raises(ProviderFailed, match=words) as failed:
            await client(provider).profile("token")
        assert not isinstance(failed.value, TokenRefused)


@pytest.mark.parametrize("answer", [b"{}", b"[]", b'{"access_token": 1}', b'{"access_token": "a", "error": "b"}'])
async def test_a_token_that_is_none_is_not_used(answer: bytes) -> None:
    async with providing(ALICE) as provider:
        provider.answers["/login/oauth/access_token"] = (200, answer)
        with pytest.raises(TokenRefused, match="begin again"):
            await client(provider).token("code=x")


@pytest.mark.parametrize("found", [[], {}, {"application": None}, {"application": {"uid": "another"}}])
async def test_a_token_is_ours_only_if_the_provider_says_so(found: object) -> None:
    async with providing(ALICE) as provider:
        provider.answers["/oauth/token/info"] = (200, json.dumps(found).encode())
        assert not await client(provider, "gitlab").issued_to_us("token")
