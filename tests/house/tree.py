"""What the house tests look at: the files of the repository, as text and as syntax trees.

Used by `tests/house` alone. Rule: only files that belong to the project count, never an environment or a build.
"""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def project_files() -> list[Path]:
    """Tracked files and new ones that are not ignored; removed ones are gone."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    return [path for path in (ROOT / name for name in sorted(set(listed.split("\0"))) if name) if path.is_file()]


def python_files(*folders: str) -> list[Path]:
    wanted = [ROOT / folder for folder in folders]
    return [path for path in project_files() if path.suffix == ".py" and any(top in path.parents for top in wanted)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))
