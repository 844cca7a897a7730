"""What people look at: a contact sheet and a summary for every collected job."""

import json
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.events import JobEnded
from tomodrop.keys import JobName
from tomodrop.predictions import NOTICE, Prediction, Result, is_atypical
from tomodrop.slices import IndexLine
from tomodrop.volumes import face_of


def write_report(
    app: App,
    job: JobName,
    ended: JobEnded,
    uploads: dict[str, list[IndexLine]],
    results: dict[str, Result],
) -> None:
    """Put `summary.json` into `reports/<batch>/<job>/`, and `contact-sheet.png` of predictions."""
    folder = f"reports/{job.batch}/{job}/"
    bucket = app.settings.predictions_bucket
    summary = summarise(job, ended, uploads, results, app.settings.minimum_typicality)
    body = json.dumps(summary, indent=2).encode()
    objects.write(app.s3, bucket, f"{folder}summary.json", body, "application/json")
    shown = {upload: found.prediction for upload, found in results.items() if found.prediction}
    if shown:
        sheet = _draw(app, job, uploads, shown)
        objects.write(app.s3, bucket, f"{folder}contact-sheet.png", sheet, "image/png")


def summarise(
    job: JobName,
    ended: JobEnded,
    uploads: dict[str, list[IndexLine]],
    results: dict[str, Result],
    minimum_typicality: float,
) -> dict[str, Any]:
    """Counts of one job: by label, by reason of rejection, and what waits for another attempt."""
    predictions = [r.prediction for r in results.values() if r.prediction]
    labels = Counter(prediction.label for prediction in predictions)
    codes = Counter(r.rejection.code for r in results.values() if r.rejection)
    return {
        "batch": job.batch,
        "job": str(job),
        "attempt": job.attempt,
        "job_status": ended.status,
        "failure_reason": ended.failure_reason or None,
        "uploads": len(uploads),
        "slices": sum(map(len, uploads.values())),
        "predicted": dict(sorted(labels.items())),
        "atypical": sum(is_atypical(p.typicality, minimum_typicality) for p in predictions),
        "rejected": dict(sorted(codes.items())),
        "left_for_next_attempt": len(uploads) - len(results),
        "notice": NOTICE,
    }


def _draw(
    app: App, job: JobName, uploads: dict[str, list[IndexLine]], shown: dict[str, Prediction]
) -> bytes:
    # Imported here: a job without a single prediction needs no imaging library.
    from tomodrop.contact_sheet import Tile, choose, contact_sheet  # noqa: PLC0415

    some = next(iter(shown.values()))
    classes = list(some.probabilities)
    tiles = [
        Tile(
            key=f"{keys.batch_slices(job.batch)}{face_of(uploads[upload]).slice_id}.png",
            label=prediction.label,
            probability=prediction.probability,
            caption=PurePosixPath(uploads[upload][0].source.key).name,
            atypical=is_atypical(prediction.typicality, app.settings.minimum_typicality),
        )
        for upload, prediction in shown.items()
    ]
    chosen = choose(tiles, classes)
    work = app.settings.work_bucket
    pictures = {tile.key: objects.read(app.s3, work, tile.key) for tile in chosen.tiles()}
    title = f"Batch {job.batch}: {len(shown)} predictions"
    return contact_sheet(chosen, pictures, classes, title=title, notice=NOTICE)
