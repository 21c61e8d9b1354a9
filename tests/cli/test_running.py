"""Signals: the first asks for a good end, the second for an end."""

import asyncio
import os
import signal
import sys

import pytest

from terratunnel.cli.running import Stops, loop_factory, run, stopping

LIMIT_S = 20.0


async def test_the_second_request_is_not_the_first() -> None:
    heard: list[int] = []
    stops = Stops(lambda: heard.append(1))
    stops()
    assert stops.first.is_set()
    assert not stops.second.is_set()
    stops()
    assert stops.second.is_set()
    assert heard == [1, 1]


async def test_work_that_ends_is_not_disturbed() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    await Stops().unless_second(work())
    assert done == [1]


async def test_a_second_request_ends_the_work() -> None:
    stops = Stops()
    stops()
    asyncio.get_running_loop().call_soon(stops)
    async with asyncio.timeout(LIMIT_S):
        await stops.unless_second(asyncio.Event().wait())


async def test_a_fault_in_the_work_is_not_lost() -> None:
    async def work() -> None:
        raise OSError("a fault")

    with pytest.raises(OSError, match="a fault"):
        await Stops().unless_second(work())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_is_heard_in_the_loop_and_no_longer(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    heard = asyncio.Event()
    with stopping(heard.set):
        os.kill(os.getpid(), number)
        async with asyncio.timeout(LIMIT_S):
            await heard.wait()
    assert signal.getsignal(number) == before


def test_the_loop_is_the_fast_one_where_it_exists() -> None:
    async def name() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(name()) == ("asyncio" if sys.platform == "win32" else "uvloop")


def test_without_uvloop_asyncio_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is asyncio.new_event_loop
