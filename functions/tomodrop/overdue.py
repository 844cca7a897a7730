"""Uploads without a result: counted, and sent round again unless they are on their way.

An upload waits rightly while its slices are in a window or part that is not done. One that was
deleted is forgotten: what is on its way is finished, and its result stays.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial

from aws_lambda_powertools import Logger
from pydantic import BaseModel

from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import THREADS, App
from tomodrop.comparison import Comparison, Place, answer_by_time
from tomodrop.dataset import index_parts, is_current
from tomodrop.faults import Faults
from tomodrop.listings import Upload, Version, map_ahead
from tomodrop.merge_join import Row
from tomodrop.positions import Position
from tomodrop.publishing import let_one_go, source_of
from tomodrop.rejections import drop_rejection
from tomodrop.sending import Sender
from tomodrop.slices import Source, read_lines

POSITION_KEY = f"{keys.SWEEP}uploads.json"
CHUNK_ROWS = 1000
# What a chunk may take, and the place to be stored after it.
RESERVE_S = 60.0

logger = Logger(child=True)


class Round(BaseModel):
    """One comparison of all uploads, which may take several sweeps, as far as it has come.

    `overdue`: uploads older than promised without a result; `oldest`: when the first was put.
    """

    folder: str = keys.INCOMING
    place: Place = Place()
    overdue: int = 0
    oldest: datetime | None = None

    def counted(self, waiting: Iterable[Upload]) -> "Round":
        """With these overdue uploads."""
        put = [upload.current.modified for upload in waiting if upload.current]
        oldest = min([*put, self.oldest] if self.oldest else put, default=None)
        return self.model_copy(update={"overdue": self.overdue + len(put), "oldest": oldest})


@dataclass(frozen=True)
class Overdue:
    """What became of overdue uploads. `count` and `oldest_minutes` None: the round goes on."""

    sent_again: int
    count: int | None = None
    oldest_minutes: float | None = None


def send_again(
    app: App, pool: Executor, now: datetime, left_s: Callable[[], float], faults: Faults
) -> Overdue:
    """Go on with the round, or begin one, and send what is overdue and not on its way."""
    position = Position(app, POSITION_KEY, Round)
    remembered = position.recall()
    sender = Sender(app, now)
    finder = _Finder(app, pool, now, faults)
    at = remembered or Round()
    while True:
        at, is_whole = _go_through(app, pool, at, finder, sender, left_s)
        if not is_whole:
            position.remember(at)
            logger.info("the comparison goes on next time", extra={"folder": at.folder})
            return Overdue(sender.sent)
        if at.folder == keys.LABELLED:
            break
        at = at.model_copy(update={"folder": keys.LABELLED, "place": Place()})
    if remembered:
        position.forget()
    age = now - at.oldest if at.oldest else timedelta()
    return Overdue(sender.sent, at.overdue, round(age.total_seconds() / 60, 1))


def _go_through(
    app: App,
    pool: Executor,
    at: Round,
    finder: "_Finder",
    sender: Sender,
    left_s: Callable[[], float],
) -> tuple[Round, bool]:
    """Compare a folder from where the round is; whether it came to the folder's end."""
    comparison = Comparison(app, at.folder, pool, at.place)
    while rows := comparison.next_rows(CHUNK_ROWS):
        overdue = finder.overdue(rows, at.folder)
        sender.announce([upload for upload in overdue if not finder.is_on_its_way(upload)])
        at = at.counted(overdue).model_copy(update={"place": comparison.place})
        if left_s() < RESERVE_S:
            return at, False
    if comparison.left_alone:
        logger.warning("keys too long and too alike", extra={"uploads": comparison.left_alone})
    return at, True


class _Finder:
    """Tells which uploads are overdue."""

    def __init__(self, app: App, pool: Executor, now: datetime, faults: Faults) -> None:
        self._app, self._pool, self._faults = app, pool, faults
        self._young = now - timedelta(minutes=app.settings.overdue_minutes)
        # Read before any result: what is done in between has its result by then.
        self._on_their_way = frozenset(_ids_on_their_way(app, pool))

    def is_on_its_way(self, upload: Upload) -> bool:
        """Whether its current version waits in a window or part that is not done."""
        return _number(upload.id) in self._on_their_way

    def overdue(self, rows: list[Row], folder: str) -> list[Upload]:
        """Those that are old enough, and have no result of their current version."""
        found, unsure = [], []
        for row in rows:
            self._let_one_go(row)
            upload = row.upload
            if upload is None or upload.current is None or upload.current.modified > self._young:
                continue
            if folder == keys.LABELLED and _number(upload.id) in self._taken_in:
                self._drop_rejection(row, upload.current)
                continue
            answered = answer_by_time(row)
            if answered is None:
                unsure.append(row)
            elif not answered:
                found.append(upload)
        unanswered = zip(unsure, self._pool.map(self._is_unanswered, unsure), strict=True)
        return found + [row.upload for row, is_so in unanswered if is_so and row.upload]

    def _is_unanswered(self, row: Row) -> bool:
        """Whether none of the results is of the current version. False when S3 does not tell."""
        assert row.upload is not None
        assert row.upload.current is not None
        is_answered = True
        with self._faults.noted("looking at results"):
            bucket = self._app.settings.predictions_bucket
            answered = (
                source_of(self._app.s3, bucket, result.key) for result in row.results if result
            )
            is_answered = any(one and is_of(one, row.upload.current) for one in answered)
        return not is_answered

    def _let_one_go(self, row: Row) -> None:
        """Of a prediction and a rejection side by side one goes, as when they were published."""
        if row.upload and len(row.results) > 1 and all(row.results):
            with self._faults.noted("settling a prediction and a rejection"):
                bucket = self._app.settings.predictions_bucket
                let_one_go(self._app.s3, bucket, row.upload.key)

    def _drop_rejection(self, row: Row, taken_in: Version) -> None:
        """What is in the data set is not rejected, as when it was taken in."""
        if row.upload and any(row.results):
            with self._faults.noted("dropping the rejection of an upload that was taken in"):
                drop_rejection(self._app, _source_of(row.upload.key, taken_in))

    @cached_property
    def _taken_in(self) -> frozenset[int]:
        """Labelled versions that are in the data set, with the pixels that it has now."""
        found: set[int] = set()
        for _, lines in index_parts(self._app):
            for line in lines:
                number = _number(line.slice_id)
                if is_current(line, self._app.settings):
                    found.add(number)
                else:
                    found.discard(number)
        return frozenset(found)


def is_of(answered: Source, version: Version) -> bool:
    """Whether the source that a result's metadata tell of is this version of its upload."""
    if version.version_id not in ("", "null"):
        return answered.version_id == version.version_id
    return answered.last_modified == _put_at(version)


def _put_at(version: Version) -> str:
    return version.modified.astimezone(UTC).isoformat(timespec="seconds")


def _source_of(key: str, version: Version) -> Source:
    """What a listing tells of an upload's version: neither a sequencer nor a digest."""
    return Source(
        bucket="",
        key=key,
        version_id=version.version_id,
        etag=version.etag,
        sequencer="",
        size_bytes=version.size_bytes,
        sha256="",
        last_modified=_put_at(version),
    )


def _ids_on_their_way(app: App, pool: Executor) -> Iterator[int]:
    """Numbers of the upload versions in windows and parts that are not done."""
    read = partial(objects.read_if_there, app.s3, app.settings.work_bucket)
    # What has expired while it waited for a model is not on its way any more.
    for body in map_ahead(pool, read, _index_keys(app), ahead=2 * THREADS):
        for line in read_lines(body or b""):
            yield _number(line.slice_id)


def _index_keys(app: App) -> Iterator[str]:
    batches, work = Batches(app.table), app.settings.work_bucket
    for batch in batches.windows():
        yield from objects.keys_under(app.s3, work, keys.batch_index(batch))
    for part in (*batches.ready(), *batches.submitted()):
        yield part.slices_key


def _number(upload_or_slice_id: str) -> int:
    """The first half of an upload's id: 64 bits tell millions apart and take little memory."""
    return int(upload_or_slice_id[:16], 16)
