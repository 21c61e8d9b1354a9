"""The program as a whole: its help, its errors, and where options come from."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from terratunnel import __version__
from terratunnel.cli.main import load_env_file, main, show_everything
from terratunnel.errors import TerratunnelError
from tests.cli.program import ROOT, run

FAILURES = {
    "ours": TerratunnelError("The door is \x1b[2J shut."),
    "package": ModuleNotFoundError("No module named 'coolname.x'", name="coolname.x"),
    "own-module": ModuleNotFoundError("No module named 'terratunnel.x'", name="terratunnel.x"),
    "bug": ZeroDivisionError("a bug"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "long": OSError(errno.ENAMETOOLONG, "File name too long", "a\x1bb.db"),
    "gone": BrokenPipeError(errno.EPIPE, "Broken pipe"),
}


@click.command()
@click.argument("kind")
def fail(kind: str) -> None:
    """Fail in a way of the test's choosing."""
    raise FAILURES[kind]


@click.command()
@click.option("--word", envvar="TERRATUNNEL_SERVER_URL", default="default")
def say(word: str) -> None:
    """Say where an option came from."""
    click.echo(word)


@pytest.fixture(autouse=True)
def own_commands() -> Iterator[None]:
    main.add_command(fail)
    main.add_command(say)
    yield
    del main.commands["fail"], main.commands["say"]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="terratunnel")


def test_it_says_its_version() -> None:
    assert invoke("--version").output == f"terratunnel, version {__version__}\n"


def test_the_module_is_the_same_program() -> None:
    assert run("--version") == (0, f"terratunnel, version {__version__}\n", "")


@pytest.mark.parametrize("name", ["server", "client", "http", "demo", "login", "logout", "whoami", "admin"])
def test_every_command_explains_itself(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert main.commands[name].get_short_help_str(100) in result.output


def test_help_imports_nothing_that_a_command_runs() -> None:
    code = (
        "import sys; from terratunnel.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    heavy = {"asyncio", "dotenv", "rich", "sqlalchemy", "ssl", "starlette", "uvicorn", "uvloop", "websockets"}
    assert "terratunnel.cli.demo" in result.stderr.split()
    assert heavy & set(result.stderr.split()) == set()


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("client", "--nonsense"), ("http",)])
def test_wrong_usage_is_status_2_and_shows_how(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "--help" in result.output
    assert "Error: " in result.output


def test_our_errors_are_one_sentence_without_controls() -> None:
    result = invoke("fail", "ours")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: The door is \\x1b[2J shut.\n")


def test_a_missing_package_says_what_to_install() -> None:
    result = invoke("fail", "package")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The package coolname.x is missing; ")
    assert "terratunnel[server]" in result.stderr


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("full", "Error: No space left on device.\n"), ("long", "Error: a\\x1bb.db: File name too long.\n"), ("gone", "")],
)
def test_what_the_system_refuses_is_one_sentence(kind: str, sentence: str) -> None:
    result = invoke("fail", kind)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence)


@pytest.mark.skipif(os.name != "posix", reason="no shell that closes streams")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_program_whose_streams_were_closed_runs_all_the_same(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m terratunnel admin database migrate {closed}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "terratunnel.db").is_file()


@pytest.mark.parametrize("kind", ["own-module", "bug"])
def test_a_bug_keeps_its_traceback(kind: str) -> None:
    assert invoke("fail", kind).exception is FAILURES[kind]


def test_env_file_is_read_from_the_working_directory(tmp_path: Path) -> None:
    assert invoke("say").stdout == "default\n"
    (tmp_path / ".env").write_text("# a comment\nTERRATUNNEL_SERVER_URL=wss://from.file\n")
    assert invoke("say").stdout == "wss://from.file\n"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("TERRATUNNEL_SERVER_URL=wss://from.file\n")
    monkeypatch.setenv("TERRATUNNEL_SERVER_URL", "wss://from.environment")
    assert invoke("say").stdout == "wss://from.environment\n"


def test_a_flag_wins_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("TERRATUNNEL_SERVER_URL=wss://from.file\n")
    monkeypatch.setenv("TERRATUNNEL_SERVER_URL", "wss://from.environment")
    assert invoke("say", "--word", "wss://from.flag").stdout == "wss://from.flag\n"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRATUNNEL_SERVER_URL", "")
    assert invoke("say").stdout == "default\n"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"A=\xff"])
def test_an_env_file_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    result = invoke("say")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The file .env cannot be read: ")


def test_an_env_file_that_cannot_be_looked_for_is_an_error() -> None:
    with pytest.raises(click.ClickException, match="cannot be read: File name too long"):
        load_env_file(Path("x" * 300))


def test_no_env_file_is_fine(tmp_path: Path) -> None:
    load_env_file(tmp_path / "missing")
    load_env_file(tmp_path)


@pytest.mark.parametrize("level", ["DEBUG", "error"])
def test_the_log_level_is_ours(level: str) -> None:
    invoke("--log-level", level, "say")
    assert logging.getLogger("terratunnel").level == getattr(logging, level.upper())
    assert logging.getLogger().level == logging.WARNING


def test_a_terminal_of_another_age_shows_numbers() -> None:
    code = "import sys; from terratunnel.cli.main import show_everything\nshow_everything(sys.stdout); print('\\u2026')"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
    assert result.stdout == "\\u2026\n"


def test_a_stream_without_an_encoding_is_left_alone() -> None:
    class Plain:
        """No reconfigure."""

    show_everything(Plain())  # type: ignore[arg-type]
