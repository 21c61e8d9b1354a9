"""A clock that moves when told, and an event loop that lives by it. Used by tests of everything that waits.

Rule: sockets stay real, timers fire when the clock has come to them, and nothing sleeps.
"""

import asyncio
from collections.abc import Awaitable, Callable

# Turns of the loop after which what was going to happen on one machine has happened.
SETTLED_TURNS = 40


class Clock:
    """The time in seconds; call it for now."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass in steps, so that timers fire in their order and may set others."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + step, until)
            await turns(3)


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow a Clock; its sockets wait in real time."""

    def __init__(self, clock: Clock) -> None:
        self._told = clock
        super().__init__()

    def time(self) -> float:
        """Return what the clock says."""
        return self._told.now


async def turns(count: int = 1) -> None:
    """Let the event loop turn."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


async def settled() -> None:
    """Let the loop turn until whatever is under way between sockets of this process has come to rest."""
    await turns(SETTLED_TURNS)


def clocked(test: Callable[[Clock], Awaitable[None]]) -> Callable[[], None]:
    """Make an ordinary test of an `async def test(clock)`: it runs on a loop of its own that follows the clock."""

    def run() -> None:
        clock = Clock()
        with asyncio.Runner(loop_factory=lambda: ClockLoop(clock)) as runner:
            runner.run(_awaited(test, clock))

    run.__name__ = getattr(test, "__name__", "test")
    run.__doc__ = test.__doc__
    return run


async def _awaited(test: Callable[[Clock], Awaitable[None]], clock: Clock) -> None:
    await test(clock)
