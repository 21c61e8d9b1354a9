"""The pace of bulk beside other streams: it yields to delay, and takes what adds none."""

from terratunnel.protocol.pacing import FLOOR_BYTES, START_BYTES, STEP_BYTES, TARGET_DELAY_S, Pacer

CEILING = 8_388_608
BASE = 0.020


def pacer() -> Pacer:
    made = Pacer(CEILING)
    made.measured(BASE, False)
    return made


def test_the_shortest_round_trip_is_kept() -> None:
    subject = Pacer(CEILING)
    assert subject.round_trip_s == 0.0
    for sample in (0.3, 0.1, 0.2):
        subject.measured(sample, False)
    assert subject.round_trip_s == 0.1
    assert subject.limit == START_BYTES


def test_a_round_trip_without_load_moves_nothing() -> None:
    subject = pacer()
    subject.measured(BASE + 10 * TARGET_DELAY_S, False)
    assert subject.limit == START_BYTES


def test_the_limit_rises_to_the_ceiling_while_delay_is_small() -> None:
    subject = pacer()
    subject.measured(BASE + TARGET_DELAY_S / 2, True)
    assert subject.limit == START_BYTES + STEP_BYTES
    for _ in range(100):
        subject.measured(BASE, True)
    assert subject.limit == CEILING


def test_the_limit_falls_to_the_floor_while_delay_is_large() -> None:
    subject = pacer()
    subject.measured(BASE + 2 * TARGET_DELAY_S, True)
    assert subject.limit == START_BYTES * 3 // 4
    for _ in range(100):
        subject.measured(BASE + 2 * TARGET_DELAY_S, True)
    assert subject.limit == FLOOR_BYTES


def test_a_small_link_window_is_the_limit() -> None:
    subject = pacer()
    subject.set_ceiling(100)
    assert subject.limit == 100
    subject.measured(BASE + 2 * TARGET_DELAY_S, True)
    assert subject.limit == 100
