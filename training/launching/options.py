"""What a job by hand is asked for, read from the command line."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

METRICS: Final = (
    ("train:accuracy", r"Train-accuracy=([0-9.]+)"),
    ("validation:accuracy", r"Validation-accuracy=([0-9.]+)"),
    ("shipped:accuracy", r"shipped-accuracy=([0-9.]+)"),
    ("shipped:auc", r"shipped-auc=([0-9.]+)"),
    ("shipped:sensitivity", r"shipped-sensitivity=([0-9.]+)"),
    ("shipped:specificity", r"shipped-specificity=([0-9.]+)"),
    ("shipped:ece", r"shipped-ece=([0-9.]+)"),
)
"""Name and regular expression of what is read from our algorithm's log, as in template.yaml."""
_LONGEST_PREFIX: Final = 20
"""With "-train-", a time and room to spare a name stays within SageMaker's 63 characters."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What all jobs have. Locations are S3 URIs, keys ARNs of KMS; without subnets no VPC."""

    output: str
    instance_type: str
    instance_count: int
    output_kms_key: str | None
    volume_kms_key: str | None
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    job_name_prefix: str
    wait: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions(JobOptions):
    """One training job. ``model`` is an artefact to go on from."""

    train: str
    validation: str
    role: str
    image: str
    hyperparameters: tuple[Pair, ...]
    environment: tuple[Pair, ...]
    metrics: tuple[Pair, ...]
    model: str | None
    checkpoints: str | None
    volume_gb: int
    max_seconds: int
    shuffle_seed: int

    @property
    def with_groups(self) -> bool:
        """Whether the manifest's lines name the group of their image, a third record of each."""
        return dict(self.hyperparameters).get("group_records", "").lower() in ("1", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformOptions(JobOptions):
    """One transform job: with a model that is there (``model_name``), or one made for it.

    Subnets are those of the model that is made: a job has its model's.
    """

    manifest: str
    model_name: str | None
    model_data: str | None
    role: str | None
    image: str | None
    max_concurrent_transforms: int
    answer_detail: str


Options = TypeVar("Options", bound=JobOptions)


def read_options(arguments: Sequence[str]) -> TrainingOptions | TransformOptions:
    """Parse the command line.

    :raises SystemExit: with code 2 and the reason on standard error; with 0 after ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m training.launch",
        description="Start a training or a transform job by hand, as the scheduled steps do.",
        epilog="Region, credentials and endpoints come from the environment, as for any AWS "
        "program; a running `tomodrop run` leaves its own in env.json of its --state.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,transform}")
    train = commands.add_parser("train", help="a training job in Pipe mode")
    transform = commands.add_parser("transform", help="a batch transform job")
    _add_training(train)
    _add_transform(transform)
    for command in (train, transform):
        _add_common(command)
    given = parser.parse_args(arguments)
    is_training = given.command == "train"
    fault = _contradiction(given, is_training=is_training)
    if fault:
        (train if is_training else transform).error(fault)
    return _filled(TrainingOptions, given) if is_training else _filled(TransformOptions, given)


def _contradiction(given: argparse.Namespace, *, is_training: bool) -> str | None:
    """Why the options do not go together, if they do not."""
    if bool(given.subnets) != bool(given.security_groups):
        return "a VPC has both: give --subnet and --security-group"
    if is_training:
        return None
    if given.model_data and not (given.role and given.image):
        return "--model-data makes a model, which needs --role and --image as well"
    if given.model_name and given.subnets:
        return "the job has the VPC of its model: --subnet goes with --model-data only"
    return None


def _filled(kind: type[Options], given: argparse.Namespace) -> Options:
    """The options of the same names; what was repeated becomes a tuple."""
    values: dict[str, Any] = {field.name: getattr(given, field.name) for field in fields(kind)}
    if values.get("metrics", ()) is None:
        # The built-in brings its own metric definitions and refuses others.
        values["metrics"] = () if "/image-classification:" in given.image else METRICS
    repeated = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return kind(**{**values, **repeated})


def _add_training(parser: argparse.ArgumentParser) -> None:
    location = _s3_uri
    parser.add_argument("--train", type=location, required=True, help="augmented manifest")
    parser.add_argument("--validation", type=location, required=True, help="augmented manifest")
    parser.add_argument("--role", required=True, help="ARN of the role that the job takes")
    parser.add_argument("--image", required=True, help="the algorithm's image")
    required = "repeat it; num_classes and num_training_samples are required"
    such_as = """repeat it; such as TOMODROP_CLASSES='["healthy","ill"]'"""
    pairs: dict[str, Any] = {"type": _pair, "metavar": "N=V"}
    _add_repeated(parser, "--hyperparameter", "hyperparameters", required, **pairs)
    _add_repeated(parser, "--environment", "environment", such_as, **pairs)
    parser.add_argument(
        "--metric",
        dest="metrics",
        type=_pair,
        action="append",
        metavar="N=REGEX",
        help="read from the log; unset: accuracy of each epoch and what the shipped model is "
        "worth, or none for the built-in",
    )
    parser.add_argument("--model", type=location, help="model.tar.gz to go on from")
    parser.add_argument(
        "--checkpoints", type=location, help="use Spot capacity, and keep checkpoints here"
    )
    parser.add_argument("--volume-gb", type=_positive(int), default=50)
    parser.add_argument("--max-hours", dest="max_seconds", type=_seconds, default="24")
    parser.add_argument("--shuffle-seed", type=int, default=0, help="of the order of train")


def _add_transform(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model-name", help="a model that SageMaker has")
    model.add_argument("--model-data", type=_s3_uri, help="model.tar.gz to make a model from")
    parser.add_argument("--role", help="ARN of the role that the new model takes")
    parser.add_argument("--image", help="the new model's image")
    parser.add_argument("--manifest", type=_s3_uri, required=True, help="JSON list of slices")
    parser.add_argument("--max-concurrent-transforms", type=_positive(int), default=4)
    parser.add_argument(
        "--answer-detail",
        choices=("plain", "verbose"),
        default="plain",
        help="verbose: with calibrated probabilities and typicality; the built-in knows plain only",
    )


def _add_repeated(
    parser: argparse.ArgumentParser, name: str, kept_as: str, text: str, **how: Any
) -> None:
    parser.add_argument(name, dest=kept_as, action="append", default=[], help=text, **how)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=_s3_uri, required=True, help="folder of the results")
    parser.add_argument("--instance-type", default="ml.g4dn.xlarge")
    parser.add_argument("--instance-count", type=_positive(int), default=1)
    parser.add_argument("--output-kms-key", metavar="ARN", help="encrypts the results")
    parser.add_argument(
        "--volume-kms-key",
        metavar="ARN",
        help="encrypts the instances' volumes; those with disks of their own (g4dn, g5) take none",
    )
    _add_repeated(parser, "--subnet", "subnets", "repeat it; of your VPC", metavar="ID")
    _add_repeated(parser, "--security-group", "security_groups", "repeat it", metavar="ID")
    parser.add_argument(
        "--job-name-prefix",
        type=_prefix,
        default="by-hand",
        help="another than a stack's JobNamePrefix, or the stack takes the job for its own",
    )
    parser.add_argument("--wait", action="store_true", help="return when the job has ended")


def _s3_uri(text: str) -> str:
    if not re.fullmatch(r"s3://[^/]+/.+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no S3 URI: give s3://bucket/key")
    return text


def _pair(text: str) -> Pair:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, value


def _prefix(text: str) -> str:
    if len(text) > _LONGEST_PREFIX or not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give at most {_LONGEST_PREFIX} letters, digits and inner hyphens"
        )
    return text


def _seconds(hours: str) -> int:
    return round(_positive(float)(hours) * 3600)


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < float("inf"):
            noun = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r}: give a {noun} above 0")
        return value

    return parse
