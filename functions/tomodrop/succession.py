"""Who is live, in which order: decisions follow one another, one at a time.

Parameter Store has no conditional writes, so two decisions at once could overwrite each other, and
an older model a newer one. What orders them is one object in the work bucket: the last decision,
replaced with S3's conditional writes by the next. Whoever comes next first carries out what is left
of it (the parameter, the notice, the published decision), because its writer may have died: so a
decision that has been replaced has also been carried out, and nothing is decided twice.
"""

import json
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.live_model import LiveModel, read_if_valid, write_live_model
from tomodrop.notices import publish_notice

logger = Logger(child=True)

LAST_DECISION = f"{keys.TRAINING}last_decision.json"


class Entry(BaseModel):
    """One decision: where it is published, and the model that it found or made live.

    `live` has the generation of the decision that made it live; None before the first promotion.
    `writer` tells decisions apart that two calls made alike.
    """

    model_config = ConfigDict(frozen=True)

    generation: int
    key: str
    decision: dict[str, Any]
    live: LiveModel | None
    writer: str

    @property
    def makes_live(self) -> LiveModel | None:
        """The model that this very decision makes live, if it does."""
        is_new = self.live is not None and self.live.generation == self.generation
        return self.live if is_new else None

    def is_late(self, there: LiveModel | None) -> bool:
        """Whether what the parameter holds was put there late, by a decision before `live`'s.

        Never what people put there by hand: it has no generation.
        """
        return bool(self.live and there and 0 < there.generation < self.live.generation)


@dataclass(frozen=True)
class Standing:
    """The last decision, if there was one, and its object's ETag ("" where there is none)."""

    entry: Entry | None
    etag: str

    @classmethod
    def of(cls, body: bytes, etag: str) -> Self:
        """From the object."""
        return cls(Entry.model_validate_json(body), etag)

    def live(self, there: LiveModel | None) -> LiveModel | None:
        """Who is live by this decision, where the parameter holds `there`."""
        return self.entry.live if self.entry and self.entry.is_late(there) else there

    def following(self, key: str, decision: dict[str, Any], model: LiveModel | None) -> Entry:
        """The entry of the next decision; `model` is the one that it makes live, if any."""
        generation = self.entry.generation + 1 if self.entry else 1
        live = self.entry.live if self.entry else None
        if model:
            live = model.model_copy(update={"generation": generation})
        writer = uuid4().hex
        return Entry(generation=generation, key=key, decision=decision, live=live, writer=writer)


def settle_last_decision(app: App) -> Standing:
    """The last decision, after everything that it asks for has been done."""
    standing = _read(app)
    while not _carried_out(app, standing):
        standing = _read(app)
    return standing


def commit(app: App, before: Standing, entry: Entry) -> bool:
    """Let a decision follow the one it was made after, and carry it out. False: another did."""
    work, body = app.settings.work_bucket, entry.model_dump_json().encode()
    if before.etag:
        won = objects.write_over(app.s3, work, LAST_DECISION, body, "application/json", before.etag)
    else:
        won = objects.write_once(app.s3, work, LAST_DECISION, body, "application/json")
    after = settle_last_decision(app)
    # A put whose answer was lost is sent again, and refused for what it wrote itself.
    return won or after.entry == entry


def _read(app: App) -> Standing:
    try:
        found = app.s3.get_object(Bucket=app.settings.work_bucket, Key=LAST_DECISION)
    except ClientError as error:
        if objects.is_absent(error):
            return Standing(None, "")
        raise
    return Standing.of(found["Body"].read(), found["ETag"])


def _carried_out(app: App, standing: Standing) -> bool:
    """Do what is left of a decision; False if another replaced it meanwhile."""
    entry = standing.entry
    if entry is None:
        return True
    published = objects.is_there(app.s3, app.settings.predictions_bucket, entry.key)
    model = _to_write(app, entry, published=published)
    if model:
        write_live_model(app, model)
        # Who was held up just before that may have written over a successor's.
        if _read(app).etag != standing.etag:
            return False
    if not published:
        _tell_people(app, entry)
    return True


def _to_write(app: App, entry: Entry, *, published: bool) -> LiveModel | None:
    """The model to write into the parameter, if that is still to be done.

    Once a decision is published its model has been written. Then only what an earlier decision
    wrote late is written over.
    """
    if not published:
        return entry.makes_live
    return entry.live if entry.live and entry.is_late(read_if_valid(app)) else None


def _tell_people(app: App, entry: Entry) -> None:
    """Publish a decision. Its own object comes last: it says that all has been done."""
    bucket, folder = app.settings.predictions_bucket, entry.key.rpartition("/")[0]
    evaluation = entry.decision.get("evaluation")
    if evaluation:
        body = json.dumps(evaluation, indent=2).encode()
        objects.write(app.s3, bucket, f"{folder}/evaluation.json", body, "application/json")
    publish_notice(app, entry.decision)
    body = json.dumps(entry.decision, indent=2).encode()
    objects.write(app.s3, bucket, entry.key, body, "application/json")
