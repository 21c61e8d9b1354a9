"""Tries without a sign-in: so many a minute for each address, and a bound on how many addresses are remembered."""

import pytest

from terratunnel.server.control import throttle
from terratunnel.server.control.throttle import TRIES, WINDOW_S, Throttle, TooManyTries
from terratunnel.testing.clock import Clock


def test_an_address_may_try_so_often_and_then_waits() -> None:
    clock = Clock(100.0)
    counting = Throttle(clock)
    for _ in range(TRIES):
        counting.count("203.0.113.7")
    with pytest.raises(TooManyTries, match="try again in 61 s"):
        counting.count("203.0.113.7")
    counting.count("203.0.113.8")


async def test_after_the_window_it_may_try_again() -> None:
    clock = Clock(100.0)
    counting = Throttle(clock)
    for _ in range(TRIES):
        counting.count("203.0.113.7")
    await clock.advance(WINDOW_S)
    counting.count("203.0.113.7")


def test_the_address_that_tried_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_ADDRESSES", 2)
    counting = Throttle(Clock(100.0))
    for _ in range(TRIES):
        counting.count("a")
    counting.count("b")
    with pytest.raises(TooManyTries):
        counting.count("a")  # which has just tried again, so b is the oldest now
    counting.count("c")
    with pytest.raises(TooManyTries):
        counting.count("a")
