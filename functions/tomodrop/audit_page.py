"""The audit as a page for people: one file, nothing fetched, every text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_MOST_GROUPS = 50
_REASONS = {
    "opposite_labels": "Copies with opposite labels: all left out",
    "across_the_split": "Copies in both halves: the training ones left out",
}
_STATES = {
    "deleted": "the upload is gone from the bucket",
    "replaced": "the upload was replaced, and its new version is not taken in",
    "made_again": "made for another normaliser, shape or window; the sweep sends it again",
    "other_class": "the class is not among ClassNames",
    "no_lung": "a slice of a volume that shows no lung",
    "rejected": "the upload was rejected: rejected-labelled/ says why",
}
_HALVES = {"train": "training", "validation": "held out", "undecided": "in neither half yet"}
_FACTS = {
    "size": "size of the source in pixels",
    "aspect": "width / height of the source",
    "mean": "mean grey",
    "spread": "standard deviation of the greys",
    "format": "file format",
    "compression": "compression with loss",
    "alpha": "alpha channel",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
th, td { text-align: left; padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #ddd;
  overflow-wrap: anywhere; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.notice { color: #a32a00; } .faint { color: #6a6a6a; }
"""


def page(audit: Mapping[str, Any]) -> str:
    """The page of an audit, as `audit.report` and `retraining` made it."""
    parts = [
        f"<h1>Audit of {escape(audit['training_job'])}</h1>",
        f'<p class="notice">{escape(audit["notice"])}</p>',
        f"<p><b>{escape(audit['decision'])}</b>: {escape(audit['reason'])}</p>",
        *(f'<p class="notice">Warning: {escape(text)}</p>' for text in audit["warnings"]),
        *_slices(audit),
        *_shortcuts(audit),
        *_left_out(audit),
        *_unusable(audit),
        *_groups(audit),
    ]
    title = escape(f"Audit of {audit['training_job']}")
    return "\n".join(
        [
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f"<style>{_STYLE}</style></head><body>",
            *parts,
            "</body></html>\n",
        ]
    )


def _slices(audit: Mapping[str, Any]) -> Iterable[str]:
    halves = list(audit["slices"])
    rows = [[name, *(audit["slices"][half][name] for half in halves)] for name in audit["classes"]]
    rows.append(["groups", *(audit["groups"][half] for half in halves)])
    yield "<h2>Slices that can be learnt from</h2>"
    yield _table(["class", *(_HALVES[half] for half in halves)], rows)
    if any(factor != 1 for factor in audit["repeats"].values()):
        often = (f"{name} x {factor:g}" for name, factor in audit["repeats"].items())
        yield f"<p>Training slices are repeated (BalanceClasses): {escape(', '.join(often))}.</p>"


def _shortcuts(audit: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>Shortcuts</h2>"
    yield (
        "<p>How well one fact alone tells the class, fitted on the training half and measured on "
        "held-out groups. 0.5 tells nothing, 1 everything. Mean and spread tell something on "
        "honest sets too, for disease brightens the lung; a file's format never should.</p>"
    )
    if not audit["shortcuts"]:
        yield "<p>Not measured, since a half lacks a class.</p>"
        return
    rows = [
        [_FACTS[one["fact"]], one["class_name"], one["auc"], one["balanced_accuracy"]]
        for one in audit["shortcuts"]
    ]
    bars = [_bar(one["auc"]) for one in audit["shortcuts"]]
    yield _table(["fact", "class", "AUC", "balanced accuracy"], rows, bars)


def _bar(auc: float) -> str:
    width = round(200 * max(0.0, auc - 0.5) / 0.5)
    return (
        '<svg width="200" height="12" role="img" aria-hidden="true">'
        '<rect width="200" height="12" fill="#eee"/>'
        f'<rect width="{width}" height="12" fill="#0072b2"/></svg>'
    )


def _left_out(audit: Mapping[str, Any]) -> Iterable[str]:
    left_out, search = audit["left_out"], audit["near_copies"]
    yield "<h2>Copies</h2>"
    rows = [
        [text, left_out["slices"][reason]["exact"], left_out["slices"][reason]["near"]]
        for reason, text in _REASONS.items()
    ]
    rows.append(["Exact copies within a group: left in", audit["copies_within_groups"], ""])
    yield _table(["", "exact", "near"], rows)
    yield (
        f'<p class="faint">Near copies: {search["compared"]} slices were compared, each with the '
        f"{search['window']} before it in {search['passes']} sorted orders of a perceptual hash. "
        f"At most {search['max_distance']} of its 256 bits differ. {search['without_hash']} slices "
        "have no hash, since an earlier version took them in.</p>"
    )
    if not search["is_whole"]:
        yield '<p class="notice">There are more near copies than the search could note.</p>'
    if left_out["named"]:
        yield f"<p>The first {len(left_out['named'])}; all are in {escape(left_out['all'])}.</p>"
        names = audit["classes"]
        yield _table(
            ["left out", "label", "copy of", "label", "differing bits"],
            [
                [
                    _slice(one),
                    names[one["label"]],
                    _slice(one["copy_of"]),
                    names[one["copy_of"]["label"]],
                    one["differing_bits"],
                ]
                for one in left_out["named"]
            ],
        )


def _slice(one: Mapping[str, Any]) -> str:
    return f"{one['key']}, slice {one['slice']}" if one["slice"] else str(one["key"])


def _unusable(audit: Mapping[str, Any]) -> Iterable[str]:
    rows = [
        [_STATES[state], counts["uploads"], counts["slices"]]
        for state, counts in audit["unusable"].items()
        if counts["uploads"] or counts["slices"]
    ]
    if rows:
        yield "<h2>Not usable</h2>"
        yield _table(["reason", "uploads", "slices"], rows)


def _groups(audit: Mapping[str, Any]) -> Iterable[str]:
    shown = audit["largest_groups"][:_MOST_GROUPS]
    total = sum(audit["groups"].values())
    yield f"<h2>Groups</h2><p>The {len(shown)} largest of {total}, by code.</p>"
    rows = [
        [one["group"], one["half"], *(one["slices"].get(name, 0) for name in audit["classes"])]
        for one in shown
    ]
    yield _table(["group", "half", *audit["classes"]], rows)


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[Any]], behind: Sequence[str] | None = None
) -> str:
    """A table of escaped texts and numbers; `behind`: markup of ours at the end of each row."""
    lines = ["<table><tr>", *(f"<th>{escape(head)}</th>" for head in heads), "</tr>\n"]
    for place, row in enumerate(rows):
        cells = "".join(_cell(value) for value in row)
        lines.append(f"<tr>{cells}{f'<td>{behind[place]}</td>' if behind else ''}</tr>\n")
    return "".join([*lines, "</table>"])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:.2f}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
