"""Uploads compared with their results, folder by folder, from any place on."""

from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import islice

from pydantic import BaseModel, ConfigDict

from tomodrop import keys
from tomodrop.clients import App
from tomodrop.listings import Stored, Upload, list_objects, list_uploads
from tomodrop.merge_join import ByName, Row, side_by_side

# The folders of the uploads bucket, and where their results lie in the predictions bucket.
RESULTS = {
    keys.INCOMING: (keys.PREDICTIONS, keys.REJECTED),
    keys.LABELLED: (keys.REJECTED_LABELLED,),
}


class Place(BaseModel):
    """How far a comparison has come: it goes on after these.

    `keys_after`: the last upload that was read; `held`: those that were read and not compared yet.
    """

    model_config = ConfigDict(frozen=True)

    keys_after: str = ""
    names_after: str = ""
    held: tuple[Upload, ...] = ()


class Comparison:
    """The rows of one folder of uploads, from a place on; `pool` fetches pages ahead."""

    def __init__(self, app: App, folder: str, pool: Executor, place: Place) -> None:
        settings = app.settings
        uploads = list_uploads(app.s3, settings.uploads_bucket, folder, place.keys_after, pool)
        self._begun_at = place
        self._name = place.names_after
        self._uploads = ByName(uploads, place.held)

        def results_in(home: str) -> Iterator[Stored]:
            after = f"{home}{place.names_after}" if place.names_after else ""
            listed = list_objects(app.s3, settings.predictions_bucket, home, after, pool)
            # Pictures of class-activation maps lie beside their predictions.
            return (found for found in listed if found.key.endswith(keys.SUFFIX))

        self._rows = side_by_side(
            self._uploads, [(home, results_in(home)) for home in RESULTS[folder]]
        )

    def next_rows(self, count: int) -> list[Row]:
        """So many more rows, fewer at the end, none after it."""
        rows = list(islice(self._rows, count))
        if rows:
            self._name = rows[-1].name
        return rows

    @property
    def place(self) -> Place:
        """Where to go on after the rows so far."""
        return Place(
            keys_after=self._uploads.last_key or self._begun_at.keys_after,
            names_after=self._name,
            held=tuple(self._uploads.held),
        )

    @property
    def left_alone(self) -> int:
        """How many uploads were not compared, see `merge_join.MOST_HELD`."""
        return self._uploads.left_alone


def answer_by_time(row: Row) -> bool | None:
    """Whether a row's upload has a result of its current version, as far as listings tell.

    None: they do not. Where there was an earlier version, a result that was put later may be of
    that one: it may have been under way.
    """
    newest = max((result.modified for result in row.results if result), default=None)
    if row.upload is None or row.upload.current is None or newest is None:
        return False
    if newest < row.upload.current.modified:
        return False
    return None if row.upload.earlier else True
