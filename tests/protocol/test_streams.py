"""The transition table as numbers, and how a stream shows itself."""

import pytest

from terratunnel.protocol.streams import FORBIDDEN, TRANSITIONS, Input, State, Stream, next_state
from terratunnel.protocol.windows import GrowthBudget, ReceiveWindow


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", Input)
def test_the_numbers_say_what_the_table_says(state: State, what: Input) -> None:
    assert next_state(state.value, what.value) == TRANSITIONS.get((state, what), FORBIDDEN)


def test_nothing_leads_out_of_a_reset() -> None:
    assert [what for state, what in TRANSITIONS if state is State.RESET] == []


def test_only_a_reset_leads_out_of_done() -> None:
    assert [what for state, what in TRANSITIONS if state is State.DONE] == [Input.RESET]


def test_a_stream_shows_where_it_stands() -> None:
    stream = Stream(5, 10, ReceiveWindow(1, 1, GrowthBudget(0), 0.0))
    assert repr(stream) == "<Stream 5 sending=HEAD receiving=HEAD pending=0 credit=10>"
