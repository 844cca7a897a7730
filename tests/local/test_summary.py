"""The table at the end."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from local.plan import Answer
from local.summary import MAX_ROWS, choose_rows, count_line, percent, places, results_table


def predicted(label: str = "covid", probability: float = 0.9375) -> Answer:
    return Answer("predicted", "v", "e", label=label, probability=probability)


def rejected(code: str = "damaged_image") -> Answer:
    return Answer("rejected", "v", "e", code=code)


def test_rows_say_label_and_probability_or_the_reason() -> None:
    answers = {"incoming/b/x.png": predicted(), "incoming/a.png": rejected()}
    rows = [(row.file, row.result, row.detail) for row in choose_rows(answers, "incoming/")]
    assert rows == [("a.png", "rejected", "damaged_image"), ("b/x.png", "covid", "93.8%")]


@pytest.mark.parametrize(
    ("probability", "text"), [(1.0, "100.0%"), (0.99996, ">99.9%"), (0.5, "50.0%"), (0.0, "0.0%")]
)
def test_only_certainty_is_called_100_percent(probability: float, text: str) -> None:
    assert percent(probability) == text


@pytest.mark.parametrize(("good", "bad", "bad_shown"), [(500, 500, 8), (3, 500, 17), (500, 2, 2)])
def test_the_table_is_short_and_shows_rejections(good: int, bad: int, bad_shown: int) -> None:
    answers = {f"incoming/{i:03d}": predicted() for i in range(good)}
    answers |= {f"incoming/x{i:03d}": rejected() for i in range(bad)}
    rows = choose_rows(answers, "incoming/")
    assert len(rows) == MAX_ROWS
    assert sum(row.result == "rejected" for row in rows) == bad_shown


def test_counts_by_label_and_by_reason() -> None:
    answers = {"a": predicted(), "b": predicted("non_covid"), "c": predicted(), "d": rejected()}
    assert count_line(answers) == "3 predicted (covid 2, non_covid 1), 1 rejected (damaged_image 1)"
    assert count_line({}) == "0 predicted, 0 rejected"


def test_file_names_are_shown_as_they_are() -> None:
    told = io.StringIO()
    answers = {"incoming/[red]肺[/red]\n.png": predicted()}
    Console(file=told, width=100).print(results_table(answers, "incoming/"))
    assert "[red]肺[/red]\ufffd.png" in told.getvalue()


def test_of_a_training_s_pictures_the_curves_are_pointed_to() -> None:
    keys = [f"models/j/{name}.png" for name in ("accuracy", "confusion", "roc")]
    assert places(Path("/out"), keys) == [("training curves", "/out/models/j/accuracy.png")]


def test_the_audit_s_page_is_pointed_to() -> None:
    keys = [f"models/j/{name}" for name in ("audit.html", "audit.json", "left_out.jsonl")]
    expected = [("audit of the labelled set", "/out/models/j/audit.html")]
    assert places(Path("/out"), keys) == expected


def test_the_page_of_drift_is_pointed_to() -> None:
    keys = [f"reports/drift/{name}" for name in ("2026-11-24.json", "index.html", "latest.json")]
    expected = [
        ("drift, what came in beside what was learnt", "/out/reports/drift/index.html"),
    ]
    assert places(Path("/out"), keys) == expected


def test_only_what_is_there_is_pointed_to() -> None:
    keys = ["predictions/a.json", "reports/b/j/contact-sheet.png", "reports/b/j/summary.json"]
    assert places(Path("/out"), keys) == [
        ("predictions", "/out/predictions"),
        ("contact sheet", "/out/reports/b/j/contact-sheet.png"),
    ]
