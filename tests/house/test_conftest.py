"""What `tests/conftest.py` promises, tried on a sample suite in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

SAMPLE = """
import asyncio, pytest

async def test_awaits(tmp_path):
    await asyncio.wait_for(asyncio.Event().wait(), 0.01)

def test_lacks_a_tool():
    pytest.skip("no tool")

@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "tests" / "e2e").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "tests" / "e2e" / "test_real.py").write_text("def test_real(): pass\n")
    return tmp_path


def run(suite: Path, *arguments: str, ci: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    env = os.environ | {"TERRATUNNEL_CI": ci}
    return subprocess.run(command, cwd=suite, env=env, capture_output=True, text=True, timeout=50, check=False).stdout


def test_an_async_test_runs_and_fails_by_what_it_awaits(suite: Path) -> None:
    report = run(suite, ci="0")
    assert "TimeoutError" in report
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in report


def test_a_skip_is_a_failure_in_ci(suite: Path) -> None:
    report = run(suite, ci="1")
    assert "skipped, which TERRATUNNEL_CI=1 forbids" in report
    assert "2 failed, 1 passed, 1 xfailed" in report


def test_a_module_that_skips_itself_is_an_error_in_ci(suite: Path) -> None:
    (suite / "tests" / "test_absent.py").write_text("import pytest\npytest.importorskip('absent_module')\n")
    assert "1 error" in run(suite, ci="1")


def test_e2e_tests_are_marked_by_their_folder(suite: Path) -> None:
    assert "1 passed, 3 deselected" in run(suite, "-m", "e2e", ci="0")
