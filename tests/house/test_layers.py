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


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    for name in contracted_modules():
        package = tmp_path.joinpath(*name.split("."))
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
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
        ("mux/link.py", "import terratunnel.server", "The package is layered"),
        ("http1/parser.py", "import terratunnel.protocol", "The package is layered"),
        ("helpers.py", "", "The package is layered"),
        ("server/edge/listener.py", "import terratunnel.server.control", "The server is layered"),
        ("server/helpers.py", "", "The server is layered"),
        ("client/config/__init__.py", "import terratunnel.client.app", "The client is layered"),
        ("protocol/frames/__init__.py", "import terratunnel.protocol.multiplexer", "The protocol is layered"),
        ("protocol/errors/__init__.py", "import time", "protocol and http1 do no I/O"),
        ("http1/parser.py", "import asyncio", "protocol and http1 do no I/O"),
        ("server/edge/listener.py", "import starlette", "The road knows no web framework"),
        ("client/app/__init__.py", "import fastapi", "The client installs without"),
        ("mux/link.py", "import terratunnel.mux.memory", "No import cycles"),
    ],
)
def test_a_wrong_import_breaks_its_contract(skeleton: Path, module: str, statement: str, broken: str) -> None:
    (skeleton / "terratunnel" / "mux" / "memory.py").write_text("import terratunnel.mux.link\n")
    (skeleton / "terratunnel" / module).write_text(f"{statement}\n")
    result = lint_imports(skeleton)
    verdicts = [line for line in result.stdout.splitlines() if line.endswith(" BROKEN")]
    assert any(verdict.startswith(broken) for verdict in verdicts), result.stdout + result.stderr
    assert result.returncode != 0
