"""The commands of an operator in this process, on a real database. Used by tests of `terratunnel admin`."""

import json
from typing import Any

from click.testing import CliRunner, Result

from terratunnel.cli.main import main


def admin(*arguments: str, typed: str = "") -> Result:
    """Run a command, whatever comes of it."""
    return CliRunner().invoke(main, ["admin", *arguments], prog_name="terratunnel", input=typed)


def text(*arguments: str) -> str:
    """Run a command that works; return what a person reads."""
    result = admin(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def rows(*arguments: str) -> list[dict[str, Any]]:
    """Run a command that works; return what a program reads."""
    return [json.loads(line) for line in text(*arguments, "--output", "json").splitlines()]


def row(*arguments: str) -> dict[str, Any]:
    """Run a command that works and says one thing."""
    (found,) = rows(*arguments)
    return found


def refusal(*arguments: str) -> str:
    """Run a command that fails; return its one sentence."""
    result = admin(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip()
