"""What every test has: `async def` tests run by themselves, hypothesis without a stopwatch, e2e marked by folder,
and databases for those that ask: one Postgres serves the whole run.

Used by pytest. Rule: under TERRATUNNEL_CI=1 a skipped test is a failed one, so CI cannot lose a promise in silence.
"""

import asyncio
import inspect
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest

try:
    import uvloop
except ImportError:  # Windows has none
    LOOP_FACTORY = asyncio.new_event_loop
else:
    LOOP_FACTORY = uvloop.new_event_loop

if TYPE_CHECKING:
    from terratunnel.testing.databases import PostgresCluster, SQLiteFiles

AnyReport = TypeVar("AnyReport", pytest.TestReport, pytest.CollectReport)
IN_CI = os.environ.get("TERRATUNNEL_CI") == "1"
E2E = Path(__file__).parent / "e2e"

# Run in the background, a shell has us ignore Ctrl-C, and the programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is not a failure; CI draws the same examples each time, so a red run can be had again.
hypothesis.settings.register_profile("house", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session")
def sqlite() -> "Iterator[SQLiteFiles]":
    # Imported here: most tests need no database, and should not wait until its libraries are loaded.
    from terratunnel.testing.databases import sqlite_files

    with sqlite_files() as files:
        yield files


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresCluster]":
    from terratunnel.testing.databases import postgres_cluster

    with postgres_cluster() as cluster:
        yield cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if E2E in item.path.parents:
            item.add_marker("e2e")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    with asyncio.Runner(loop_factory=LOOP_FACTORY) as runner:
        runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return refuse_skip((yield))


def refuse_skip(report: AnyReport) -> AnyReport:
    """A test that may be skipped for want of a tool must run where the tools are installed for it."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which TERRATUNNEL_CI=1 forbids: {report.longrepr}"
    return report
