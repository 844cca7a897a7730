"""What people look at: a contact sheet and a summary for every collected job."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.events import JobEnded
from tomodrop.live_model import LiveModel
from tomodrop.predictions import NOTICE, Prediction, Result, is_atypical
from tomodrop.references import BatchReference
from tomodrop.slices import IndexLine
from tomodrop.summaries import JobStatistics, Summary
from tomodrop.volumes import face_of, shows_lung


@dataclass(frozen=True)
class Shown:
    """A prediction, as far as the contact sheet needs it. `slice_id` is its upload's face."""

    slice_id: str
    label: str
    probability: float
    caption: str
    atypical: bool


@dataclass
class Tally:
    """What a report is made of, gathered upload by upload: results themselves are not kept."""

    minimum_typicality: float
    uploads: int = 0
    slices: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    shown: list[Shown] = field(default_factory=list)
    summary: Summary = field(default_factory=Summary)

    def count(self, slices: list[IndexLine], result: Result | None) -> None:
        """Take an upload in. `result` None: it is left for another attempt."""
        self.uploads += 1
        self.slices += len(slices)
        if result and result.rejection:
            self.rejected[result.rejection.code] += 1
        if result and result.prediction:
            self.shown.append(self._shown(slices, result.prediction))
            # An upload is predicted once, in whatever attempt: so it is counted once.
            self.summary.count_upload(result.prediction.label, result.prediction.probability)
            for line in filter(shows_lung, slices):
                self.summary.count_slice(line.pixels)

    def _shown(self, slices: list[IndexLine], prediction: Prediction) -> Shown:
        return Shown(
            slice_id=face_of(slices).slice_id,
            label=prediction.label,
            probability=prediction.probability,
            caption=PurePosixPath(slices[0].source.key).name,
            atypical=is_atypical(prediction.typicality, self.minimum_typicality),
        )

    @property
    def left(self) -> int:
        """Uploads without a result."""
        return self.uploads - len(self.shown) - self.rejected.total()


def write_report(
    app: App,
    pool: Executor,
    batch: BatchReference,
    ended: JobEnded,
    tally: Tally,
    model: LiveModel,
) -> None:
    """Put `summary.json` into `reports/<batch>/<job>/`.

    And of predictions, if there are any, `statistics.json` (see `drift_watch`) and
    `contact-sheet.png`.
    """
    folder = f"reports/{batch.id}/{batch.job}/"
    bucket = app.settings.predictions_bucket
    body = json.dumps(summarise(batch, ended, tally), indent=2).encode()
    objects.write(app.s3, bucket, f"{folder}summary.json", body, "application/json")
    if tally.shown:
        counted = JobStatistics(job=batch.job, model=model.training_job, summary=tally.summary)
        body = counted.model_dump_json().encode()
        objects.write(app.s3, bucket, f"{folder}statistics.json", body, "application/json")
        sheet = _draw(app, pool, batch.id, tally.shown, model.classes)
        objects.write(app.s3, bucket, f"{folder}contact-sheet.png", sheet, "image/png")


def summarise(batch: BatchReference, ended: JobEnded, tally: Tally) -> dict[str, Any]:
    """Counts of one job: by label, by reason of rejection, and what waits for another attempt."""
    labels = Counter(shown.label for shown in tally.shown)
    return {
        "batch": batch.id,
        "job": batch.job,
        "attempt": int(batch.job.rpartition("-")[2]),
        "job_status": ended.status,
        "failure_reason": ended.failure_reason or None,
        "expected": batch.expected.model_dump(mode="json") if batch.expected else None,
        "uploads": tally.uploads,
        "slices": tally.slices,
        "predicted": dict(sorted(labels.items())),
        "atypical": sum(shown.atypical for shown in tally.shown),
        "rejected": dict(sorted(tally.rejected.items())),
        "left_for_next_attempt": tally.left,
        "notice": NOTICE,
    }


def _draw(
    app: App, pool: Executor, batch: str, shown: Sequence[Shown], classes: Sequence[str]
) -> bytes:
    # Imported here: a job without a single prediction needs no imaging library.
    from tomodrop.contact_sheet import Tile, choose, contact_sheet  # noqa: PLC0415

    tiles = [
        Tile(
            key=f"{keys.batch_slices(batch)}{one.slice_id}.png",
            label=one.label,
            probability=one.probability,
            caption=one.caption,
            atypical=one.atypical,
        )
        for one in shown
    ]
    chosen = choose(tiles, classes)
    work = app.settings.work_bucket
    wanted = [tile.key for tile in chosen.tiles()]
    read = pool.map(lambda key: objects.read(app.s3, work, key), wanted)
    pictures = dict(zip(wanted, read, strict=True))
    title = f"Batch {batch}: {len(shown)} predictions"
    return contact_sheet(chosen, pictures, classes, title=title, notice=NOTICE)
