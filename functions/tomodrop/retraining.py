"""Retrain: on schedule, learn the labelled set anew, if there is anything new in it."""

import json
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tomodrop import dataset, halves, keys, objects
from tomodrop.clients import App
from tomodrop.dataset import Split
from tomodrop.errors import TrainingDataError
from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import read_live_model
from tomodrop.objects import error_code
from tomodrop.settings import Settings
from tomodrop.training_jobs import (
    hyperparameters,
    training_fingerprint,
    training_job_name,
    training_jobs_of,
    training_request,
    uses_built_in,
)

logger = Logger(child=True)


def retrain(app: App, scheduled: datetime) -> str | None:
    """Start a training job on the labelled set. Returns its name, or None when none is needed.

    None is needed when a training runs, when this schedule made its job already, when the set
    cannot be trained on yet, or when the live model was made from the same data with the same
    recipe; the log says which.
    """
    settings = app.settings
    job = training_job_name(settings.job_name_prefix, scheduled)
    in_the_way = _running_or_made(app, job)
    if in_the_way:
        logger.info("a training was started already", extra={"jobs": in_the_way})
        return None
    examples = dataset.read_examples(app)
    try:
        groups = dataset.groups_by_class(examples, settings.class_names)
        split = dataset.split(examples, halves.settle(app, groups))
    except TrainingDataError as fault:
        logger.warning("no training: %s", fault)
        return None
    data_digest = dataset.digest(examples)
    fingerprint = training_fingerprint(settings, data_digest, len(split.train))
    live = read_live_model(app)
    if live and live.fingerprint == fingerprint:
        logger.info("no training: nothing is new since the live model's")
        return None
    _write_inputs(app, job, split, job_record(settings, job, split, data_digest, fingerprint))
    _create(app, training_request(settings, job, len(split.train), data_digest))
    logger.info("training started", extra={"job": job, "slices": len(examples)})
    return job


def _running_or_made(app: App, job: str) -> list[str]:
    """Names of the jobs that run, and this one whatever became of it: its inputs must stay."""
    running = training_jobs_of(app, StatusEquals="InProgress")
    named = training_jobs_of(app, NameContains=job)
    same = [found["TrainingJobName"] for found in named if found["TrainingJobName"] == job]
    return sorted({*(found["TrainingJobName"] for found in running), *same})


def job_record(
    settings: Settings, job: str, split: Split, data_digest: str, fingerprint: str
) -> dict[str, Any]:
    """What `promote` and people later want to know of a training: `training/<job>/job.json`."""
    return {
        "training_job": job,
        "classes": settings.class_names,
        "normaliser": NORMALISER,
        "image_shape": settings.image_shape,
        "data_digest": data_digest,
        "fingerprint": fingerprint,
        "hyperparameters": hyperparameters(settings, len(split.train)),
        "algorithm_image": settings.algorithm_image,
        "slices": {
            "train": dataset.counts(split.train, settings.class_names),
            "validation": dataset.counts(split.validation, settings.class_names),
        },
        "groups": {
            "train": len({example.group for example in split.train}),
            "validation": len({example.group for example in split.validation}),
        },
    }


def _write_inputs(app: App, job: str, split: Split, record: dict[str, Any]) -> None:
    work, folder = app.settings.work_bucket, f"{keys.TRAINING}{job}/"
    groups_key = None if uses_built_in(app.settings) else app.settings.split_key
    for channel, examples in (("train", split.train), ("validation", split.validation)):
        body = dataset.manifest(examples, work, f"{job}/{channel}", groups_key=groups_key)
        objects.write(app.s3, work, f"{folder}{channel}.manifest", body, "application/jsonl")
    body = dataset.held_out_lines(split.validation, app.settings.split_key)
    objects.write(app.s3, work, f"{folder}held_out.jsonl", body, "application/jsonl")
    body = json.dumps(record, indent=2).encode()
    objects.write(app.s3, work, f"{folder}job.json", body, "application/json")


def _create(app: App, request: dict[str, Any]) -> None:
    try:
        app.sagemaker.create_training_job(**request)
    except ClientError as error:
        if error_code(error) != "ResourceInUse":
            raise
