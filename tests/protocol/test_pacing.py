"""The pace of bulk beside other streams: it yields to delay, and takes what adds none."""

import pytest

from terratunnel.protocol.pacing import (
    AGING_GAIN,
    FLOOR_BYTES,
    START_BYTES,
    STEP_BYTES,
    TARGET_DELAY_S,
    TARGET_SHARE,
    Pacer,
)

CEILING = 8_388_608
BASE = 0.001
LONG = 0.100


def pacer(base: float = BASE) -> Pacer:
    made = Pacer(CEILING)
    made.measured(base, False)
    return made


def load(subject: Pacer, sample: float, times: int) -> None:
    for _ in range(times):
        subject.measured(sample, True)


def test_the_shortest_round_trip_is_kept_while_there_is_load() -> None:
    subject = Pacer(CEILING)
    assert subject.round_trip_s == 0.0
    for sample in (0.3, 0.1, 0.2):
        subject.measured(sample, True)
    assert subject.round_trip_s == 0.1


def test_a_path_that_became_longer_is_believed_slowly() -> None:
    subject = pacer(LONG)
    subject.measured(2 * LONG, False)
    assert subject.round_trip_s == pytest.approx(LONG * (1 + AGING_GAIN))
    assert subject.limit == START_BYTES


def test_the_limit_rises_to_the_ceiling_while_delay_is_small() -> None:
    subject = pacer()
    load(subject, BASE + TARGET_DELAY_S / 2, 1)
    assert subject.limit == START_BYTES + STEP_BYTES
    load(subject, BASE, 100)
    assert subject.limit == CEILING


def test_the_limit_falls_to_the_floor_while_delay_is_large() -> None:
    subject = pacer()
    load(subject, BASE + 10 * TARGET_DELAY_S, 100)
    assert subject.limit == FLOOR_BYTES


def test_one_late_answer_is_not_a_queue() -> None:
    subject = pacer()
    load(subject, BASE + 3 * TARGET_DELAY_S, 1)
    assert subject.limit == START_BYTES + STEP_BYTES
    load(subject, BASE + 3 * TARGET_DELAY_S, 3)
    assert subject.limit < START_BYTES + STEP_BYTES


def test_a_long_path_may_have_a_longer_queue() -> None:
    subject = pacer(LONG)
    load(subject, LONG * (1 + TARGET_SHARE * 0.9), 100)
    assert subject.limit == CEILING


def test_a_small_link_window_is_the_limit() -> None:
    subject = pacer()
    subject.set_ceiling(100)
    assert subject.limit == 100
    load(subject, BASE + 10 * TARGET_DELAY_S, 10)
    assert subject.limit == 100
