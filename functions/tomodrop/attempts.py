"""What an attempt leaves for the next one, so that no slice is scored twice by the same model.

An upload of many slices has its result when all are answered. Those that were answered by an
attempt that left others open are noted with their outputs, beside the next attempt's index lines.
"""

from typing import Self

from pydantic import BaseModel, Field

from tomodrop import keys, objects
from tomodrop.batches import Part
from tomodrop.clients import App


class Scored(BaseModel):
    """Slices that were answered before. `outputs`: keys by slice id; `model`: who answered."""

    model: str = ""
    outputs: dict[str, str] = Field(default={})

    @classmethod
    def before(cls, app: App, part: Part, model: str) -> Self:
        """What earlier attempts of a part answered; nothing if it was another model."""
        if part.attempt == 1:
            return cls()
        key = keys.part_scored(part.batch, part.part, part.attempt)
        body = objects.read_if_there(app.s3, app.settings.work_bucket, key)
        scored = cls.model_validate_json(body) if body else cls()
        return scored if scored.model == model else cls()

    def leave(self, app: App, part: Part) -> None:
        """Note it for the attempt after `part`'s."""
        key = keys.part_scored(part.batch, part.part, part.attempt + 1)
        body = self.model_dump_json().encode()
        objects.write(app.s3, app.settings.work_bucket, key, body, "application/json")
