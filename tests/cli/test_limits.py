"""Each limit of the edge can be chosen, and the command line's defaults are those of the code."""

from dataclasses import fields

import click
from click.testing import CliRunner

from terratunnel.cli.limits import LimitOptions, edge_limits, limit_options
from terratunnel.server.config import EdgeLimits, ServerConfig

Seen = list[LimitOptions]


def given(*arguments: str, env: dict[str, str] | None = None) -> LimitOptions:
    """What a command with the options is given for these arguments."""
    seen: Seen = []

    @click.command()
    @limit_options
    def command(**options: object) -> None:
        seen.append(options)  # type: ignore[arg-type] # click's own dictionary

    result = CliRunner().invoke(command, list(arguments), env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen[0]


def values(limits: EdgeLimits) -> dict[str, object]:
    """Every limit as a plain value."""
    plain = {field.name: getattr(limits, field.name) for field in fields(limits) if field.name != "head"}
    return plain | {"head": (limits.head.max_head_bytes, limits.head.max_fields)}


def test_the_defaults_are_those_of_the_code() -> None:
    options = given()
    assert values(edge_limits(options, EdgeLimits().streaming_threshold)) == values(EdgeLimits())
    assert options["drain_timeout"] == ServerConfig().drain_s


def test_each_limit_has_an_option_of_its_own() -> None:
    options = given()
    numbers = {name: 1_000 + place for place, name in enumerate(options)}
    chosen = {name: number if name != "max_head_fields" else 321 for name, number in numbers.items()}
    arguments = [f"--{name.replace('_', '-')}={number}" for name, number in chosen.items()]
    limits = values(edge_limits(given(*arguments), 999))
    read = [value for value in limits.values() if not isinstance(value, tuple)] + list(limits["head"])  # type: ignore[call-overload] # a pair
    assert sorted(read) == sorted([999, *(number for name, number in chosen.items() if name != "drain_timeout")])


def test_a_variable_says_the_same_as_the_option() -> None:
    env = {"TERRATUNNEL_HEAD_TIMEOUT": "0.5", "TERRATUNNEL_MAX_HEAD_FIELDS": "7"}
    limits = edge_limits(given(env=env), 0)
    assert (limits.head_timeout_s, limits.head.max_fields) == (0.5, 7)
