"""Keys are kept for each server, for their user alone, and never used when others could have read them."""

import json
import os
import stat
from pathlib import Path

import pytest

from terratunnel.client.config import ConfigError
from terratunnel.client.credentials import (
    FILE_NAME,
    Credentials,
    CredentialsError,
    CredentialStore,
    default_config_dir,
    server_name,
)

HERE = Credentials("http://localhost:8000", "tt_here", "http://happy-panda.localhost:8000")
THERE = Credentials("wss://tunnel.example.com", "tt_there", "https://happy-panda.tunnel.example.com")


def test_a_key_is_there_after_a_restart_and_shown_nowhere(tmp_path: Path) -> None:
    CredentialStore(tmp_path / "new").put(HERE)
    assert CredentialStore(tmp_path / "new").get("http://localhost:8000") == HERE
    assert "tt_here" not in repr(HERE)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("wss://Tunnel.Example.com", "https://tunnel.example.com"),
        ("https://tunnel.example.com:443/", "https://tunnel.example.com"),
        ("https://tunnel.example.com:8443/ws", "https://tunnel.example.com:8443"),
        ("ws://[::1]:8000", "http://[::1]:8000"),
        ("http://tunnel.example.com", "http://tunnel.example.com"),
    ],
)
def test_a_server_is_the_same_however_its_url_is_written(url: str, name: str) -> None:
    assert server_name(url) == name


def test_a_key_is_for_its_server_alone(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    store.put(THERE)
    assert store.get("https://tunnel.example.com/ws") == THERE
    for other in ("http://tunnel.example.com", "wss://tunnel.example.com:8443", "wss://example.com"):
        assert store.get(other) is None
    with pytest.raises(ConfigError):
        store.get("nonsense")


def test_the_latest_login_is_the_default(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    assert store.latest() is None
    for each in (HERE, THERE, HERE):
        store.put(each)
        assert store.latest() == each
    assert store.remove("ws://localhost:8000") == HERE
    assert store.remove("ws://localhost:8000") is None
    assert store.latest() == THERE


def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    CredentialStore(tmp_path / "new").put(HERE)
    assert stat.S_IMODE((tmp_path / "new" / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_could_read_or_write_is_refused_and_left(tmp_path: Path, mode: int) -> None:
    store = CredentialStore(tmp_path)
    store.put(HERE)
    path = tmp_path / FILE_NAME
    path.chmod(mode)
    before = path.read_bytes()
    for use in (store.latest, lambda: store.get(HERE.server_url), lambda: store.put(THERE)):
        with pytest.raises(CredentialsError, match=rf"others may read it \(mode {mode:04o}\).*chmod 600 {path}"):
            use()
    assert path.read_bytes() == before
    path.chmod(0o600)
    assert store.latest() == HERE


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"{}", b"\xff", b'{"servers": []}', b'{"servers": {"x": {"api_key": "k"}}}'),
        b'{"servers": {"x": {"server_url": "u", "api_key": 1, "tunnel_url": "t"}}}',
        b'{"servers": {"x": {"server_url": "u", "api_key": "a\\nb", "tunnel_url": "t"}}}',
    ],
)
def test_what_we_did_not_write_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    for use in (CredentialStore(tmp_path).latest, lambda: CredentialStore(tmp_path).put(HERE)):
        with pytest.raises(CredentialsError, match="delete it and run: terratunnel login"):
            use()
    assert path.read_bytes() == content


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    store.put(HERE)
    with (tmp_path / FILE_NAME).open() as reader:
        store.put(THERE)
        assert list(json.load(reader)["servers"]) == ["http://localhost:8000"]


def test_what_cannot_be_kept_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CredentialsError, match=r"for your keys cannot be made \(File exists\)"):
        CredentialStore(tmp_path / "file").put(HERE)
    (tmp_path / "taken" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(CredentialsError, match="cannot be read"):
        CredentialStore(tmp_path / "taken").put(HERE)
    assert os.listdir(tmp_path / "taken") == [FILE_NAME]


def test_without_a_home_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert default_config_dir() is None
    assert CredentialStore(None).latest() is None
    with pytest.raises(CredentialsError, match="set XDG_CONFIG_HOME"):
        CredentialStore(None).put(HERE)


def test_the_directory_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_config_dir() == tmp_path / "terratunnel"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    assert default_config_dir() == tmp_path / "ann" / ".config" / "terratunnel"
