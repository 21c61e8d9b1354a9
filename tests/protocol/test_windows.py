"""Receive windows: credit given back at half, growth within a budget, growth returned when it is used no more."""

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.protocol.windows import BUSY_TURN_S, GrowthBudget, ReceiveWindow

SOON, LATER = 0.1, 60.0  # less than two round trips of 0.1 s, and more


def window(capacity: int = 100, ceiling: int = 400, budget: GrowthBudget | None = None) -> ReceiveWindow:
    return ReceiveWindow(capacity, ceiling, budget or GrowthBudget(1_000), 0.0)


def use(subject: ReceiveWindow, size: int, now: float = LATER) -> int:
    assert subject.receive(size)
    return subject.consume(size, now, 0.1)


def test_more_than_the_credit_is_not_received() -> None:
    subject = window()
    assert subject.receive(100)
    assert not subject.receive(1)
    assert subject.receive(0)


def test_credit_returns_when_half_has_been_handed_on() -> None:
    subject = window()
    assert use(subject, 49) == 0
    assert use(subject, 1) == 50
    assert (subject.available, subject.due, subject.held, subject.capacity) == (100, 0, 0, 100)


def test_bytes_that_are_not_handed_on_give_no_credit() -> None:
    subject = window()
    assert subject.receive(90)
    assert subject.consume(50, LATER, 0.1) == 50
    assert (subject.available, subject.held) == (60, 40)


def test_a_window_doubles_when_half_is_used_within_two_round_trips() -> None:
    subject = window()
    assert use(subject, 50, SOON) == 150
    assert (subject.capacity, subject.available) == (200, 200)


def test_a_window_does_not_grow_for_a_slow_reader() -> None:
    subject = window()
    assert use(subject, 50) == 50
    assert use(subject, 50, 2 * LATER) == 50
    assert subject.capacity == 100


def test_a_busy_turn_of_the_loop_counts_as_a_round_trip() -> None:
    subject = window()
    assert subject.receive(100)
    assert subject.consume(50, BUSY_TURN_S / 2, 0.0) == 150
    assert subject.consume(50, BUSY_TURN_S, 0.0) == 0
    assert subject.receive(50)
    assert subject.consume(50, 2 * BUSY_TURN_S, 0.0) == 100
    assert subject.capacity == 200


def test_credit_returns_in_steps_where_they_are_smaller_than_half() -> None:
    subject = ReceiveWindow(100, 100, GrowthBudget(0), 0.0, 10)
    assert use(subject, 9) == 0
    assert use(subject, 1) == 10


def test_a_window_grows_to_its_ceiling_and_no_further() -> None:
    subject = window(ceiling=250)
    assert [use(subject, subject.capacity, SOON) for _ in range(3)] == [200, 250, 250]
    assert subject.capacity == 250


def test_a_window_above_its_ceiling_does_not_shrink() -> None:
    subject = window(ceiling=10)
    assert use(subject, 100, SOON) == 100
    assert subject.capacity == 100


def test_windows_grow_from_one_budget() -> None:
    budget = GrowthBudget(150)
    first, second = window(budget=budget), window(budget=budget)
    assert use(first, 100, SOON) == 200
    assert use(second, 100, SOON) == 100
    assert budget.left == 50


def test_growth_returns_at_the_close() -> None:
    budget = GrowthBudget(150)
    subject = window(budget=budget)
    use(subject, 100, SOON)
    subject.close()
    subject.close()
    assert budget.left == 150


def test_a_closed_window_takes_no_growth() -> None:
    budget = GrowthBudget(150)
    subject = window(budget=budget)
    assert subject.receive(100)
    subject.close()
    assert subject.consume(100, SOON, 0.1) == 0
    assert budget.left == 150


def test_handing_on_what_never_arrived_is_our_error() -> None:
    subject = window()
    assert subject.receive(10)
    with pytest.raises(LocalProtocolError, match="11 bytes handed on where 10 were held"):
        subject.consume(11, LATER, 0.1)
