"""The environment of a function, read once into one frozen object. No other module reads it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from tomodrop.errors import SettingsError
from tomodrop.instances import INSTANCES

MIB = 1024 * 1024


def _split_list(text: Any) -> Any:
    return tuple(part.strip() for part in text.split(",")) if isinstance(text, str) else text


def _refuse_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    if "" in names or len(set(names)) < len(names):
        message = "a name is empty or comes twice"
        raise ValueError(message)
    return names


def _split_pairs(text: Any) -> Any:
    """`a=1,b="3,224,224"` → pairs. A comma inside double quotes belongs to the value."""
    if not isinstance(text, str):
        return text
    pairs: list[tuple[str, str]] = []
    for part in _split_outside_quotes(text):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            message = f"'{part}' is not of the form name=value"
            raise ValueError(message)
        pairs.append((name.strip(), value.strip().strip('"')))
    return tuple(pair for pair in pairs if pair[1] != "")


def _split_outside_quotes(text: str) -> list[str]:
    parts, current, quoted = [], "", False
    for character in text:
        quoted ^= character == '"'
        if character == "," and not quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    if quoted:
        message = "a double quote is not closed"
        raise ValueError(message)
    return [part for part in [*parts, current] if part.strip()]


def _refuse_unusable(definitions: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for name, regex in definitions:
        try:
            groups = re.compile(regex).groups
        except re.error as error:
            message = f"the regular expression of '{name}' is not valid: {error}"
            raise ValueError(message) from None
        if not groups:
            message = f"the regular expression of '{name}' has no group to take the value from"
            raise ValueError(message)
    return definitions


def _refuse_unknown(types: tuple[str, ...]) -> tuple[str, ...]:
    """Empty, or known types: among others there would be nothing to choose by."""
    if types == ("",):
        return ()
    if unknown := [name for name in types if name not in INSTANCES]:
        message = f"{', '.join(unknown)}: of {', '.join(INSTANCES)} only speed and price are known"
        raise ValueError(message)
    return types


def _split_optional_list(text: Any) -> Any:
    return () if text == "" else _split_list(text)


Names = Annotated[tuple[str, ...], BeforeValidator(_split_list), AfterValidator(_refuse_repeats)]
Shape = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], BeforeValidator(_split_list)]
Pairs = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_split_pairs)]
InstanceTypes = Annotated[
    tuple[str, ...], BeforeValidator(_split_list), AfterValidator(_refuse_unknown)
]
OptionalNames = Annotated[
    tuple[str, ...], BeforeValidator(_split_optional_list), AfterValidator(_refuse_repeats)
]
MetricDefinitions = Annotated[Pairs, AfterValidator(_refuse_unusable)]
_MAX_METRIC_DEFINITIONS = 40  # SageMaker's own limit


class Settings(BaseModel):
    """What `template.yaml` gives every function. Field `x_y` is the variable `X_Y`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uploads_bucket: str = Field(min_length=3)
    work_bucket: str = Field(min_length=3)
    predictions_bucket: str = Field(min_length=3)
    batch_table: str = Field(min_length=3)
    intake_queue_url: str = Field(min_length=1)
    live_model_parameter: str = Field(min_length=1)
    notices_topic_arn: str = Field(min_length=1)
    job_name_prefix: str = Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,19}$")

    window_minutes: float = Field(gt=0, le=60)
    intake_timeout_seconds: int = Field(ge=1, le=900)
    max_slices_per_job: int = Field(ge=1)
    max_attempts: int = Field(ge=1)
    overdue_minutes: float = Field(gt=0)
    max_job_minutes: float = Field(gt=0)
    max_upload_mb: int = Field(ge=1)
    max_pixels_per_slice: int = Field(ge=1024)
    max_slices_per_upload: int = Field(ge=1)
    decode_memory_mb: int = Field(ge=64)
    decode_seconds: float = Field(gt=0, le=900)
    lung_window_level_hu: float = Field(ge=-2000, le=4000)
    lung_window_width_hu: float = Field(gt=0, le=8000)
    volume_top_share: float = Field(gt=0, le=1)

    class_names: Names = Field(min_length=2)
    image_shape: Shape

    algorithm_image: str = Field(min_length=1)
    sagemaker_role_arn: str = Field(min_length=20)
    kms_key_arn: str = Field(pattern=r"^$|^arn:[^:]+:kms:")
    subnet_ids: OptionalNames
    security_group_ids: OptionalNames
    training_instance_type: str
    training_instance_count: int = Field(ge=1)
    training_volume_gb: int = Field(ge=1)
    training_max_hours: float = Field(gt=0)
    use_spot: bool
    transform_instance_type: str
    transform_instance_types: InstanceTypes
    transform_target_minutes: float = Field(gt=0)
    transform_instance_count: int = Field(ge=1)
    max_concurrent_transforms: int = Field(ge=1, le=16)
    answer_detail: Literal["plain", "verbose"]
    keep_class_maps: bool
    minimum_typicality: float = Field(ge=0, le=1)

    hyperparameters: Pairs
    extra_hyperparameters: Pairs = ()
    starting_model_key: str
    metric_definitions: MetricDefinitions = Field(max_length=_MAX_METRIC_DEFINITIONS)
    validation_share: float = Field(gt=0, lt=1)
    split_key: str = Field(min_length=1, max_length=64)
    balance_classes: bool
    shortcut_warning: float = Field(gt=0.5, le=1)
    shortcut_action: Literal["warn", "refuse"]
    minimum_validation_accuracy: float = Field(ge=0, le=1)
    minimum_sensitivity: float = Field(ge=0, le=1)
    maximum_calibration_error: float = Field(ge=0, le=1)
    promotion_margin: float = Field(ge=0, le=1)
    promotion_confidence: float = Field(ge=0.5, le=0.999)
    max_evaluation_slices: int = Field(ge=100)

    @model_validator(mode="after")
    def _ask_for_maps_verbosely(self) -> Self:
        if self.keep_class_maps and self.answer_detail == "plain":
            message = "KEEP_CLASS_MAPS needs ANSWER_DETAIL verbose: a plain answer has no map"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _refuse_half_a_network(self) -> Self:
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            message = "give SubnetIds and SecurityGroupIds, or neither"
            raise ValueError(message)
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables named after the fields.

        Raises
        ------
        SettingsError
            Names every missing or invalid variable at once.
        """
        values = {
            name: environment[name.upper()]
            for name in cls.model_fields
            if name.upper() in environment
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(
                ": ".join([*(str(part).upper() for part in fault["loc"][:1]), fault["msg"]])
                for fault in error.errors()
            )
            message = (
                f"the function's environment is wrong: {faults}. "
                "Set the parameters of template.yaml that feed these variables."
            )
            raise SettingsError(message) from None

    @property
    def window_seconds(self) -> int:
        """Length of a window in whole seconds, at least one."""
        return max(1, round(self.window_minutes * 60))

    @property
    def allowed_instance_types(self) -> tuple[str, ...]:
        """What transform jobs may run on, at least one."""
        return self.transform_instance_types or (self.transform_instance_type,)

    @property
    def lung_window_hu(self) -> tuple[float, float]:
        """Level and width in Hounsfield units."""
        return self.lung_window_level_hu, self.lung_window_width_hu

    @property
    def max_upload_bytes(self) -> int:
        """Largest upload that is read, in bytes."""
        return self.max_upload_mb * MIB
