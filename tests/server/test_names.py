"""Names of tunnels: a DNS label, not reserved; and the token that claims one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terratunnel.server.names import RESERVED, NameTokens, is_valid_name, new_name

TOKENS = NameTokens(b"a secret")


@pytest.mark.parametrize("name", ["a", "hook", "happy-panda-dancing", "a1", "1a", "a--b-c", "x" * 63])
def test_a_label_is_a_name(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a.b", "a_b", "a b", "é", "a\n", "x" * 64, "xn--80ak6aa92e", "ab--cd", "١٢"]
)
def test_anything_else_is_not(name: str) -> None:
    assert not is_valid_name(name)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_name_is_nobodys(name: str) -> None:
    assert not is_valid_name(name)


def test_new_names_are_names_and_differ() -> None:
    names = {new_name() for _ in range(50)}
    assert all(map(is_valid_name, names))
    assert len(names) == 50


def test_a_token_claims_its_name() -> None:
    assert TOKENS.name_in(TOKENS.token_for("happy-panda")) == "happy-panda"


def test_the_same_secret_knows_its_tokens_after_a_restart() -> None:
    assert NameTokens(b"a secret").name_in(TOKENS.token_for("app")) == "app"
    assert NameTokens(b"b secret").name_in(TOKENS.token_for("app")) is None


@given(st.text())
def test_no_other_text_claims_a_name(token: str) -> None:
    assert TOKENS.name_in(token) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_in_which_a_byte_was_changed_claims_nothing(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(TOKENS.token_for("happy-panda")))
    raw[place % len(raw)] ^= change
    assert TOKENS.name_in(base64.urlsafe_b64encode(raw).decode()) is None


def test_a_signature_of_nothing_claims_nothing() -> None:
    assert TOKENS.name_in(TOKENS.token_for("")) is None
