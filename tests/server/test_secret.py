"""The secret that signs: where it comes from, and which are refused."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from terratunnel.server.config import ConfigError, ServerConfig
from terratunnel.server.secret import MIN_SECRET_BYTES, server_secret

LOCAL = ServerConfig("127.0.0.1", 0)
PRODUCTION = replace(LOCAL, domain="tunnel.example.com")
GOOD = "6f1d86a0c2b94e57d1f3a8420b9c7e55"


def test_on_localhost_a_secret_is_made_and_kept_beside_the_database(tmp_path: Path) -> None:
    config = replace(LOCAL, db_path=str(tmp_path / "mine.db"))
    secret = server_secret(config)
    assert len(secret) >= MIN_SECRET_BYTES
    assert server_secret(config) == secret
    file = tmp_path / "mine.secret"
    assert file.read_bytes() == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_secret_that_cannot_be_kept_is_said() -> None:
    with pytest.raises(ConfigError, match="name another --db-path"):
        server_secret(replace(LOCAL, db_path="/nowhere/at/all/mine.db"))


@pytest.mark.parametrize("damaged", [b"", b"short"])
def test_a_kept_secret_that_was_cut_off_is_not_used(damaged: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.secret").write_bytes(damaged)
    with pytest.raises(ConfigError, match="is damaged; delete the file"):
        server_secret(replace(LOCAL, db_path=str(tmp_path / "mine.db")))


def test_a_kept_secret_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine.secret").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        server_secret(replace(LOCAL, db_path=str(tmp_path / "mine.db")))


@pytest.mark.parametrize("config", [LOCAL, PRODUCTION])
def test_a_secret_of_ones_own_is_taken_as_it_is(config: ServerConfig) -> None:
    assert server_secret(replace(config, secret=GOOD)) == GOOD.encode()


def test_in_production_a_missing_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="JWT_SECRET is not set; set it to the output of: openssl rand -hex 32"):
        server_secret(PRODUCTION)


@pytest.mark.parametrize("config", [LOCAL, PRODUCTION])
@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("too-short", "shorter than 32 bytes"),
        (GOOD[:31], "shorter than 32 bytes"),
        ("x" * 64, "the text of an example"),
        ("abc" * 20, "the text of an example"),
        ("your_secure_secret_key_and_some_more", "the text of an example"),
        ("your-secret-key-change-in-production", "the text of an example"),
        ("Please CHANGE THIS to something of your own", "the text of an example"),
        ("change-me-change-me-change-me-change-me", "the text of an example"),
    ],
)
def test_a_short_or_default_secret_is_refused_everywhere(config: ServerConfig, secret: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        server_secret(replace(config, secret=secret))
    assert secret not in str(refused.value)
