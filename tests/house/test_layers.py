"""The contracts of `pyproject.toml` hold for the tree, and each of them bites on a skeleton with one wrong import."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"
CONTRACTS: list[dict[str, Any]] = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, "--no-cache", "--config", str(PYPROJECT)]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=50, check=False)


def contracted_modules() -> set[str]:
    """Every module of ours that a contract names."""
    names = {"terratunnel"}
    for contract in CONTRACTS:
        for container in contract.get("containers", []):
            layers = [layer.strip() for group in contract["layers"] for layer in group.split("|")]
            names |= {f"{container}.{layer}" for layer in layers}
        names |= {*contract.get("source_modules", []), *contract.get("forbidden_modules", [])}
    return {name for name in names if name.split(".")[0] == "terratunnel"}


def plant(tree: Path, module: str, statement: str = "") -> None:
    """Add a module, always as a package, that imports what the statement says."""
    package = tree.joinpath(*module.split("."))
    package.mkdir(parents=True, exist_ok=True)
    with (package / "__init__.py").open("a") as code:
        code.write(f"{statement}\n")


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """The tree that the contracts describe, with no imports but those they tolerate."""
    tolerated = [pair.split(" -> ") for contract in CONTRACTS for pair in contract.get("ignore_imports", [])]
    for module in contracted_modules().union(*tolerated):
        plant(tmp_path, module)
    for importer, imported in tolerated:
        plant(tmp_path, importer, f"import {imported}")
    return tmp_path


def test_the_tree_keeps_every_contract() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_skeleton_without_imports_keeps_every_contract(skeleton: Path) -> None:
    result = lint_imports(skeleton)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("mux.link", "import terratunnel.server", "The package is layered"),
        ("http1.parser", "import terratunnel.protocol", "The package is layered"),
        ("helpers", "", "The package is layered"),
        ("server.edge.listener", "import terratunnel.server.control", "The server is layered"),
        ("server.helpers", "", "The server is layered"),
        ("client.config", "import terratunnel.client.app", "The client is layered"),
        ("protocol.frames", "import terratunnel.protocol.multiplexer", "The protocol is layered"),
        ("protocol.errors", "import time", "protocol and http1 do no I/O"),
        ("http1.parser", "import asyncio", "protocol and http1 do no I/O"),
        ("server.edge.listener", "import starlette", "The road knows no web framework"),
        ("client.app", "import fastapi", "The client installs without"),
        ("mux.connection", "import terratunnel.mux.link", "No import cycles"),
    ],
)
def test_a_wrong_import_breaks_its_contract(skeleton: Path, module: str, statement: str, broken: str) -> None:
    plant(skeleton, "terratunnel.mux.link", "import terratunnel.mux.connection")
    plant(skeleton, f"terratunnel.{module}", statement)
    result = lint_imports(skeleton)
    verdicts = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(verdict.startswith(broken) for verdict in verdicts), result.stdout + result.stderr
    assert result.returncode != 0
