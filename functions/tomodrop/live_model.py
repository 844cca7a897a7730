"""The live model: a record in one SSM parameter, and beside each training job for later look-up.

Who writes it, and in which order, is settled in `succession`.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import SettingsError

# What template.yaml puts into the parameter before any model was promoted.
NONE = "none"
_DAY_S = 86_400


class LiveModel(BaseModel):
    """A promoted model: everything that a job or a prediction says of it.

    `generation` counts the decisions up to the one that made it live. It is 0 in the copy beside
    the training job, and in what people put into the parameter by hand.
    """

    model_config = ConfigDict(frozen=True)

    model_name: str
    training_job: str
    trained_at: datetime
    classes: tuple[str, ...]
    normaliser: str
    image_shape: tuple[int, int, int]
    fingerprint: str
    metrics: dict[str, Any]
    generation: int = 0


def read_live_model(app: App) -> LiveModel | None:
    """The live model, or None before the first promotion.

    Raises
    ------
    SettingsError
        The parameter holds something else.
    """
    name = app.settings.live_model_parameter
    value = app.ssm.get_parameter(Name=name)["Parameter"]["Value"]
    if value == NONE:
        return None
    try:
        return LiveModel.model_validate_json(value)
    except ValidationError:
        message = (
            f"parameter {name} holds no live model record: set it to '{NONE}', or call promote "
            'with {"rollback_to": "<training job>"} to go back to an earlier model'
        )
        raise SettingsError(message) from None


def age_of_live_model_days(app: App, now: datetime) -> float | None:
    """Days since the training of the live model began; None when no model is live."""
    live = read_live_model(app)
    if live is None:
        return None
    return round(max(0.0, (now - live.trained_at).total_seconds()) / _DAY_S, 2)


def read_if_valid(app: App) -> LiveModel | None:
    """As `read_live_model`, but None for a parameter that holds something else."""
    try:
        return read_live_model(app)
    except SettingsError:
        return None


def write_live_model(app: App, model: LiveModel) -> None:
    """Make a model live, and keep its record beside its training job."""
    kept = model.model_copy(update={"generation": 0}).model_dump_json()
    key = model_record_key(model.training_job)
    objects.write(app.s3, app.settings.work_bucket, key, kept.encode(), "application/json")
    app.ssm.put_parameter(
        Name=app.settings.live_model_parameter,
        Value=model.model_dump_json(),
        Type="String",
        Overwrite=True,
    )


def read_model_record(app: App, model_name: str) -> LiveModel:
    """The record of any model that was ever live (a model is named after its training job)."""
    body = objects.read(app.s3, app.settings.work_bucket, model_record_key(model_name))
    return LiveModel.model_validate_json(body)


def model_record_key(training_job: str) -> str:
    """Where the record of a promoted model is kept, in the work bucket."""
    return f"{keys.TRAINING}{training_job}/model.json"
