"""A command line of its own for each test: no variables of the house, no .env, and loggers as they were."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from terratunnel.server.storage.urls import locate
from terratunnel.testing.databases import SQLiteFiles

OURS = ("TERRATUNNEL_", "REQUIRE_AUTH", "STREAMING_", "DEFAULT_CHUNK", "JWT_")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture(autouse=True)
def own_loggers() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("terratunnel")
    before = root.handlers, root.level, ours.level
    yield
    root.handlers, level, own_level = before
    root.setLevel(level)
    ours.setLevel(own_level)


@pytest.fixture
def db_path(sqlite: SQLiteFiles, tmp_path: Path) -> Path:
    """A server's database, where commands look for it."""
    made = locate(sqlite.new()).path
    assert made is not None
    return made.rename(tmp_path / "terratunnel.db")
