"""Sweep's other look: are the uploads of the last days still like what the live model learnt from.

Collect leaves a summary of each job's predictions (`reports/<batch>/<job>/statistics.json`). It is
made from the job alone, so a repeated collect writes the same, and two at once do not meet. Here
the summaries of a day are added up (`reports/drift/<day>.json`; a day is that of the window, in
UTC), and as few of the last days as suffice are compared with the training set's own summary
(`reports/drift/latest.json`, and `index.html` for people).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel, ConfigDict, ValidationError

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.drift import MOST_CHANCE, Difference, compare_classes, compare_pixels
from tomodrop.drift_page import page
from tomodrop.live_model import read_live_model
from tomodrop.predictions import NOTICE
from tomodrop.summaries import JobStatistics, Summary, summary_of_training

logger = Logger(child=True)

# Days that are looked back. What is collected later than that is in no day's file.
DAYS = 7
_FOLDER = "reports/drift/"
_STATISTICS = "/statistics.json"


class Day(BaseModel):
    """`<day>.json`: what the jobs of one day's windows predicted. `day` as 2026-11-24."""

    model_config = ConfigDict(frozen=True)

    day: str
    jobs: int
    models: list[str]
    summary: Summary
    notice: str = NOTICE


@dataclass(frozen=True)
class Drift:
    """What came in within `days` (newest first), compared with what `model` learnt.

    `psi` and `classes_psi` are None where too few uploads came in, or the training set is too small
    or has no summary; then `why_not` says which. `psi`: that of the number that changed most.
    """

    model: str
    days: list[str]
    uploads: int
    learnt_uploads: int
    psi: float | None = None
    classes_psi: float | None = None
    why_not: str = ""
    pixels: dict[str, Difference] | None = None
    classes: Difference | None = None

    @property
    def metrics(self) -> list[tuple[str, MetricUnit, float]]:
        """What CloudWatch is told: name, unit, value. Nothing of what is not judged."""
        told = {"Drift_psi": self.psi, "Drift_classes_psi": self.classes_psi}
        return [
            (name, MetricUnit.NoUnit, value) for name, value in told.items() if value is not None
        ]


def watch_drift(app: App, now: datetime) -> Drift | None:
    """Add up the last days, compare them, and put both where people look. None: no live model."""
    days = [day for back in range(DAYS) if (day := _day(app, now - timedelta(days=back)))]
    live = read_live_model(app)
    if live is None:
        return None
    learnt = _learnt(app, live.training_job)
    drift, came_in = judge(live.training_job, learnt, days)
    _write(app, "latest.json", _json(report_of(drift)), "application/json")
    _write(app, "index.html", _page(drift, learnt or Summary(), came_in, days), "text/html")
    logger.info(
        "compared", extra={"model": drift.model, "psi": drift.psi, "uploads": drift.uploads}
    )
    return drift


def judge(model: str, learnt: Summary | None, days: Sequence[Day]) -> tuple[Drift, Summary]:
    """Compare as few of the days (newest first) as suffice, else all; and their sum."""
    taken: list[str] = []
    came_in = Summary()
    pixels: dict[str, Difference] = {}
    for day in days:
        taken.append(day.day)
        came_in += day.summary
        pixels = compare_pixels(learnt, came_in) if learnt else {}
        if pixels and all(one.chance <= MOST_CHANCE for one in pixels.values()):
            break
    why_not = _why_not(learnt, came_in, pixels)
    classes = compare_classes(learnt, came_in) if learnt else None
    known = classes if classes and classes.chance <= MOST_CHANCE else None
    drift = Drift(
        model=model,
        days=taken,
        uploads=came_in.uploads,
        learnt_uploads=learnt.uploads if learnt else 0,
        psi=None if why_not else round(max(one.psi for one in pixels.values()), 4),
        classes_psi=round(known.psi, 4) if known else None,
        why_not=why_not,
        pixels=pixels,
        classes=known,
    )
    return drift, came_in


def _why_not(learnt: Summary | None, came_in: Summary, pixels: dict[str, Difference]) -> str:
    """Why nothing is judged; empty if something is."""
    if not came_in.uploads:
        return f"Nothing was predicted within {DAYS} days."
    if learnt is None or not learnt.slices:
        return "The live model's training has no summary: it is from an earlier version. Retrain."
    if not pixels:
        return "All training slices have the same numbers: there is nothing to compare."
    bins = max(one.bins for one in pixels.values())
    if (bins - 1) / learnt.uploads >= MOST_CHANCE:
        return f"The training set has {learnt.uploads} uploads, too few for {bins} bins."
    least = (bins - 1) / (MOST_CHANCE - (bins - 1) / learnt.uploads)
    if any(one.chance > MOST_CHANCE for one in pixels.values()):
        return f"{came_in.uploads} uploads came in; from {round(least + 0.5)} on they are compared."
    return ""


def report_of(drift: Drift) -> dict[str, Any]:
    """`latest.json`: the comparison, with a verdict for each number."""
    found = {**(drift.pixels or {}), **({"classes": drift.classes} if drift.classes else {})}
    return {
        "model": drift.model,
        "days": drift.days,
        "uploads": drift.uploads,
        "learnt_uploads": drift.learnt_uploads,
        "psi": drift.psi,
        "classes_psi": drift.classes_psi,
        "not_judged_because": drift.why_not or None,
        "differences": {
            name: {
                "psi": round(one.psi, 4),
                "chance": round(one.chance, 4) if math.isfinite(one.chance) else None,
                "bins": one.bins,
                "verdict": one.verdict,
            }
            for name, one in found.items()
        },
        "notice": NOTICE,
    }


def _day(app: App, when: datetime) -> Day | None:
    """One day's sum; made anew only when a job has been added to it."""
    bucket = app.settings.predictions_bucket
    found = [
        key
        for key in objects.keys_under(app.s3, bucket, f"reports/{when:%Y%m%d}T")
        if key.endswith(_STATISTICS)
    ]
    if not found:
        return None
    name = f"{when:%Y-%m-%d}.json"
    held = _parsed(Day, objects.read_if_there(app.s3, bucket, _FOLDER + name))
    if held and held.jobs == len(found):
        return held
    bodies = (objects.read(app.s3, bucket, key) for key in found)
    made = sum_up(f"{when:%Y-%m-%d}", [JobStatistics.model_validate_json(body) for body in bodies])
    _write(app, name, _json(made.model_dump(mode="json")), "application/json")
    return made


def sum_up(day: str, jobs: Sequence[JobStatistics]) -> Day:
    """A day of these jobs."""
    return Day(
        day=day,
        jobs=len(jobs),
        models=sorted({job.model for job in jobs}),
        summary=sum((job.summary for job in jobs), Summary()),
    )


def _learnt(app: App, training_job: str) -> Summary | None:
    """The summary of the training half that a model learnt from, as retrain noted it."""
    key = f"{keys.TRAINING}{training_job}/job.json"
    body = objects.read_if_there(app.s3, app.settings.work_bucket, key)
    return summary_of_training(json.loads(body)) if body else None


def _parsed(kind: type[Day], body: bytes | None) -> Day | None:
    try:
        return kind.model_validate_json(body) if body else None
    except ValidationError:
        return None  # of another version: it is made anew


def _page(drift: Drift, learnt: Summary, came_in: Summary, days: Sequence[Day]) -> bytes:
    return page(report_of(drift), learnt, came_in, days).encode()


def _write(app: App, name: str, body: bytes, content_type: str) -> None:
    """Put what is new: every sweep comes by, and the bucket keeps old versions."""
    bucket, key = app.settings.predictions_bucket, _FOLDER + name
    if objects.read_if_there(app.s3, bucket, key) != body:
        objects.write(app.s3, bucket, key, body, content_type)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()
