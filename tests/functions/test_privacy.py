"""What an upload says of its patient stays in the upload."""

import gzip
import io
import json
import logging
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pydicom
import pytest
from PIL import Image, PngImagePlugin

import collect
import intake
from tests.functions import marked
from tests.functions.builders import (
    encoded,
    go_live,
    gradient,
    put_answers,
    results,
    s3_event,
    sqs_event,
    upload,
)
from tests.functions.conftest import Context
from tests.functions.test_pictures import chunk
from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.dispatching import dispatch
from tomodrop.slices import read_lines

SECRET = b"PatientName^SECRET"
MARKS = (
    b"SECRET",
    "SECRET".encode("utf-16-le"),
    b"SECRET"[::-1],
    marked.UID_MARK.encode(),
    marked.DATE_MARK.encode(),
)


def with_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("PatientName", SECRET.decode())
    text.add_text("Compressed", SECRET.decode(), zip=True)
    text.add_itxt("International", SECRET.decode())
    exif = Image.Exif()
    exif[0x9286] = SECRET
    return encoded(gradient(), pnginfo=text, exif=exif, icc_profile=SECRET)


def jpeg_with_text() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    return encoded(gradient(), "JPEG", comment=SECRET, exif=exif, icc_profile=SECRET)


GOOD = {
    "incoming/text.png": with_text(),
    "incoming/text.jpg": jpeg_with_text(),
    "incoming/trailer.png": encoded(gradient()) + SECRET,
    "labelled/covid/p1/text.png": with_text(),
}
HOSTILE = {
    "incoming/plain.png": SECRET * 9,
    "incoming/dicom.dcm": bytes(128) + b"DICM" + SECRET,
    "incoming/cut.png": with_text()[:-200],
    "incoming/chunk.png": with_text()[:33] + chunk(SECRET[:4], SECRET) + with_text()[33:90],
    "incoming/broken-text.png": with_text()[:33] + chunk(b"zTXt", SECRET + b"\0\0" + SECRET),
    "incoming/bad-exif.jpg": jpeg_with_text().replace(b"Exif\0\0", b"Exif\0\0" + SECRET),
    "incoming/comment.gif": encoded(gradient(), "GIF", comment=SECRET),
    "labelled/SECRE/p1/unknown-class.png": SECRET,
}


CLINICAL = {
    "incoming/slice.dcm": marked.marked_dicom(),
    "incoming/series.zip": marked.marked_zip(),
    "incoming/volume.nii": marked.marked_nifti(),
    "incoming/volume.nii.gz": marked.marked_gzip(),
    "incoming/cut.dcm": marked.marked_dicom()[:-3000],
    "labelled/covid/p1/slice.dcm": marked.marked_dicom(),
}


def run(stack: App, files: dict[str, bytes]) -> None:
    """The whole way of some uploads, with answers for whatever got so far."""
    event = s3_event(*(upload(stack, key, body) for key, body in files.items()))
    assert intake.handler(event, Context()) == {"batchItemFailures": []}
    go_live(stack)
    dispatch(stack, datetime.now(UTC) + timedelta(hours=1))
    for part in Batches(stack.table).submitted():
        body = objects.read(stack.s3, stack.settings.work_bucket, part.slices_key)
        job = keys.parse_job_name(part.job, "tomodrop")
        put_answers(stack, job, list(read_lines(body)), b"[0.9, 0.1]")
        ended = {
            "source": "aws.sagemaker",
            "detail-type": "SageMaker Transform Job State Change",
            "detail": {"TransformJobName": part.job, "TransformJobStatus": "Completed"},
        }
        assert collect.handler(ended, Context()) is not None


def kept(stack: App) -> Iterator[tuple[str, bytes]]:
    """Everything that is stored outside the uploads bucket, by name."""
    settings = stack.settings
    for bucket in (settings.work_bucket, settings.predictions_bucket):
        for key in objects.keys_under(stack.s3, bucket, ""):
            body = objects.read(stack.s3, bucket, key)
            yield key, key.encode() + json.dumps(_metadata(stack, bucket, key)).encode() + body
            if key.endswith(".png"):
                yield f"{key} inflated", _inflated(body)
    yield "table", repr(stack.table.scan()["Items"]).encode()


def _metadata(stack: App, bucket: str, key: str) -> dict[str, str]:
    return stack.s3.head_object(Bucket=bucket, Key=key)["Metadata"]


def _inflated(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return repr(image.info).encode() + image.tobytes()


def told(records: list[logging.LogRecord], printed: tuple[str, str]) -> bytes:
    """Every log line with all its fields and tracebacks, and what was printed."""
    formatter = logging.Formatter()
    lines = [f"{formatter.format(record)} {vars(record)}" for record in records]
    return "\n".join([*lines, *printed]).encode()


def leaks(found: bytes) -> bool:
    return any(mark in found for mark in MARKS)


@pytest.fixture
def quiet(
    stack: App, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[App]:
    """The stack; at the end, nothing that was said holds the mark, at any level."""
    caplog.set_level(logging.DEBUG, "tomodrop")
    yield stack
    records = caplog.get_records("call")
    assert records
    assert not leaks(told(records, capfd.readouterr()))


def test_the_files_do_hold_the_mark() -> None:
    packed = "incoming/volume.nii.gz"
    for key, body in (GOOD | HOSTILE | CLINICAL).items():
        assert leaks(gzip.decompress(body) if key == packed else body), key
    tags = pydicom.dcmread(io.BytesIO(CLINICAL["incoming/slice.dcm"]))
    assert sum(leaks(repr(element.value).encode()) for element in tags) > 1500
    assert leaks(zlib.decompress(zlib.compress(SECRET)))


def test_text_in_a_picture_goes_nowhere(quiet: App) -> None:
    run(quiet, GOOD)
    assert len(results(quiet)) == 3
    assert {document["status"] for document in results(quiet).values()} == {"predicted"}
    assert [name for name, found in kept(quiet) if leaks(found)] == []
    names = [name for name, _ in kept(quiet)]
    assert any(name.startswith("dataset/index/") for name in names)
    assert any(name.endswith("contact-sheet.png") for name in names)


def test_text_in_a_hostile_file_goes_nowhere(quiet: App) -> None:
    run(quiet, HOSTILE)
    assert len(results(quiet)) == len(HOSTILE)
    assert [name for name, found in kept(quiet) if leaks(found)] == []


def test_tags_names_and_headers_of_clinical_files_go_nowhere(quiet: App) -> None:
    run(quiet, CLINICAL)
    documents = {key: document["status"] for key, document in results(quiet).items()}
    assert documents == {
        "predictions/slice.dcm.json": "predicted",
        "predictions/series.zip.json": "predicted",
        "predictions/volume.nii.json": "predicted",
        "predictions/volume.nii.gz.json": "predicted",
        "rejected/cut.dcm.json": "rejected",
    }
    assert [name for name, found in kept(quiet) if leaks(found)] == []


def test_neighbours_of_a_hostile_file_are_byte_for_byte_what_they_are_alone(stack: App) -> None:
    def slices() -> dict[str, bytes]:
        work = stack.settings.work_bucket
        found = objects.keys_under(stack.s3, work, "batches/")
        return {
            key.rsplit("/", 1)[1]: objects.read(stack.s3, work, key)
            for key in found
            if "/slices/" in key
        }

    records = {key: upload(stack, key, body) for key, body in (GOOD | HOSTILE).items()}
    intake.handler(s3_event(*(records[key] for key in GOOD)), Context())
    alone = slices()
    assert len(alone) == 3
    intake.handler(s3_event(*records.values()), Context())
    assert {name: slices()[name] for name in alone} == alone


RECORD = {"eventVersion": "2.1", "eventName": "ObjectCreated:Put"}


@pytest.mark.parametrize(
    "body",
    [
        SECRET.decode(),
        json.dumps({"Records": [RECORD | {"s3": "SECRET"}]}),
        json.dumps({"Records": "SECRET"}),
        json.dumps({"Records": [RECORD | {"eventName": ["SECRET"]}]}),
    ],
    ids=["no JSON", "no object", "no list", "no name"],
)
def test_a_garbled_message_is_not_quoted(
    stack: App,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    body: str,
) -> None:
    caplog.set_level(logging.DEBUG, "tomodrop")
    answer = intake.handler(sqs_event(body), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert not leaks(told(caplog.records, capfd.readouterr()))


def test_whole_events_are_not_logged(
    stack: App,
    load_event: Callable[[str], dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, "tomodrop")
    intake.handler(load_event("s3-put"), Context())
    said = told(caplog.records, capfd.readouterr())
    assert b"taken in" in said
    assert b"slice-017" not in said
    assert b"192.0.2.17" not in said
