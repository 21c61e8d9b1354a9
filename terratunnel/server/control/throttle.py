"""How often one address may try what needs no sign-in. Used by the API and the sign-in pages.

Rule: the memory of it is bounded; when there are too many addresses the one that tried longest ago is forgotten.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from terratunnel.errors import TerratunnelError

# An office, or a proxy in front of the server, is one address; whoever guesses gets nowhere at this rate.
TRIES: Final = 60
WINDOW_S: Final = 60.0
MAX_ADDRESSES: Final = 10_000


class TooManyTries(TerratunnelError):
    """Come back later."""

    status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"Too many tries from this address; try again in {wait_s} s.")
        self.wait_s = wait_s


class Throttle:
    """Counts tries in windows that begin with the first of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str) -> None:
        """Note a try. Raises TooManyTries."""
        now = self._clock()
        began, tries = self._windows.pop(address, (now, 0))
        if now - began >= WINDOW_S:
            began, tries = now, 0
        self._windows[address] = (began, tries + 1)
        if len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        if tries >= TRIES:
            raise TooManyTries(int(began + WINDOW_S - now) + 1)
