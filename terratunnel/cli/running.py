"""Runs a command's coroutine on the fastest loop there is, and hears Ctrl-C and SIGTERM. Used by the commands.

Rule: the first signal asks for a good end, the second for an end; nothing here decides what those are.
"""

import asyncio
import ctypes
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


# glibc's names for what `mallopt` sets (malloc.h), and our sizes: buffers of a message's size are kept and used again.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BUFFER_BYTES: Final = 33_554_432


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end."""
    keep_large_buffers()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's where it exists (not on Windows)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def keep_large_buffers() -> None:
    """Keep freed buffers of 128 KiB and more.

    Glibc gives each back to the system, whose new pages cost bulk a third.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEPT_BUFFER_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BUFFER_BYTES)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the loop at every signal that asks to end."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        for number, handler in before.items():
            _forget(loop, number)
            signal.signal(number, handler)


def _forget(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    try:
        loop.remove_signal_handler(number)
    except NotImplementedError:  # Windows
        pass


class Stops:
    """The requests to end, for a command that waits for them; `also` hears each of them."""

    def __init__(self, also: Callable[[], None] | None = None) -> None:
        self.first: asyncio.Event = asyncio.Event()
        self.second: asyncio.Event = asyncio.Event()
        self.also: Callable[[], None] | None = also

    def __call__(self) -> None:
        """Take one request."""
        (self.second if self.first.is_set() else self.first).set()
        if self.also is not None:
            self.also()

    async def unless_second(self, work: Coroutine[Any, Any, object]) -> None:
        """Do work, and raise what it raises; a second request ends it."""
        loop = asyncio.get_running_loop()
        working = loop.create_task(work)
        waiting = loop.create_task(self.second.wait())
        try:
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            working.cancel()
        if working.done():
            await working
