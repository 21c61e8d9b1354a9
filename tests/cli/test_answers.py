"""What commands say: to a person and to a program."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from terratunnel.cli.answers import Answer, say, table, text_of

NOON = datetime(2025, 6, 15, 12, 0, 7, tzinfo=UTC)


def shown(answer: Answer, output: str, capsys: pytest.CaptureFixture[str]) -> str:
    answer.show(output)
    return capsys.readouterr().out


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    found = table(("id", "last_used_at", "name"), [{"id": 1, "name": "x"}, {"id": 200, "name": "yy", "more": "z"}])
    assert found == [
        "ID   LAST USED AT  NAME",
        "1    -             x",
        "200  -             yy",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2025-06-15 12:00:07Z"),
        (["a", "b"], "a b"),
        ({"reason": "a\x1b[2Jb"}, '{"reason": "a\\u001b[2Jb"}'),
        ("evil\x1b[2J\u202e\n", "evil\\x1b[2J\\u202e\\x0a"),
    ],
)
def test_a_person_reads_text_and_nothing_that_moves_the_cursor(value: object, expected: str) -> None:
    assert text_of(value) == expected


def test_a_program_reads_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer([{"at": NOON, "path": Path("x.db"), "name": "\u202e"}, {"at": None}], ("at",), "Said.")
    lines = shown(answer, "json", capsys).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"at": "2025-06-15T12:00:07+00:00", "path": "x.db", "name": "\u202e"},
        {"at": None},
    ]
    assert lines[0].isascii()


def test_a_list_is_a_table_and_an_empty_one_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Answer([{"id": 1}], ("id",), "There are none."), "text", capsys) == "ID\n1\n"
    assert shown(Answer([], ("id",), "There are none."), "text", capsys) == "There are none.\n"
    assert shown(Answer([], ("id",), "There are none."), "json", capsys) == ""


def test_without_columns_it_is_what_the_sentence_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Answer([{"id": 1}], sentence="One.\nTw\x1bo."), "text", capsys) == "One.\nTw\\x1bo.\n"


def test_a_sentence_is_for_a_person_and_its_event_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("text", "json"):
        say("It is\n  don\x1be.", output, "done", count=1)
        say("Only said.", output)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["It is", "  don\\x1be.", "Only said.", '{"event": "done", "count": 1}']
