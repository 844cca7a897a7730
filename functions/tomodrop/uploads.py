"""Intake: read an upload, make its slices, and name them in the index of the current window."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import THREADS, App
from tomodrop.errors import OutOfTimeError, UploadGone, UploadRejected, WindowClosedError
from tomodrop.events import UploadEvent
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.version import NORMALISER
from tomodrop.rejections import drop_rejections, reject
from tomodrop.sandbox.parent import Sandbox
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Label, Source, write_lines
from tomodrop.windows import window_of

_LABELLED_PARTS = 3
# Of an invocation's time limit: what one upload may take, and all. What is left is for storing what
# was decoded last, and the index.
_LONGEST_SHARE, _DECODING_SHARE = 0.6, 0.8


@dataclass
class DecodingTime:
    """How the decoding time of an invocation (seconds) is given out.

    `all_s`: for all uploads together, from `started` on the monotonic clock; `longest_s`: for one.
    An upload that was given the longest and runs out of it is rejected. One that was given what was
    left is no worse for running out: it comes again, and whatever comes first is given the longest.
    """

    started: float
    all_s: float
    longest_s: float
    is_first: bool = True

    def for_the_next(self, now: float) -> float:
        """What an upload gets that is begun now.

        Raises
        ------
        OutOfTimeError
            Nothing is left.
        """
        left_s = self.longest_s if self.is_first else self.started + self.all_s - now
        self.is_first = False
        if left_s <= 0:
            raise OutOfTimeError("no time is left for another upload; it comes again")
        return min(self.longest_s, left_s)


class Intake:
    """One invocation's work: uploads are taken in one by one, their index is written at the end.

    The window is chosen when the invocation starts: the platform stops it after its time limit, so
    `dispatch` knows when no more can be written to a window.
    """

    def __init__(self, app: App, now: datetime, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox
        self.batch = window_of(now, app.settings.window_seconds)
        limit_s = app.settings.intake_timeout_seconds
        self._time = DecodingTime(
            started=time.monotonic(),
            all_s=_DECODING_SHARE * limit_s,
            longest_s=min(app.settings.decode_seconds, _LONGEST_SHARE * limit_s),
        )
        self._incoming: list[IndexLine] = []
        self._labelled: list[IndexLine] = []

    def take_in(self, upload: UploadEvent) -> str:
        """Store an upload's slices, or its rejection.

        Returns "taken_in", "rejected", "gone" or, for what only stands for a folder, "ignored".

        Raises
        ------
        OutOfTimeError
            The invocation has no time left for it: its message is to come again.
        """
        settings = self._app.settings
        given_s = self._time.for_the_next(time.monotonic())
        # It warms up while the upload is fetched.
        self._sandbox.start(upload.key)
        try:
            body, source = read_upload(self._app, upload)
        except UploadGone:
            return "gone"
        if keys.is_folder_marker(upload.key, source.size_bytes):
            return "ignored"
        try:
            if body is None:
                raise too_large(source.size_bytes, settings.max_upload_mb)
            label = label_of(upload.key, settings)
            slices = self._sandbox.normalise(body, given_s)
        except UploadRejected as fault:
            if fault.code == "decode_timeout" and given_s < self._time.longest_s:
                raise OutOfTimeError("an upload needs more time than was left for it") from None
            reject(self._app, source, fault)
            return "rejected"
        self._store(source, label, slices)
        return "taken_in"

    def _store(self, source: Source, label: Label | None, slices: list[NormalisedSlice]) -> None:
        lines = index_lines(source, label, slices, self._app.settings.lung_window_hu)
        folder = keys.DATASET_SLICES if label else keys.batch_slices(self.batch)
        s3, work = self._app.s3, self._app.settings.work_bucket

        def put(line: IndexLine, made: NormalisedSlice) -> None:
            objects.write(s3, work, f"{folder}{line.slice_id}.png", made.png, "image/png")

        with ThreadPoolExecutor(THREADS) as pool:
            # Drained, so that the first failure is raised here and nothing is named.
            list(pool.map(put, lines, slices))
        (self._labelled if label else self._incoming).extend(lines)

    def write_index(self) -> int:
        """Name the slices, after all are stored: until then they do not exist.

        Labelled uploads that are named are not rejected any more, if they were before.

        Returns how many slices were named.

        Raises
        ------
        WindowClosedError
            The window was planned already: the whole invocation is to be tried again.
        """
        if self._incoming:
            if not Batches(self._app.table).open_window(self.batch):
                message = f"window {self.batch} is planned already; the uploads go round again"
                raise WindowClosedError(message)
            self._write_part(keys.batch_index(self.batch), self._incoming)
        if self._labelled:
            self._write_part(keys.DATASET_INDEX, self._labelled)
            drop_rejections(self._app, {line.source for line in self._labelled})
        return len(self._incoming) + len(self._labelled)

    def _write_part(self, folder: str, lines: list[IndexLine]) -> None:
        part = keys.part_id([line.slice_id for line in lines])
        key = f"{folder}{part}.jsonl"
        bucket = self._app.settings.work_bucket
        objects.write(self._app.s3, bucket, key, write_lines(lines), "application/jsonl")


def read_upload(app: App, upload: UploadEvent) -> tuple[bytes | None, Source]:
    """The bytes of the version that the event names (None: too many), and what S3 knows of them.

    Raises
    ------
    UploadGone
        That version was deleted.
    """
    version = {"VersionId": upload.version_id} if upload.version_id else {}
    try:
        answer = app.s3.get_object(Bucket=upload.bucket, Key=upload.key, **version)  # type: ignore[arg-type]
    except ClientError as error:
        if objects.is_absent(error):
            message = f"upload {keys.upload_id(upload.key, upload.version_id, upload.etag)} is gone"
            raise UploadGone(message) from None
        raise
    body = None
    if answer["ContentLength"] <= app.settings.max_upload_bytes:
        body = answer["Body"].read()
    answer["Body"].close()
    modified = answer["LastModified"].astimezone(UTC).isoformat(timespec="seconds")
    found = UploadEvent(
        bucket=upload.bucket,
        key=upload.key,
        version_id=answer.get("VersionId") or upload.version_id,
        etag=answer["ETag"].strip('"'),
        sequencer=upload.sequencer,
        size_bytes=answer["ContentLength"],
    )
    return body, source_of(found, body, modified)


def too_large(size_bytes: int, max_upload_mb: int) -> UploadRejected:
    """Why an upload was not read."""
    return UploadRejected(
        "too_large",
        f"The file has {size_bytes} bytes; at most {max_upload_mb} MiB are read.",
        "Upload single slices, or raise the parameter MaxUploadMb.",
    )


def source_of(upload: UploadEvent, body: bytes | None, last_modified: str) -> Source:
    """What index lines and results say of an upload; `body` is None when it was not read."""
    return Source(
        bucket=upload.bucket,
        key=upload.key,
        version_id=upload.version_id,
        etag=upload.etag,
        sequencer=upload.sequencer,
        size_bytes=upload.size_bytes,
        sha256="" if body is None else hashlib.sha256(body).hexdigest(),
        last_modified=last_modified,
    )


def label_of(key: str, settings: Settings) -> Label | None:
    """Class and group of a key under `labelled/`; None for every other key.

    Raises
    ------
    UploadRejected
        `labelled_path` or `unknown_class`.
    """
    if not key.startswith(keys.LABELLED):
        return None
    parts = key.removeprefix(keys.LABELLED).split("/")
    if len(parts) < _LABELLED_PARTS or not all(parts):
        raise UploadRejected(
            "labelled_path",
            "A labelled file must lie at labelled/<class>/<group>/<file>.",
            "Use the patient (or study, or scan block) as the group, so that no patient is in "
            "both halves of the data.",
        )
    if parts[0] not in settings.class_names:
        raise UploadRejected(
            "unknown_class",
            "The class folder is not among the classes that this stack learns "
            f"({', '.join(settings.class_names)}).",
            "Rename the folder, or change the parameter ClassNames.",
        )
    return Label(name=parts[0], group=parts[1])


def index_lines(
    source: Source,
    label: Label | None,
    slices: list[NormalisedSlice],
    lung_window_hu: tuple[float, float],
) -> list[IndexLine]:
    """The index lines of an upload's slices, with deterministic slice ids."""
    upload = keys.upload_id(source.key, source.version_id, source.etag)
    return [
        IndexLine(
            slice_id=keys.slice_id(upload, place),
            source=source,
            index=made.index,
            count=len(slices),
            position_mm=made.position_mm,
            has_lung=made.has_lung,
            lung_window_hu=lung_window_hu,
            label=label,
            normaliser=NORMALISER,
            processing=made.processing,
            warnings=made.warnings,
            pixels=made.pixels,
        )
        for place, made in enumerate(slices)
    ]
