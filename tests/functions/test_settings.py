"""The environment of a function: read whole, refused whole."""

import re

import pytest
from pydantic import ValidationError

from tests.functions.builders import ENVIRONMENT, REPOSITORY
from tomodrop.errors import SettingsError
from tomodrop.instances import INSTANCES
from tomodrop.settings import Settings


def read(**changes: str) -> Settings:
    return Settings.from_environment(ENVIRONMENT | changes)


def test_every_variable_is_read() -> None:
    settings = read()
    assert settings.uploads_bucket == "tomodrop-uploads-123456789012"
    assert settings.class_names == ("non_covid", "covid")
    assert settings.image_shape == (3, 64, 64)
    assert settings.use_spot is False
    assert settings.minimum_validation_accuracy == 0.8
    assert {name.upper() for name in Settings.model_fields} == set(ENVIRONMENT)


def test_the_template_gives_every_variable() -> None:
    template = (REPOSITORY / "template.yaml").read_text()
    given = set(re.findall(r"^        ([A-Z_]+): ", template, re.MULTILINE))
    assert {name.upper() for name in Settings.model_fields} <= given


def test_variables_of_others_do_not_matter() -> None:
    assert read(PATH="/bin", AWS_REGION="eu-west-1") == read()


def test_empty_values_mean_not_set_and_quotes_hold_commas() -> None:
    settings = read(HYPERPARAMETERS='a=1, b = x=y ,lr_scheduler_step="10,20",c="",d=,')
    assert dict(settings.hyperparameters) == {"a": "1", "b": "x=y", "lr_scheduler_step": "10,20"}


def test_no_extra_hyperparameters_are_no_pairs() -> None:
    assert read(EXTRA_HYPERPARAMETERS="").extra_hyperparameters == ()


@pytest.mark.parametrize(("minutes", "seconds"), [("5", 300), ("0.05", 3), ("0.001", 1)])
def test_a_window_has_whole_seconds_and_at_least_one(minutes: str, seconds: int) -> None:
    assert read(WINDOW_MINUTES=minutes).window_seconds == seconds


def test_the_largest_upload_is_given_in_mib() -> None:
    assert read(MAX_UPLOAD_MB="2").max_upload_bytes == 2_097_152


def test_jobs_run_on_the_one_type_unless_several_are_named() -> None:
    one = read(TRANSFORM_INSTANCE_TYPE="ml.x9.huge", TRANSFORM_INSTANCE_TYPES="")
    assert one.allowed_instance_types == ("ml.x9.huge",)
    several = read(TRANSFORM_INSTANCE_TYPES="ml.c5.xlarge, ml.g5.xlarge")
    assert several.allowed_instance_types == ("ml.c5.xlarge", "ml.g5.xlarge")


def test_the_template_allows_the_instance_types_that_are_known() -> None:
    template = (REPOSITORY / "template.yaml").read_text()
    declared = template[template.index("\n  TransformInstanceTypes:") :]
    found = re.search(r"AllowedPattern: >-\n +(\S+)\n", declared)
    assert found
    allowed = re.compile(found[1])
    assert all(allowed.search(value) for value in ("", *INSTANCES, ",".join(INSTANCES)))
    refused = ("ml.x9.huge", "ml.c5.large", "ml.c5.xlarge,", ",ml.c5.xlarge", "ml.c5.xlarge,ml.a.b")
    assert not any(allowed.search(value) for value in refused)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.__setattr__(read(), "max_attempts", 9)


@pytest.mark.parametrize("absent", sorted(set(ENVIRONMENT) - {"EXTRA_HYPERPARAMETERS"}))
def test_each_variable_is_needed(absent: str) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != absent}
    with pytest.raises(SettingsError, match=rf"{absent}: Field required"):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METRIC_DEFINITIONS", "a=b([0-9"),
        ("METRIC_DEFINITIONS", "a=b"),
        ("METRIC_DEFINITIONS", "a"),
        ("METRIC_DEFINITIONS", ",".join(f"a{number}=(x)" for number in range(41))),
        ("WINDOW_MINUTES", "0"),
        ("WINDOW_MINUTES", "nan"),
        ("WINDOW_MINUTES", "61"),
        ("INTAKE_TIMEOUT_SECONDS", "901"),
        ("MAX_SLICES_PER_JOB", "0"),
        ("MAX_ATTEMPTS", "1.5"),
        ("MAX_UPLOAD_MB", ""),
        ("MAX_PIXELS_PER_SLICE", "0"),
        ("MAX_SLICES_PER_UPLOAD", "0"),
        ("DECODE_MEMORY_MB", "1"),
        ("DECODE_SECONDS", "0"),
        ("DECODE_SECONDS", "inf"),
        ("LUNG_WINDOW_LEVEL_HU", "nan"),
        ("LUNG_WINDOW_WIDTH_HU", "0"),
        ("VOLUME_TOP_SHARE", "0"),
        ("VOLUME_TOP_SHARE", "1.1"),
        ("JOB_NAME_PREFIX", "-tomodrop"),
        ("JOB_NAME_PREFIX", "a" * 21),
        ("JOB_NAME_PREFIX", "tomo_drop"),
        ("CLASS_NAMES", "covid"),
        ("CLASS_NAMES", "covid,"),
        ("CLASS_NAMES", "covid,covid"),
        ("IMAGE_SHAPE", "3,224"),
        ("IMAGE_SHAPE", "3,224,224,1"),
        ("IMAGE_SHAPE", "3,0,224"),
        ("IMAGE_SHAPE", "3,a,224"),
        ("HYPERPARAMETERS", "epochs"),
        ("HYPERPARAMETERS", "=5"),
        ("EXTRA_HYPERPARAMETERS", 'steps="1,2'),
        ("USE_SPOT", "perhaps"),
        ("MAX_CONCURRENT_TRANSFORMS", "17"),
        ("TRANSFORM_INSTANCE_TYPES", "ml.c5.xlarge,ml.x9.huge"),
        ("TRANSFORM_INSTANCE_TYPES", "ml.c5.xlarge,"),
        ("TRANSFORM_INSTANCE_TYPES", ","),
        ("TRANSFORM_TARGET_MINUTES", "0"),
        ("TRANSFORM_TARGET_MINUTES", "nan"),
        ("ANSWER_DETAIL", "full"),
        ("ANSWER_DETAIL", ""),
        ("KEEP_CLASS_MAPS", "perhaps"),
        ("MINIMUM_TYPICALITY", "1.1"),
        ("MINIMUM_TYPICALITY", "-0.1"),
        ("MINIMUM_TYPICALITY", "nan"),
        ("VALIDATION_SHARE", "1"),
        ("VALIDATION_SHARE", "0"),
        ("SPLIT_KEY", ""),
        ("BALANCE_CLASSES", "perhaps"),
        ("SHORTCUT_WARNING", "0.5"),
        ("SHORTCUT_ACTION", "ignore"),
        ("MINIMUM_VALIDATION_ACCURACY", "80"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"environment is wrong: {name}: "):
        read(**{name: value})


def test_all_faults_are_reported_together() -> None:
    environment = ENVIRONMENT | {"MAX_ATTEMPTS": "no", "IMAGE_SHAPE": "x"}
    del environment["WORK_BUCKET"]
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environment)
    for name in ("MAX_ATTEMPTS", "IMAGE_SHAPE", "WORK_BUCKET", "template.yaml"):
        assert name in str(refused.value)


def test_maps_are_kept_of_verbose_answers_only() -> None:
    asked = ENVIRONMENT | {"KEEP_CLASS_MAPS": "true"}
    assert Settings.from_environment(asked | {"ANSWER_DETAIL": "verbose"}).keep_class_maps
    with pytest.raises(
        SettingsError, match=r"wrong: .*KEEP_CLASS_MAPS needs ANSWER_DETAIL verbose"
    ):
        Settings.from_environment(asked)
