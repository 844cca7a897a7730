"""The comparison of the last days with the training set, as one self-contained page."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

from tomodrop.summaries import SCALES, Summary

_WIDTH, _HEIGHT, _STEPS = 500, 110, 32
_TITLES = {
    "mean": "Mean grey of a slice (0 to 255)",
    "spread": "Standard deviation of its greys (0 to 127.5)",
    "lit_share": "Share of its pixels that are not dark (0 to 1)",
}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
svg{display:block;background:#f6f6f6}.learnt{fill:#9ab}.came{fill:none;stroke:#b30;stroke-width:1.5}
"""


class DayLike(Protocol):
    """What the page tells of a day."""

    @property
    def day(self) -> str: ...
    @property
    def jobs(self) -> int: ...
    @property
    def summary(self) -> Summary: ...


def page(
    report: Mapping[str, Any], learnt: Summary, came_in: Summary, days: Sequence[DayLike]
) -> str:
    """The page as HTML. `report` is `latest.json`."""
    charts = "".join(_chart(name, report, learnt, came_in) for name in SCALES)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tomodrop: drift</title>'
        f"<style>{_STYLE}</style><h1>Does what comes in look like what was learnt?</h1>"
        f"<p>{escape(_answer(report))}</p>"
        f"<p>Model {escape(report['model'])}; learnt from {learnt.uploads:,} uploads, "
        f"{learnt.slices:,} slices (grey areas). Came in: {came_in.uploads:,} uploads, "
        f"{came_in.slices:,} slices with lung (red lines), {escape(', '.join(report['days']))}.</p>"
        f"{charts}<h2>Classes</h2>{_classes(report, learnt, came_in)}"
        f"<h2>Days</h2>{_days(days)}<p><strong>{escape(report['notice'])}</strong></p></html>\n"
    )


def _answer(report: Mapping[str, Any]) -> str:
    if report["psi"] is None:
        return f"Not judged. {report['not_judged_because']}"
    found = report["differences"]
    name = max((one for one in SCALES if one in found), key=lambda one: found[one]["psi"])
    return (
        f"{found[name]['verdict'].capitalize()}: the population stability index is at most "
        f"{report['psi']:.2f} (below 0.1 alike, from 0.25 on much changed)."
    )


def _chart(name: str, report: Mapping[str, Any], learnt: Summary, came_in: Summary) -> str:
    found = report["differences"].get(name)
    said = f": PSI {found['psi']:.2f}, {found['verdict']}" if found else ""
    shares = [_shares(_coarse(one.pixels[name])) for one in (learnt, came_in)]
    top = max(max(both) for both in shares) or 1.0
    area, line = (_steps(one, top) for one in shares)
    return (
        f"<h2>{escape(_TITLES[name])}{said}</h2>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" width="100%">'
        f'<polygon class="learnt" points="0,{_HEIGHT} {area} {_WIDTH},{_HEIGHT}"/>'
        f'<polyline class="came" points="{line}"/></svg>'
    )


def _coarse(counts: Sequence[int]) -> list[int]:
    """Neighbours together, so that a few hundred slices show a shape."""
    width = -(-len(counts) // _STEPS)
    return [sum(counts[start : start + width]) for start in range(0, len(counts), width)]


def _steps(shares: Sequence[float], top: float) -> str:
    step, points = _WIDTH / len(shares), []
    for place, share in enumerate(shares):
        height = _HEIGHT - share / top * (_HEIGHT - 5)
        points += [f"{place * step:.1f},{height:.1f}", f"{(place + 1) * step:.1f},{height:.1f}"]
    return " ".join(points)


def _classes(report: Mapping[str, Any], learnt: Summary, came_in: Summary) -> str:
    rows = [
        (name, *(_percent(one.classes[name], one.uploads) for one in (learnt, came_in)))
        for name in sorted(learnt.classes | came_in.classes)
    ]
    psi = report["classes_psi"]
    said = "" if psi is None else f"<p>Population stability index {psi:.2f}.</p>"
    hint = (
        "<p>How often a class is met where images come from need not be how often it was labelled: "
        "watch for changes from day to day.</p>"
    )
    return _table(("class", "labelled", "predicted"), rows) + said + hint


def _days(days: Sequence[DayLike]) -> str:
    rows = [
        (
            one.day,
            f"{one.jobs:,}",
            f"{one.summary.uploads:,}",
            ", ".join(f"{name} {count:,}" for name, count in sorted(one.summary.classes.items())),
        )
        for one in days
    ]
    return _table(("day of the window (UTC)", "jobs", "uploads", "predicted"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "-"


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]
