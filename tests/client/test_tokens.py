"""Names survive a restart, and nothing about their file can stop a tunnel."""

import json
import stat
from pathlib import Path

import pytest

from terratunnel.client import tokens
from terratunnel.client.tokens import FILE_NAME, TokenStore, default_state_dir

SERVER, ENDPOINT = "ws://localhost:8000", "http://localhost:3000"


def test_a_token_is_there_after_a_restart(tmp_path: Path) -> None:
    TokenStore(tmp_path / "new").put(SERVER, ENDPOINT, "token-1")
    assert TokenStore(tmp_path / "new").get(SERVER, ENDPOINT) == "token-1"


def test_each_tunnel_has_its_own(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.put(SERVER, ENDPOINT, "token-1")
    assert store.get(SERVER, "http://localhost:4000") == ""
    assert store.get("wss://other.example.com", ENDPOINT) == ""


def test_two_clients_keep_each_others_tokens(tmp_path: Path) -> None:
    one, other = TokenStore(tmp_path), TokenStore(tmp_path)
    assert one.get(SERVER, "http://localhost:1") == other.get(SERVER, "http://localhost:2") == ""
    one.put(SERVER, "http://localhost:1", "token-1")
    other.put(SERVER, "http://localhost:2", "token-2")
    fresh = TokenStore(tmp_path)
    assert (fresh.get(SERVER, "http://localhost:1"), fresh.get(SERVER, "http://localhost:2")) == ("token-1", "token-2")


def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    TokenStore(tmp_path / "new").put(SERVER, ENDPOINT, "token-1")
    assert stat.S_IMODE((tmp_path / "new" / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


def test_the_same_token_is_not_written_again(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    store.put(SERVER, ENDPOINT, "token-1")
    before = (tmp_path / FILE_NAME).stat().st_ino
    store.put(SERVER, ENDPOINT, "token-1")
    assert (tmp_path / FILE_NAME).stat().st_ino == before


def test_without_a_directory_it_is_kept_in_memory() -> None:
    store = TokenStore(None)
    store.put(SERVER, ENDPOINT, "token-1")
    assert store.get(SERVER, ENDPOINT) == "token-1"


def test_what_was_used_longest_ago_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 3)
    store = TokenStore(tmp_path)
    for number in (0, 1, 2, 0, 3):
        store.put(SERVER, f"http://localhost:{number}", f"token-{number}")
    fresh = TokenStore(tmp_path)
    kept = [number for number in range(4) if fresh.get(SERVER, f"http://localhost:{number}")]
    assert kept == [0, 2, 3]


@pytest.mark.parametrize("token", ["", "x" * 1025, "a\r\nb", "tokén"])
def test_a_token_that_cannot_be_handed_back_is_not_kept(tmp_path: Path, token: str) -> None:
    store = TokenStore(tmp_path)
    store.put(SERVER, ENDPOINT, token)
    assert store.get(SERVER, ENDPOINT) == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a": 1, "ws://localhost:8000 x": "a\\nb"}'])
def test_a_broken_file_costs_a_name_only(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    store = TokenStore(tmp_path)
    assert store.get(SERVER, ENDPOINT) == ""
    store.put(SERVER, ENDPOINT, "token-1")
    assert list(json.loads((tmp_path / FILE_NAME).read_text()).values()) == ["token-1"]


def test_a_directory_that_cannot_be_made_costs_a_name_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = TokenStore(tmp_path / "file")
    store.put(SERVER, ENDPOINT, "token-1")
    assert store.get(SERVER, ENDPOINT) == "token-1"


def test_the_directory_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / "terratunnel"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    assert default_state_dir() == tmp_path / "ann" / ".local" / "state" / "terratunnel"


def test_a_user_without_a_home_has_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert default_state_dir() is None
