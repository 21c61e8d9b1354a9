"""The clock moves when told, and timers follow it."""

import asyncio
import time

from terratunnel.testing.clock import Clock, ClockLoop, clocked, settled, turns


@clocked
async def test_timers_fire_when_the_clock_has_come_to_them_in_their_order(clock: Clock) -> None:
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    start = clock()
    for delay in (3.0, 1.0, 2.0):
        loop.call_later(delay, lambda: fired.append(clock() - start))
    await clock.advance(0.9)
    assert fired == []
    await clock.advance(10)
    assert fired == [1.0, 2.0, 3.0] or [round(at) for at in fired] == [1, 2, 3]


@clocked
async def test_a_timer_may_set_another_that_fires_in_the_same_advance(clock: Clock) -> None:
    fired: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_later(1, lambda: loop.call_later(1, fired.append, "second"))
    await clock.advance(3)
    assert fired == ["second"]


@clocked
async def test_no_real_time_passes(clock: Clock) -> None:
    began = time.monotonic()
    await clock.advance(3_600, step=60)
    assert time.monotonic() - began < 5
    assert clock() == clock.now == 4_600.0


async def test_a_turn_runs_what_was_ready() -> None:
    ran: list[int] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(ran.append, 1)
    await turns()
    assert ran == [1]
    loop.call_soon(lambda: loop.call_soon(ran.append, 2))
    await settled()
    assert ran == [1, 2]


def test_a_clocked_test_keeps_its_name_and_takes_no_fixture() -> None:
    async def test_something(clock: Clock) -> None:
        """What it is about."""

    run = clocked(test_something)
    assert (run.__name__, run.__doc__) == ("test_something", "What it is about.")
    assert run.__code__.co_argcount == 0


def test_a_loop_tells_the_time_of_its_clock() -> None:
    loop = ClockLoop(Clock(5.0))
    assert loop.time() == 5.0
    loop.close()
