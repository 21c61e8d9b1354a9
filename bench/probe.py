"""Questions put to a running system: one request, a JSON API, "is it ready yet".

Used by `bench.subjects` and `bench.product` outside of measured bursts.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Final

from bench.errors import BenchError
from bench.loads import Address
from bench.processes import Process

READY_S: Final = 20.0
POLL_S: Final = 0.005


def answers(address: Address, path: str = "/") -> Callable[[], bool]:
    """A question for `wait_for`: does a GET bring a 200?"""
    return lambda: fetch(address, path) is not None


def fetch(address: Address, path: str, body: bytes | None = None) -> bytes | None:
    """The body of a 200 answer, None for everything else."""
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=10)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"Host": address.host})
        response = connection.getresponse()
        content = response.read()
        return content if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for(ready: Callable[[], bool], processes: list[Process]) -> float:
    """Poll until something is ready; returns the monotonic time of it. Fails when a process dies or time runs out."""
    deadline = time.monotonic() + READY_S
    while not ready():
        for process in processes:
            process.check_alive()
        if time.monotonic() > deadline:
            names = ", ".join(process.label for process in processes)
            raise BenchError(f"{names} not ready within {READY_S:.0f} s; see {processes[0].log}")
        time.sleep(POLL_S)
    return time.monotonic()


def fetch_json(port: int, path: str) -> dict[str, object]:
    """A JSON object from a local API, empty when there is none yet."""
    content = fetch(Address(port, f"127.0.0.1:{port}"), path)
    value = json.loads(content) if content else {}
    return value if isinstance(value, dict) else {}
