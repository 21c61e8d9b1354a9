"""Options for what a visitor may do and for how long anything may wait. Used by `cli.server`.

Rule: there is one for each limit of `EdgeLimits`, in the order of a request; their defaults are those of the code.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

import click

if TYPE_CHECKING:
    from terratunnel.server.config import EdgeLimits

Command = TypeVar("Command", bound=Callable[..., Any])


class LimitOptions(TypedDict):
    """What can be said about visitors. Sizes in bytes, times in seconds."""

    max_head_size: int
    max_head_fields: int
    head_timeout: float
    keep_alive_timeout: float
    max_request_size: int
    body_timeout: float
    min_body_rate: int
    queue_timeout: float
    response_timeout: float
    max_response_size: int
    write_timeout: float
    linger_timeout: float
    drain_timeout: float


_BYTES: Final = click.IntRange(min=0)
# What still fits a HEADERS frame with what the server adds (spec §8: 65,536 bytes, 1,024 strings).
_HEAD_BYTES: Final = click.IntRange(256, 49_152)
_FIELDS: Final = click.IntRange(1, 500)
_SECONDS: Final = click.FloatRange(min=0, min_open=True)

# option, type, default, help; the variable is TERRATUNNEL_ and the option's name.
_LIMITS: Final[tuple[tuple[str, click.IntRange | click.FloatRange, int | float, str], ...]] = (
    ("max-head-size", _HEAD_BYTES, 16_384, "Largest head of a request in bytes; then 431 or 414."),
    ("max-head-fields", _FIELDS, 100, "Most fields in a head; then 431."),
    ("head-timeout", _SECONDS, 10.0, "Seconds for a head to arrive; then 408."),
    ("keep-alive-timeout", _SECONDS, 75.0, "Seconds that a visitor's connection may be idle."),
    ("max-request-size", _BYTES, 52_428_800, "Largest body of a request in bytes. 0: none."),
    ("body-timeout", _SECONDS, 30.0, "Seconds over which the speed of a request's body is measured; then 408."),
    ("min-body-rate", _BYTES, 100, "Slowest speed of it in bytes per second."),
    ("queue-timeout", _SECONDS, 10.0, "Seconds that a request waits while its tunnel is full; then 503."),
    ("response-timeout", _SECONDS, 600.0, "Seconds until a tunnel answers; then 504. Clients have a shorter one."),
    ("max-response-size", _BYTES, 52_428_800, "Largest body of a response in bytes. 0: none."),
    ("write-timeout", _SECONDS, 60.0, "Seconds in which a visitor must read something of what waits."),
    ("linger-timeout", _SECONDS, 2.0, "Seconds of reading on after a final answer, so that the visitor sees it."),
    ("drain-timeout", _SECONDS, 30.0, "Seconds to finish what is under way when the server is told to stop."),
)


def limit_options(command: Command) -> Command:
    """Add them all."""
    for name, kind, default, text in reversed(_LIMITS):
        variable = f"TERRATUNNEL_{name.replace('-', '_').upper()}"
        option = click.option(f"--{name}", envvar=variable, type=kind, default=default, show_default=True, help=text)
        command = option(command)
    return command


def edge_limits(given: LimitOptions, streaming_threshold: int) -> "EdgeLimits":
    """Return the limits that options describe."""
    from terratunnel.http1.parser import HeadLimits
    from terratunnel.server.config import EdgeLimits

    return EdgeLimits(
        max_request_bytes=given["max_request_size"],
        max_response_bytes=given["max_response_size"],
        head=HeadLimits(given["max_head_size"], given["max_head_fields"]),
        head_timeout_s=given["head_timeout"],
        keep_alive_s=given["keep_alive_timeout"],
        body_timeout_s=given["body_timeout"],
        write_timeout_s=given["write_timeout"],
        response_timeout_s=given["response_timeout"],
        min_body_bytes_per_s=given["min_body_rate"],
        queue_timeout_s=given["queue_timeout"],
        linger_s=given["linger_timeout"],
        streaming_threshold=streaming_threshold,
    )
