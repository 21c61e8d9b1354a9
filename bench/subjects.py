"""What stands between visitor and service: nothing, nginx hops, or a bad relay. Terratunnel is in `bench.product`.

Used by `bench.lab`. A subject is two addresses (everything, uploads) and the processes between.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import nginx
from bench.errors import BenchError
from bench.loads import Address
from bench.probe import answers, fetch, wait_for
from bench.processes import REPOSITORY, Process, free_port

CHECK_UPLOAD_BYTES: Final = 1_000_000


@dataclass(slots=True)
class Subject:
    """One way from a visitor to the service."""

    name: str
    target: Address
    upload: Address
    processes: list[Process] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Service:
    """The local service: nginx with the file, and the sink for uploads."""

    port: int
    sink_port: int
    file_sha256: str


def start_service(folder: Path, stack: ExitStack) -> Service:
    """Make the file, start the service and the sink."""
    block = os.urandom(1_000_000)
    content = block * (nginx.FILE_BYTES // len(block))
    (folder / "file").write_bytes(content)
    service = Service(free_port(), free_port(), hashlib.sha256(content).hexdigest())
    own(stack, nginx.start("service", folder, nginx.service(service.port, folder)))
    command = [sys.executable, "-m", "bench.load.sink", str(service.sink_port)]
    sink = own(stack, Process("sink", command, folder, cwd=REPOSITORY))
    for port in (service.port, service.sink_port):
        wait_for(answers(Address(port, "bench")), [sink])
    return service


def direct(service: Service) -> Subject:
    """The service with nothing between."""
    return Subject("direct", Address(service.port, "bench"), Address(service.sink_port, "bench"))


def hops(name: str, count: int, service: Service, folder: Path, stack: ExitStack) -> Subject:
    """A chain of reference nginx, one worker each."""
    port, sink_port = service.port, service.sink_port
    processes: list[Process] = []
    for number in range(count, 0, -1):
        own_port = free_port()
        process = own(stack, nginx.start(f"{name} {number}", folder, nginx.hop(own_port, port, sink_port)))
        port = sink_port = own_port
        wait_for(answers(Address(port, "bench")), [process])
        process.follow_child()
        process.label = f"hop {number}"
        processes.insert(0, process)
    return Subject(name, Address(port, "bench"), Address(port, "bench"), processes)


def careless(name: str, behind: Subject, folder: Path, stack: ExitStack) -> Subject:
    """The negative control: a bad relay in front of a good subject."""
    port = free_port()
    command = [sys.executable, "-m", "bench.load.careless", str(port), str(behind.target.port)]
    process = own(stack, Process("careless relay", command, folder, cwd=REPOSITORY))
    wait_for(answers(Address(port, "bench")), [process])
    return Subject(name, Address(port, "bench"), Address(port, "bench"), [process])


def verify(subject: Subject, service: Service) -> None:
    """Before anything is measured: does it carry the bytes?"""
    if fetch(subject.target, "/") != nginx.SMALL_BODY:
        raise BenchError(f"{subject.name} does not deliver the small answer")
    if hashlib.sha256(fetch(subject.target, "/file") or b"").hexdigest() != service.file_sha256:
        raise BenchError(f"{subject.name} does not deliver the 100 MB file as it is")
    if fetch(subject.target, "/", bytes(1024)) != nginx.SMALL_BODY:
        raise BenchError(f"{subject.name} does not carry a POST")
    if fetch(subject.upload, "/upload", bytes(CHECK_UPLOAD_BYTES)) != str(CHECK_UPLOAD_BYTES).encode():
        raise BenchError(f"{subject.name} does not carry an upload with its Content-Length")


def own(stack: ExitStack, process: Process) -> Process:
    """Tie a process to the end of the run."""
    stack.callback(process.stop)
    return process
