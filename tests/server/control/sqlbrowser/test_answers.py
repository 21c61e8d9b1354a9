"""Answers: what a value looks like, and how long it may be."""

import pytest

from terratunnel.server.control.sqlbrowser.answers import MAX_CELL_CHARS, cell, size_of


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        ("text", "text"),
        (b"\x00\xff", "x'00ff'"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_a_value_is_shown_as_json_has_it(value: object, shown: object) -> None:
    assert cell(value) == shown
    assert type(cell(value)) is type(shown)


def test_a_long_text_is_cut_and_says_so() -> None:
    assert cell("x" * MAX_CELL_CHARS) == "x" * MAX_CELL_CHARS
    assert cell("x" * (MAX_CELL_CHARS + 1)) == "x" * MAX_CELL_CHARS + "…"


def test_the_size_of_a_row_counts_its_texts() -> None:
    assert size_of(["four", None, 1]) == 20
