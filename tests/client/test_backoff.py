"""The times between tries, on a fake clock."""

import random

import pytest

from terratunnel.client import backoff
from terratunnel.client.backoff import Backoff


def delays(tries: Backoff, now: float, until: float) -> list[tuple[float, float]]:
    """`(time, delay)` of every try of an outage that lasts from `now` to `until`."""
    found = []
    while now < until:
        delay = tries.next_delay(now)
        found.append((now, delay))
        now += delay + 0.01
    return found


def test_the_first_retry_is_at_once() -> None:
    tries = Backoff(random.random)
    tries.link_opened(0.0)
    assert tries.next_delay(1000.0) == 0.0


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_no_wait_of_the_first_minute_is_over_two_seconds(chance: float) -> None:
    waits = delays(Backoff(lambda: chance), 100.0, 100.0 + backoff.QUICK_FOR_S)
    assert max(delay for _, delay in waits) <= 2.0
    assert len(waits) < 120


def test_the_waits_grow_to_half_a_minute_and_not_beyond() -> None:
    waits = delays(Backoff(lambda: 0.999), 0.0, 3600.0)
    later = [delay for now, delay in waits if now > 300.0]
    assert min(later) > 25.0
    assert max(later) <= backoff.SLOW_MAX_S


def test_chance_spreads_the_clients_of_one_server() -> None:
    def third_wait(seed: int) -> float:
        tries = Backoff(random.Random(seed).random)
        return [tries.next_delay(float(now)) for now in range(3)][-1]

    waits = {third_wait(seed) for seed in range(50)}
    assert len(waits) == 50
    assert max(waits) - min(waits) > 0.1


def test_a_server_that_accepts_and_drops_is_not_hammered() -> None:
    tries = Backoff(lambda: 0.5)
    now, count = 0.0, 0
    while now < 600.0:
        now += tries.next_delay(now) + 0.01
        tries.link_opened(now)
        count += 1
    assert count < 100


def test_a_link_that_lived_begins_a_new_outage() -> None:
    tries = Backoff(lambda: 0.5)
    delays(tries, 0.0, 600.0)
    tries.link_opened(600.0)
    assert tries.next_delay(600.0 + backoff.STABLE_AFTER_S) == 0.0
