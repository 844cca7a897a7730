"""What a result says of where it comes from: the model, the batch, and what its job should take."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from tomodrop.instances import Choice


class Strict(BaseModel):
    """A part of the published schema: nothing is changed or added."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelReference(Strict):
    """The model that answered, and how it did on slices held out from its training."""

    name: str
    training_job: str
    normaliser: str
    metrics: dict[str, Any]


class Expected(Strict):
    """What the whole transform job was expected to take when it was made.

    Estimates from a table of speeds and list prices; null for an instance type that it lacks.
    """

    instance_type: str
    instance_count: int = Field(ge=1)
    minutes: float | None = Field(ge=0)
    usd: float | None = Field(ge=0, description="on demand in us-east-1")

    @classmethod
    def of(cls, choice: Choice) -> Self:
        """From the choice that `dispatch` made."""
        return cls(
            instance_type=choice.instance_type,
            instance_count=choice.instance_count,
            minutes=None if choice.minutes is None else round(choice.minutes, 1),
            usd=None if choice.usd is None else round(choice.usd, 4),
        )


class BatchReference(Strict):
    """The batch and the transform job that the upload went through."""

    id: str
    job: str
    expected: Annotated[
        Expected | SkipJsonSchema[None],
        Field(
            description="absent for jobs that were made before this was noted",
            exclude_if=lambda value: value is None,
            json_schema_extra=lambda shown: shown.pop("default", None),
        ),
    ] = None
