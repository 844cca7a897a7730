"""The end of a run on the screen: a table of results, counts, and where everything lies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from local.folders import printable
from local.plan import Answer

MAX_ROWS = 20
MAX_REJECTED_ROWS = 8
NOTICE = "Research use only. Not a medical device."


@dataclass(frozen=True)
class Row:
    """One line of the table: file, label or "rejected", probability or the reason's code."""

    file: str
    result: str
    detail: str


def choose_rows(answers: Mapping[str, Answer], prefix: str) -> list[Row]:
    """At most `MAX_ROWS`, some rejections among them if there are any; in order of path."""
    rejected = [key for key in sorted(answers) if answers[key].status == "rejected"]
    predicted = [key for key in sorted(answers) if answers[key].status != "rejected"]
    kept = rejected[: max(MAX_REJECTED_ROWS, MAX_ROWS - len(predicted))][:MAX_ROWS]
    shown = sorted([*kept, *predicted[: MAX_ROWS - len(kept)]])
    return [row_of(key.removeprefix(prefix), answers[key]) for key in shown]


def row_of(path: str, answer: Answer) -> Row:
    """One result in words."""
    if answer.status == "rejected":
        return Row(printable(path), "rejected", answer.code)
    return Row(printable(path), answer.label, percent(answer.probability))


def percent(probability: float) -> str:
    """One decimal, and never a certainty that the model does not have: 0.99996 is ">99.9%"."""
    text = f"{probability:.1%}"
    return ">99.9%" if text == "100.0%" and probability < 1 else text


def count_line(answers: Mapping[str, Answer]) -> str:
    """All in one line: "481 predicted (covid 240, non_covid 241), 3 rejected (empty_file 3)"."""
    labels = Counter(a.label for a in answers.values() if a.status != "rejected")
    codes = Counter(a.code for a in answers.values() if a.status == "rejected")
    return f"{_counted(labels, 'predicted')}, {_counted(codes, 'rejected')}"


def _counted(counter: Counter[str], what: str) -> str:
    names = ", ".join(f"{name} {count:,}" for name, count in sorted(counter.items()))
    return f"{counter.total():,} {what}" + (f" ({names})" if names else "")


def results_table(answers: Mapping[str, Answer], prefix: str) -> Table:
    """The table; file names are shown as they are, whatever they look like."""
    rows = choose_rows(answers, prefix)
    table = Table(title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("result")
    table.add_column("probability or reason", justify="right")
    for row in rows:
        style = "yellow" if row.result == "rejected" else ""
        table.add_row(*(Text(cell, style=style) for cell in (row.file, row.result, row.detail)))
    if len(answers) > len(rows):
        table.add_row(Text(f"… and {len(answers) - len(rows):,} more", style="dim"))
    return table


def places(out: Path, mirrored: Sequence[str]) -> list[tuple[str, str]]:
    """What lies where in OUT: (what, path), of what is really there."""
    kinds = (
        ("predictions", "predictions/", ""),
        ("rejections", "rejected/", ""),
        ("contact sheet", "reports/", "contact-sheet.png"),
        ("drift, what came in beside what was learnt", "reports/drift/", "/index.html"),
        ("audit of the labelled set", "models/", "/audit.html"),
        ("training curves", "models/", "/accuracy.png"),
        ("model's decision", "models/", "decision.json"),
    )
    found = []
    for what, folder, ending in kinds:
        keys = sorted(key for key in mirrored if key.startswith(folder) and key.endswith(ending))
        if keys:
            found.append((what, str(out / (keys[-1] if ending else folder))))
    return found
