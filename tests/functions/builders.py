"""Small values that the tests are told with: uploads, index lines, results, pictures, events."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends
from PIL import Image

from tomodrop import keys, objects
from tomodrop.answers import Answer
from tomodrop.clients import App
from tomodrop.imaging.version import NORMALISER
from tomodrop.instances import Choice
from tomodrop.keys import JobName, slice_id, upload_id
from tomodrop.live_model import LiveModel, write_live_model
from tomodrop.predictions import Rejection, Result, predicted, rejected
from tomodrop.references import BatchReference, ModelReference
from tomodrop.slices import IndexLine, Label, Source

ACCOUNT = "123456789012"
REPOSITORY = Path(__file__).parents[2]
EVENTS = REPOSITORY / "events"
ENVIRONMENT = {
    "UPLOADS_BUCKET": "tomodrop-uploads-123456789012",
    "WORK_BUCKET": "tomodrop-work-123456789012",
    "PREDICTIONS_BUCKET": "tomodrop-predictions-123456789012",
    "BATCH_TABLE": "tomodrop-batches",
    "INTAKE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/tomodrop-intake",
    "LIVE_MODEL_PARAMETER": "/tomodrop/live-model",
    "NOTICES_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:tomodrop-notices",
    "JOB_NAME_PREFIX": "tomodrop",
    "WINDOW_MINUTES": "5",
    "INTAKE_TIMEOUT_SECONDS": "60",
    "MAX_SLICES_PER_JOB": "100",
    "MAX_ATTEMPTS": "2",
    "OVERDUE_MINUTES": "60",
    "MAX_JOB_MINUTES": "240",
    "MAX_UPLOAD_MB": "100",
    "MAX_PIXELS_PER_SLICE": "16777216",
    "MAX_SLICES_PER_UPLOAD": "1000",
    "DECODE_MEMORY_MB": "512",
    "DECODE_SECONDS": "20",
    "LUNG_WINDOW_LEVEL_HU": "-600",
    "LUNG_WINDOW_WIDTH_HU": "1500",
    "VOLUME_TOP_SHARE": "1",
    "CLASS_NAMES": "non_covid,covid",
    "IMAGE_SHAPE": "3,64,64",
    "ALGORITHM_IMAGE": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
    "SAGEMAKER_ROLE_ARN": "arn:aws:iam::123456789012:role/tomodrop-sagemaker",
    "KMS_KEY_ARN": "",
    "SUBNET_IDS": "",
    "SECURITY_GROUP_IDS": "",
    "TRAINING_INSTANCE_TYPE": "ml.g4dn.xlarge",
    "TRAINING_INSTANCE_COUNT": "1",
    "TRAINING_VOLUME_GB": "50",
    "TRAINING_MAX_HOURS": "24",
    "USE_SPOT": "false",
    "TRANSFORM_INSTANCE_TYPE": "ml.g4dn.xlarge",
    "TRANSFORM_INSTANCE_TYPES": "",
    "TRANSFORM_TARGET_MINUTES": "60",
    "TRANSFORM_INSTANCE_COUNT": "1",
    "MAX_CONCURRENT_TRANSFORMS": "4",
    "ANSWER_DETAIL": "plain",
    "MINIMUM_TYPICALITY": "0.05",
    "KEEP_CLASS_MAPS": "false",
    "HYPERPARAMETERS": 'num_layers=152,epochs=50,lr_scheduler_step="10,20",augmentation_type=',
    "EXTRA_HYPERPARAMETERS": "",
    "STARTING_MODEL_KEY": "",
    "METRIC_DEFINITIONS": "train:accuracy=Train-accuracy=([0-9.]+),"
    "validation:accuracy=Validation-accuracy=([0-9.]+)",
    "VALIDATION_SHARE": "0.2",
    "SPLIT_KEY": "tomodrop",
    "BALANCE_CLASSES": "false",
    "SHORTCUT_WARNING": "0.9",
    "SHORTCUT_ACTION": "warn",
    "MINIMUM_VALIDATION_ACCURACY": "0.8",
    "MINIMUM_SENSITIVITY": "0",
    "MAXIMUM_CALIBRATION_ERROR": "1",
    "PROMOTION_MARGIN": "0.02",
    "PROMOTION_CONFIDENCE": "0.95",
    "MAX_EVALUATION_SLICES": "20000",
}
CLASSES = ("non_covid", "covid")
CHOICE = Choice("ml.g4dn.xlarge", 1, minutes=5.5, usd=0.0675)
JOB = JobName("tomodrop", "20261124T153900Z", "0000", 1)
MODEL = LiveModel(
    model_name="tomodrop-train-20261101T030000Z",
    training_job="tomodrop-train-20261101T030000Z",
    trained_at=datetime(2026, 11, 1, 3, tzinfo=UTC),
    classes=CLASSES,
    normaliser=NORMALISER,
    image_shape=(3, 64, 64),
    fingerprint="f",
    metrics={"validation:accuracy": 0.9},
)


def go_live(app: App, model: LiveModel = MODEL) -> None:
    """Make a model live, and let SageMaker know it."""
    write_live_model(app, model)
    app.sagemaker.create_model(
        ModelName=model.model_name,
        PrimaryContainer={"Image": ENVIRONMENT["ALGORITHM_IMAGE"], "ModelDataUrl": "s3://w/m"},
        ExecutionRoleArn=ENVIRONMENT["SAGEMAKER_ROLE_ARN"],
    )


def source(
    key: str = "incoming/a.png",
    version_id: str = "v1",
    sequencer: str = "0060",
    last_modified: str = "2026-11-24T15:39:00+00:00",
    **values: Any,
) -> Source:
    """One version of one upload."""
    return Source(
        bucket=ENVIRONMENT["UPLOADS_BUCKET"],
        key=key,
        version_id=version_id,
        etag=values.get("etag", f"etag-{version_id}"),
        sequencer=sequencer,
        size_bytes=7,
        sha256="ab" * 32,
        last_modified=last_modified,
    )


def lines_of(
    of: Source, count: int = 1, label: Label | None = None, **values: Any
) -> list[IndexLine]:
    """The index lines of an upload of so many slices."""
    upload = upload_id(of.key, of.version_id, of.etag)
    return [
        IndexLine(
            slice_id=slice_id(upload, index),
            source=of,
            index=index,
            count=count,
            label=label,
            normaliser=values.get("normaliser", NORMALISER),
            processing={"format": "PNG", "image_shape": values.get("image_shape", [3, 64, 64])},
        )
        for index in range(count)
    ]


def prediction_of(of: Source, covid: float = 0.75, slices: int = 1) -> Result:
    """A prediction for an upload."""
    return predicted(
        lines_of(of, slices),
        [Answer((1 - covid, covid))] * slices,
        list(CLASSES),
        ModelReference(
            name=MODEL.model_name,
            training_job=MODEL.training_job,
            normaliser=MODEL.normaliser,
            metrics=MODEL.metrics,
        ),
        BatchReference(id=JOB.batch, job=str(JOB)),
    )


def grey_map(*greys: int) -> bytes:
    """The PNG of a map of 2 x 2 cells; further greys are maps below it."""
    picture = Image.new("L", (2, len(greys) // 2))
    picture.putdata(greys)
    return encoded(picture)


def rejection_of(of: Source, code: str = "damaged_image") -> Result:
    """A rejection of an upload."""
    return rejected(of, Rejection(code=code, message="It is damaged.", remedy="Send it again."))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(size: tuple[int, int] = (96, 80), grey: int = 120) -> Image.Image:
    """A picture whose neighbouring pixels differ."""
    return Image.linear_gradient("L").resize(size).point(lambda value: (value + grey) % 256)


def png(size: tuple[int, int] = (96, 80), grey: int = 120, mode: str = "L") -> bytes:
    """The file of a gradient."""
    return encoded(gradient(size, grey).convert(mode))


def s3_record(key: str, version_id: str | None, sequencer: str | None) -> dict[str, Any]:
    """One S3 notification record, in the shape of events/s3-put.json."""
    described: dict[str, Any] = {"key": quote_plus(key, safe="/"), "size": 1, "eTag": "e"}
    described |= {"versionId": version_id} if version_id else {}
    described |= {"sequencer": sequencer} if sequencer else {}
    return {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": ENVIRONMENT["UPLOADS_BUCKET"]}, "object": described},
    }


def upload(app: App, key: str, body: bytes, sequencer: str | None = "0060") -> dict[str, Any]:
    """Put an upload; returns the record that S3 sends of it."""
    put = app.s3.put_object(Bucket=app.settings.uploads_bucket, Key=key, Body=body)
    return s3_record(key, put["VersionId"], sequencer)


def sqs_event(*bodies: str) -> dict[str, Any]:
    """What Lambda hands over for these messages."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"handle-{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:tomodrop-intake",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def s3_event(*records: dict[str, Any]) -> dict[str, Any]:
    """What Lambda hands over for these S3 records, each in a message of its own."""
    return sqs_event(*(json.dumps({"Records": [record]}) for record in records))


def put_answers(app: App, job: JobName, lines: list[IndexLine], body: bytes) -> None:
    """Write an output for each slice, as a transform job does."""
    for line in lines:
        key = f"{keys.job_outputs(job)}{line.slice_id}.png.out"
        objects.write(app.s3, app.settings.work_bucket, key, body, "application/jsonlines")


def job_becomes(name: str, **values: Any) -> None:
    """Let a training or transform job be as it would be later: moto's jobs end at once."""
    backend = sagemaker_backends[ACCOUNT]["us-east-1"]
    job = backend.training_jobs.get(name) or backend.transform_jobs[name]
    for attribute, value in values.items():
        assert hasattr(job, attribute)
        setattr(job, attribute, value)


def backdate(bucket: str, key: str, age: timedelta) -> None:
    """Let an object be older than it is: S3 has no call for that, moto's own record is changed."""
    stored = s3_backends[ACCOUNT]["aws"].get_object(bucket, key)
    assert stored is not None
    stored.last_modified -= age


def results(app: App) -> dict[str, dict[str, Any]]:
    """Every result that users see, by key."""
    bucket = app.settings.predictions_bucket
    found: dict[str, dict[str, Any]] = {}
    for folder in (keys.PREDICTIONS, keys.REJECTED, keys.REJECTED_LABELLED):
        for key in objects.keys_under(app.s3, bucket, folder):
            if key.endswith(".json"):
                found[key] = json.loads(objects.read(app.s3, bucket, key))
    return found
