"""Work that comes round: when it runs, what its failures do, and how it ends."""

import asyncio
import logging

import pytest

from terratunnel.server.background import Periodic
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.testing.clock import Clock, clocked, settled


class Job:
    """Fails with what it is given, and counts."""

    def __init__(self) -> None:
        self.runs = 0
        self.failure: Exception | None = None

    async def __call__(self) -> None:
        self.runs += 1
        if self.failure is not None:
            raise self.failure


@clocked
async def test_a_job_runs_at_once_and_then_each_time_and_not_before(clock: Clock) -> None:
    """At once: a server that is restarted before its hour is over would never tidy up."""
    job = Job()
    periodic = Periodic("job", 10.0, job)
    periodic.start()
    await clock.advance(9.0)
    assert job.runs == 1
    await clock.advance(22.0)
    assert job.runs == 4
    await periodic.close()
    await clock.advance(30.0)
    assert job.runs == 4


@clocked
async def test_a_job_under_way_is_finished_before_the_end(clock: Clock) -> None:
    go_on, done = asyncio.Event(), []

    async def job() -> None:
        await go_on.wait()
        done.append(True)

    periodic = Periodic("job", 1.0, job)
    periodic.start()
    await clock.advance(1.5)
    closing = asyncio.ensure_future(periodic.close())
    await settled()
    assert not closing.done()
    go_on.set()
    await closing
    assert done == [True]


async def test_what_was_never_started_ends_at_once() -> None:
    await Periodic("job", 1.0, Job()).close()


async def test_an_outage_is_told_once_and_its_end_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    job = Job()
    periodic = Periodic("job", 1.0, job)
    job.failure = StorageUnavailable("It is busy.", "test.db: locked")
    assert [await periodic.run_once() for _ in range(3)] == [False] * 3
    job.failure = None
    assert [await periodic.run_once() for _ in range(2)] == [True] * 2
    assert [record.message for record in caplog.records] == [
        "job_waits job=job reason=test.db: locked",
        "job_goes_on job=job",
    ]


@clocked
async def test_a_job_with_a_fault_is_tried_again(clock: Clock) -> None:
    logging.disable()  # it is logged with its traceback, for whoever mends it
    job = Job()
    job.failure = ValueError("a bug")
    periodic = Periodic("job", 1.0, job)
    periodic.start()
    await clock.advance(3.5)
    assert job.runs == 4
    await periodic.close()
    logging.disable(logging.NOTSET)
