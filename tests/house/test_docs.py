"""The files a stranger reads are true: variables, requirements, docstrings, and nothing about one machine."""

import ast
import re
from pathlib import Path

import click
import pytest

from terratunnel.cli.main import main
from tests.house.tree import ROOT, name, project_files, python_files, tree

VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
# Strings in that form that are no variables -> what they are.
NOT_VARIABLES = {"AF_UNIX": "a kind of socket", "TCP_NOTSENT_LOWAT": "an option of sockets"}

EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
ASSIGNMENTS = re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE)
DOCUMENTED = [variable for variable, _ in ASSIGNMENTS]
REQUIREMENTS = [path for path in project_files() if re.fullmatch(r"requirements.*\.(txt|in)", path.name)]
# Pieces in brackets, so that this file does not match itself.
MACHINE = re.compile(
    r"(?<![\w.*-])/(?:[r]oot|[w]ork|[f]arm|[U]sers/\w+|[h]ome/\w+|[t]mp/tv|[t]mp/briefs)/"
    r"|\b(?:py[p]i|pythonh[o]sted|npm[j]s|g[o]proxy|cr[a]tes)\.(?:org|io|com)\b"
)


def variable_names(module: ast.Module) -> set[str]:
    """Strings that look like the name of a variable, however the code comes to read it."""
    texts = [node.value for node in ast.walk(module) if isinstance(node, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and VARIABLE.fullmatch(text)}


def options(command: click.Command) -> list[click.Parameter]:
    """The options of a command, and of the commands below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(option for each in below for option in options(each))]


def option_variables() -> dict[str, click.Parameter]:
    return {option.envvar: option for option in options(main) if isinstance(option.envvar, str)}


def read_variables() -> set[str]:
    written = {text for path in python_files("terratunnel") for text in variable_names(tree(path))}
    return (written | set(option_variables())) - set(NOT_VARIABLES)


def test_every_variable_that_the_code_reads_is_in_the_example() -> None:
    assert sorted(read_variables() - set(DOCUMENTED)) == []


def test_every_variable_in_the_example_is_read_by_the_code() -> None:
    assert sorted(set(DOCUMENTED) - read_variables()) == []


@pytest.mark.parametrize(
    "source", ["os.environ['SOME_NAME']", "getenv('SOME_NAME', '1')", "option('--some', envvar='SOME_NAME')"]
)
def test_a_variable_is_found_however_it_is_read(source: str) -> None:
    assert variable_names(ast.parse(source)) == {"SOME_NAME"}


def test_the_example_names_each_variable_once() -> None:
    assert sorted(DOCUMENTED) == sorted(set(DOCUMENTED))


def test_the_example_gives_the_defaults_of_the_options() -> None:
    optional = {variable: option for variable, option in option_variables().items() if not option.required}
    defaults = {variable: str(option.default).lower() for variable, option in optional.items() if option.default}
    given = {variable: value.lower() for variable, value in ASSIGNMENTS if variable in defaults}
    assert given == defaults


def test_the_example_sets_nothing_by_itself() -> None:
    assert [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")] == []


@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=name)
def test_requirements_name_no_host(requirements: Path) -> None:
    text = requirements.read_text()
    assert re.findall(r"\w+://\S+|^-\S+.*|--(?:extra-)?index\S*|--find-links\S*|--trusted-host\S*", text, re.M) == []


@pytest.mark.parametrize("requirements", REQUIREMENTS, ids=name)
def test_every_requirement_is_pinned_with_hashes(requirements: Path) -> None:
    text = requirements.read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n?", "", text, flags=re.M).strip())
    assert entries
    assert [e for e in entries if not re.match(r"[a-z0-9-]+==\S+.*\\\n +--hash=sha256:[0-9a-f]{64}", e)] == []


def test_every_module_says_what_it_is_for() -> None:
    code = python_files("terratunnel", "bench", "fuzz", "tests/house")
    assert [name(path) for path in code if not ast.get_docstring(tree(path))] == []


@pytest.mark.parametrize("page", [path for path in project_files() if path.suffix == ".md"], ids=name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:terratunnel|tests|bench|fuzz|docs)/[\w./-]*)`", text)
    linked = [str((page.parent / link).relative_to(ROOT)) for link in re.findall(r"\]\(([\w./-]+)\)", text)]
    assert [path for path in named + linked if not (ROOT / path).exists() and "/x/" not in path] == []


def test_every_target_that_a_page_names_is_made() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    pages = "\n".join(path.read_text(encoding="utf-8") for path in project_files() if path.suffix == ".md")
    assert set(re.findall(r"(?:^|`) *make ([a-z]+)", pages, re.MULTILINE)) - targets == set()


@pytest.mark.parametrize("line", ["cd /ro~ot/x", "open('/ho~me/ann/a')", "see https://py~pi.org/x", "(/wo~rk/main)"])
def test_a_machine_or_registry_is_found(line: str) -> None:
    assert MACHINE.search(line.replace("~", ""))


@pytest.mark.parametrize("line", ["GET /a/work/1", "terratunnel.example.com/home", "docs/root/x", "/workers/1"])
def test_a_path_of_the_web_is_no_machine(line: str) -> None:
    assert not MACHINE.search(line)


def test_no_file_tells_of_one_machine_or_registry() -> None:
    found = []
    for path in project_files():
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        found += [f"{name(path)}:{number}" for number, line in enumerate(lines, 1) if MACHINE.search(line)]
    assert found == []
