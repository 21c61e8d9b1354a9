"""Every module has a test file of its own, in the place where one looks for it."""

from pathlib import PurePosixPath

import pytest

from tests.house.tree import name, python_files

# module -> why no test file of its own covers it
EXCEPTIONS: dict[str, str] = {
    "terratunnel/server/actors.py": "plain data; every test of accounts uses it",
    "terratunnel/server/services.py": "plain data; every test of the pages uses it",
}
# test file that mirrors no module -> what it covers instead
EXTRAS: dict[str, str] = {
    "tests/protocol/test_spec.py": "the tables and vectors of docs/spec/protocol.md",
    "tests/server/control/test_matrix.py": "who may do what, for every route",
    "tests/server/control/test_openapi.py": "the OpenAPI document, which the API has to keep",
}
# Folders of tests that mirror no package.
FREE_FOLDERS = ("tests/e2e/", "tests/house/", "tests/properties/")


def own_test(module: str) -> str:
    path = PurePosixPath(module)
    return str(PurePosixPath("tests", *path.parts[1:-1], f"test_{path.name}"))


def unmapped(modules: list[str], tests: list[str]) -> list[str]:
    """Modules whose test file is missing; names of packages and the entry point hold no behaviour."""
    exempt = ("__init__.py", "__main__.py")
    return [m for m in modules if not m.endswith(exempt) and m not in EXCEPTIONS and own_test(m) not in tests]


def stray(modules: list[str], tests: list[str]) -> list[str]:
    """Test files that mirror no module any more."""
    mirrored = {own_test(module) for module in modules}
    free = [t for t in tests if t.startswith(FREE_FOLDERS) or not PurePosixPath(t).name.startswith("test_")]
    return [test for test in tests if test not in mirrored and test not in free and test not in EXTRAS]


@pytest.fixture(scope="module")
def modules() -> list[str]:
    return [name(path) for path in python_files("terratunnel")]


@pytest.fixture(scope="module")
def tests() -> list[str]:
    return [name(path) for path in python_files("tests")]


def test_every_module_has_its_test_file(modules: list[str], tests: list[str]) -> None:
    assert unmapped(modules, tests) == []


def test_every_test_file_has_its_module(modules: list[str], tests: list[str]) -> None:
    assert stray(modules, tests) == []


def test_every_exception_is_still_needed(modules: list[str], tests: list[str]) -> None:
    assert [m for m in EXCEPTIONS if m not in modules or own_test(m) in tests] == []


def test_a_missing_test_file_is_named() -> None:
    assert unmapped(["terratunnel/mux/link.py", "terratunnel/mux/__init__.py"], []) == ["terratunnel/mux/link.py"]
    assert unmapped(["terratunnel/mux/link.py"], ["tests/mux/test_link.py"]) == []


def test_a_test_file_without_a_module_is_named() -> None:
    assert stray([], ["tests/mux/test_link.py", "tests/e2e/test_run.py"]) == ["tests/mux/test_link.py"]
