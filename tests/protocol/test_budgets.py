"""Rate budgets: two seconds' worth at once, then the rate, whatever went before."""

import pytest

from terratunnel.protocol.budgets import RateBudget
from terratunnel.protocol.errors import GoAwayCode, LinkError


def drain(budget: RateBudget, now: float) -> int:
    taken = 0
    while budget.take(now):
        taken += 1
    return taken


def test_two_seconds_worth_is_there_at_once() -> None:
    assert drain(RateBudget("things", 10, 5.0), 5.0) == 20


def test_it_refills_with_time_and_never_above_full() -> None:
    budget = RateBudget("things", 10, 0.0)
    assert [drain(budget, now) for now in (0.0, 0.5, 1.5, 100.0)] == [20, 5, 10, 20]


def test_a_full_bucket_saves_nothing_for_later() -> None:
    assert drain(RateBudget("things", 10, 0.0), 60.0) == 20


def test_looking_takes_nothing() -> None:
    budget = RateBudget("things", 0.5, 0.0)
    assert budget.has_token(0.0)
    assert drain(budget, 0.0) == 1
    assert not budget.has_token(0.0)


def test_over_it_the_link_ends_with_its_name_and_rate() -> None:
    budget = RateBudget("resets", 1, 0.0)
    budget.spend(0.0)
    budget.spend(0.0)
    with pytest.raises(LinkError, match="resets: more than 1 per second") as caught:
        budget.spend(0.0)
    assert caught.value.code is GoAwayCode.BUDGET_EXCEEDED
