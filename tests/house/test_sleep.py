"""No unit test waits for the clock: time is a fake clock or an event, so a test is fast and never flaky."""

import ast

import pytest

from tests.house.tree import name, python_files, tree


def sleeps(module: ast.Module) -> list[int]:
    """Lines that call something named `sleep`, or import it under whatever name."""
    called = [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "sleep"
    ]
    imported = [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names)
    ]
    return sorted({*called, *imported})


def test_no_unit_test_sleeps() -> None:
    units = [path for path in python_files("tests") if not name(path).startswith("tests/e2e/")]
    assert [f"{name(path)}:{line}" for path in units for line in sleeps(tree(path))] == []


@pytest.mark.parametrize(
    "source", ["import time\ntime.sleep(1)", "await asyncio.sleep(0)", "from time import sleep as nap", "sleep(1)"]
)
def test_a_sleep_is_found(source: str) -> None:
    assert sleeps(ast.parse(source)) != []


def test_a_word_is_no_sleep() -> None:
    assert sleeps(ast.parse("sleep = 'sleep()'  # sleep()")) == []
