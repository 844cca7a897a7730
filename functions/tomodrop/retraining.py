"""Retrain: on schedule, learn the labelled set anew, if there is anything new in it."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tomodrop import audit, copies, dataset, halves, keys, manifests, objects
from tomodrop.audit import Tally
from tomodrop.clients import App
from tomodrop.copies import Search
from tomodrop.errors import TrainingDataError
from tomodrop.halves import TRAIN, VALIDATION
from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import read_live_model
from tomodrop.manifests import LaidOut, Plan
from tomodrop.objects import error_code
from tomodrop.refused_sets import refuse
from tomodrop.scratch import scratch_tables
from tomodrop.settings import Settings
from tomodrop.shortcuts import measure
from tomodrop.training_jobs import (
    hyperparameters,
    training_fingerprint,
    training_job_name,
    training_jobs_of,
    training_request,
    uses_built_in,
)

logger = Logger(child=True)
_REFUSED = "the labelled set has shortcuts, and ShortcutAction is refuse"
SCHEMA = dataset.SCHEMA + copies.SCHEMA + manifests.SCHEMA


@dataclass(frozen=True)
class Prepared:
    """The labelled set, ready to be learnt: what is left in, and what is said of it."""

    tally: Tally
    search: Search
    repeats: list[float]
    made: LaidOut
    fingerprint: str


def retrain(app: App, scheduled: datetime) -> str | None:
    """Start a training job on the labelled set. Returns its name, or None when none is needed.

    None is needed when a training runs, when this schedule made its job already, when the set
    cannot be trained on yet or fails its audit, or when the live model or the last training was
    made from the same data with the same recipe; the log says which. Of a set that cannot be
    trained on the audit says why.
    """
    job = training_job_name(app.settings.job_name_prefix, scheduled)
    in_the_way = _running_or_made(app, job)
    if in_the_way:
        logger.info("a training was started already", extra={"jobs": in_the_way})
        return None
    with scratch_tables(SCHEMA) as tables:
        search = gather(app, tables)
        try:
            prepared = prepare_set(app, tables, job, search)
        except TrainingDataError as fault:
            refuse(app, tables, _report_unfit(app, tables, job, search), str(fault))
            return None
        trained = _trained_already(app, prepared.fingerprint)
        if trained:
            logger.info("no training: nothing is new since %s", trained)
            return None
        return _start(app, tables, job, prepared)


def _running_or_made(app: App, job: str) -> list[str]:
    """Names of the jobs that run, and this one whatever became of it: its inputs must stay."""
    running = training_jobs_of(app, StatusEquals="InProgress")
    named = training_jobs_of(app, NameContains=job)
    same = [found["TrainingJobName"] for found in named if found["TrainingJobName"] == job]
    return sorted({*(found["TrainingJobName"] for found in running), *same})


def gather(app: App, tables: sqlite3.Connection) -> Search:
    """Gather the set, and leave copies under opposite labels out."""
    dataset.gather(app, tables)
    search = copies.find_copies(tables)
    copies.leave_out_contradictions(tables)
    return search


def prepare_set(app: App, tables: sqlite3.Connection, job: str, search: Search) -> Prepared:
    """Halve the set, leave copies across the halves out, and lay it out.

    Raises
    ------
    TrainingDataError
        It cannot be trained on yet.
    """
    settings = app.settings
    groups = dataset.groups_by_class(tables, len(settings.class_names))
    settled = halves.settle(app, groups)
    copies.leave_out_across(tables, settled)
    tally = audit.tally_of(tables, settled, settings)
    _check(tally, settings)
    train = tally.slices[TRAIN]
    repeats = manifests.repeats(train) if settings.balance_classes else [1.0] * len(train)
    plan = Plan(settled, settings.split_key, repeats, seed=job)
    made = manifests.lay_out(tables, plan, len(train))
    fingerprint = training_fingerprint(settings, made.digest, made.training_samples)
    return Prepared(tally, search, repeats, made, fingerprint)


def _check(tally: Tally, settings: Settings) -> None:
    for label, name in enumerate(settings.class_names):
        if not tally.slices[TRAIN][label]:
            message = (
                f"class '{name}' has no training slice that is not a copy of a held-out one: add "
                f"other slices to labelled/{name}/<group>/"
            )
            raise TrainingDataError(message)


def _report_unfit(app: App, tables: sqlite3.Connection, job: str, search: Search) -> dict[str, Any]:
    """What the audit says of a set that cannot be trained on: groups have the halves they had."""
    kept, _ = halves.read_kept(app)
    tally = audit.tally_of(tables, kept, app.settings)
    return audit.report(app, tables, job, tally, search, [])


def _trained_already(app: App, fingerprint: str) -> str | None:
    """What was made from the same data with the same recipe, in words."""
    live = read_live_model(app)
    if live and live.fingerprint == fingerprint:
        return "the live model's"
    for found in training_jobs_of(app, SortBy="CreationTime", SortOrder="Descending"):
        job = found["TrainingJobName"]
        key = f"{keys.TRAINING}{job}/job.json"
        body = objects.read_if_there(app.s3, app.settings.work_bucket, key)
        if body is None:
            continue  # started by hand
        is_same = json.loads(body)["fingerprint"] == fingerprint
        return f"training {job}" if is_same and found["TrainingJobStatus"] == "Completed" else None
    return None


def _start(app: App, tables: sqlite3.Connection, job: str, prepared: Prepared) -> str | None:
    settings = app.settings
    shortcuts = measure(prepared.made.facts, settings.class_names)
    report = audit.report(app, tables, job, prepared.tally, prepared.search, shortcuts)
    report["repeats"] = dict(zip(settings.class_names, prepared.repeats, strict=True))
    if report["warnings"] and settings.shortcut_action == "refuse":
        refuse(app, tables, report, _REFUSED)
        return None
    report |= {"decision": "training", "reason": "a training job was started on this set"}
    audit.publish_audit(app, tables, report)
    _write_inputs(app, tables, job, job_record(settings, job, prepared))
    samples, digest = prepared.made.training_samples, prepared.made.digest
    _create(app, training_request(settings, job, samples, digest))
    logger.info("training started", extra={"job": job, "slices": samples})
    return job


def job_record(settings: Settings, job: str, prepared: Prepared) -> dict[str, Any]:
    """What `promote` and people later want to know of a training: `training/<job>/job.json`."""
    tally, made = prepared.tally, prepared.made
    return {
        "training_job": job,
        "classes": settings.class_names,
        "normaliser": NORMALISER,
        "image_shape": settings.image_shape,
        "data_digest": made.digest,
        "fingerprint": prepared.fingerprint,
        "hyperparameters": hyperparameters(settings, made.training_samples),
        "algorithm_image": settings.algorithm_image,
        "slices": {
            half: dict(zip(settings.class_names, counts, strict=True))
            for half, counts in tally.slices.items()
        },
        "uploads": made.uploads,
        "groups": {half: tally.group_count(half) for half in (TRAIN, VALIDATION)},
        "repeats": dict(zip(settings.class_names, prepared.repeats, strict=True)),
        "greys": made.greys,
    }


def _write_inputs(app: App, tables: sqlite3.Connection, job: str, record: dict[str, Any]) -> None:
    work, folder = app.settings.work_bucket, f"{keys.TRAINING}{job}/"
    with_groups = not uses_built_in(app.settings)
    files = {
        "train.manifest": manifests.manifest(tables, TRAIN, work, with_groups=with_groups),
        "validation.manifest": manifests.manifest(
            tables, VALIDATION, work, with_groups=with_groups
        ),
        "held_out.jsonl": manifests.held_out(tables),
    }
    for name, lines in files.items():
        objects.write_stream(app.s3, work, f"{folder}{name}", lines, "application/jsonl")
    body = json.dumps(record, indent=2).encode()
    objects.write(app.s3, work, f"{folder}job.json", body, "application/json")


def _create(app: App, request: dict[str, Any]) -> None:
    try:
        app.sagemaker.create_training_job(**request)
    except ClientError as error:
        if error_code(error) != "ResourceInUse":
            raise
