"""Sleep is noticed by two clocks that drift apart; wall time has no say."""

import time

from terratunnel.client.wake import SleepDetector, clock_with_sleep


class Clocks:
    awake = 100.0
    always = 5000.0

    def detector(self) -> SleepDetector:
        return SleepDetector(lambda: self.awake, lambda: self.always)


def test_time_that_passes_awake_is_no_sleep() -> None:
    clocks = Clocks()
    detector = clocks.detector()
    clocks.awake += 3600.0
    clocks.always += 3600.0
    assert detector.slept_s() == 0.0


def test_a_long_sleep_is_told_once() -> None:
    clocks = Clocks()
    detector = clocks.detector()
    clocks.awake += 1.0
    clocks.always += 61.0
    assert detector.slept_s() == 60.0
    assert detector.slept_s() == 0.0


def test_short_sleeps_add_up() -> None:
    clocks = Clocks()
    detector = clocks.detector()
    clocks.always += 6.0
    assert detector.slept_s() == 0.0
    clocks.always += 6.0
    assert detector.slept_s() == 12.0


def test_the_clock_of_this_system_goes_on() -> None:
    first = clock_with_sleep()
    assert clock_with_sleep() >= first
    assert SleepDetector(time.monotonic).slept_s() == 0.0
