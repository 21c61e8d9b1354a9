"""The fixtures of the end-to-end tests, and the logs of the processes beside each failure.

Used by pytest. Rule: what a test or a module started ends with it.
"""

from collections.abc import Generator, Iterator

import pytest

from tests.e2e.support.lab import Lab, Tunnel
from tests.e2e.support.upstream import RawUpstream


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """For one test."""
    yield from _lab(tmp_path_factory)


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """For all tests of a module."""
    yield from _lab(tmp_path_factory)


@pytest.fixture(scope="module")
def shared_upstream(module_lab: Lab) -> RawUpstream:
    """The raw service behind `tunnel`."""
    return module_lab.upstream()


@pytest.fixture
def upstream(shared_upstream: RawUpstream) -> Iterator[RawUpstream]:
    """The same without connections of earlier tests."""
    yield shared_upstream
    shared_upstream.close_connections()


@pytest.fixture(scope="module")
def tunnel(module_lab: Lab, shared_upstream: RawUpstream) -> Tunnel:
    """A server and a client with default settings, for all tests of a module."""
    return module_lab.tunnel(shared_upstream.url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fixtures = getattr(item, "funcargs", {})
    labs = [fixtures[name] for name in ("lab", "module_lab") if name in fixtures]
    if report.failed:
        programs = [program for lab in labs for program in lab.programs]
        report.sections += [(program.label, program.report()) for program in programs]
    return report


def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()
