"""Rows that only concern Terratunnel: memory of idle processes and idle agents, and start-up times.

Used by `bench.__main__`. They start servers of their own, so the ones under load are left alone.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.errors import BenchError
from bench.figures import OURS, at_most
from bench.lab import Lab, say
from bench.probe import answers, wait_for
from bench.processes import REPOSITORY
from bench.product import Product, Server

IDLE_AGENTS: Final = 1000
WARM_AGENTS: Final = 20
SETTLE_S: Final = 6.0


def start(lab: Lab) -> None:
    """Command to a ready server; client's command to the first answered request."""
    server_s = lab.figures.add("start/server", "server: command to ready", "s", at_most(1.0))
    client_s = lab.figures.add("start/client", "client: command to first answer", "s", at_most(1.0))
    if lab.product is None:
        return
    for _ in range(lab.cycles):
        with ExitStack() as stack:
            server = lab.product.start_server(lab.folder, stack)
            agent = lab.product.start_agent(server, lab.service.port, "starting client", lab.folder, stack)
            answered = wait_for(answers(agent.address), [agent.process])
            server_s.record(OURS, server.ready_s)
            client_s.record(OURS, answered - agent.process.started)
    say(f"start: server {server_s.median(OURS):.2f} s, client {client_s.median(OURS):.2f} s")


def memory(lab: Lab) -> None:
    """Server memory per idle agent. What each process used in the other rows is noted there and reported with this."""
    figure = lab.figures.add("memory/agent", f"server memory per idle client ({IDLE_AGENTS})", "KiB", at_most(32))
    if lab.product is None:
        return
    try:
        figure.record(OURS, _per_idle_agent(lab, lab.product))
    except BenchError as error:
        lab.failures.append(f"memory, {OURS}: {error}")
        figure.record(OURS, None)
    say(f"memory: {figure.median(OURS)} KiB per idle client")


def _per_idle_agent(lab: Lab, product: Product) -> float:
    with ExitStack() as stack:
        server = product.start_server(lab.folder, stack)
        with _idle_agents(product, server, WARM_AGENTS):
            before = server.process.rss_kib()
            with _idle_agents(product, server, IDLE_AGENTS):
                # Past the first pings, so that whatever liveness allocates is there.
                time.sleep(SETTLE_S)
                return (server.process.rss_kib() - before) / IDLE_AGENTS


@contextmanager
def _idle_agents(product: Product, server: Server, count: int) -> Iterator[None]:
    command = [product.python, "-m", "bench.load.idle", f"ws://127.0.0.1:{server.port}/ws", str(count)]
    env = product.env | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    loader = subprocess.Popen(command, cwd=REPOSITORY, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        if loader.stdout is None or loader.stdout.readline() != b"ready\n":
            raise BenchError(f"{count} idle clients could not connect: {_last_line(loader)}")
        yield
        if loader.poll() is not None:
            raise BenchError(f"idle clients did not stay connected: {_last_line(loader)}")
    finally:
        loader.kill()
        loader.communicate()


def _last_line(loader: subprocess.Popen[bytes]) -> str:
    return loader.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
