"""What a job by hand is asked for, read from the command line."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

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


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """One training job. Locations are S3 URIs; ``model`` is an artefact to go on from."""

    train: str
    validation: str
    output: str
    role: str
    image: str
    hyperparameters: tuple[Pair, ...]
    environment: tuple[Pair, ...]
    metrics: tuple[Pair, ...]
    model: str | None
    checkpoints: str | None
    instance_type: str
    instance_count: int
    volume_gb: int
    max_seconds: int
    shuffle_seed: int
    job_name_prefix: str
    wait: bool

    @property
    def with_groups(self) -> bool:
        """Whether the manifest's lines name the group of their image, a third record of each."""
        return dict(self.hyperparameters).get("group_records", "").lower() in ("1", "true")


@dataclass(frozen=True, slots=True)
class TransformOptions:
    """One transform job: with a model that is there (``model_name``), or one made for it."""

    manifest: str
    output: str
    model_name: str | None
    model_data: str | None
    role: str | None
    image: str | None
    instance_type: str
    instance_count: int
    max_concurrent_transforms: int
    answer_detail: str
    job_name_prefix: str
    wait: bool


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
    if given.command == "train":
        return _training_options(given)
    if given.model_data and not (given.role and given.image):
        transform.error("--model-data makes a model, which needs --role and --image as well")
    return _transform_options(given)


def _add_training(parser: argparse.ArgumentParser) -> None:
    location, pair = _s3_uri, _pair
    parser.add_argument("--train", type=location, required=True, help="augmented manifest")
    parser.add_argument("--validation", type=location, required=True, help="augmented manifest")
    parser.add_argument("--role", required=True, help="ARN of the role that the job takes")
    parser.add_argument("--image", required=True, help="the algorithm's image")
    for name, text in (
        ("--hyperparameter", "repeat it; num_classes and num_training_samples are required"),
        ("--environment", """repeat it; such as TOMODROP_CLASSES='["healthy","ill"]'"""),
    ):
        parser.add_argument(name, type=pair, action="append", default=[], metavar="N=V", help=text)
    parser.add_argument(
        "--metric",
        type=pair,
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
    parser.add_argument("--max-hours", type=_positive(float), default=24.0)
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


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=_s3_uri, required=True, help="folder of the results")
    parser.add_argument("--instance-type", default="ml.g4dn.xlarge")
    parser.add_argument("--instance-count", type=_positive(int), default=1)
    parser.add_argument(
        "--job-name-prefix",
        type=_prefix,
        default="by-hand",
        help="another than a stack's JobNamePrefix, or the stack takes the job for its own",
    )
    parser.add_argument("--wait", action="store_true", help="return when the job has ended")


def _training_options(given: argparse.Namespace) -> TrainingOptions:
    metrics = given.metric
    if metrics is None:
        # The built-in brings its own metric definitions and refuses others.
        metrics = [] if "/image-classification:" in given.image else METRICS
    return TrainingOptions(
        train=given.train,
        validation=given.validation,
        output=given.output,
        role=given.role,
        image=given.image,
        hyperparameters=tuple(given.hyperparameter),
        environment=tuple(given.environment),
        metrics=tuple(metrics),
        model=given.model,
        checkpoints=given.checkpoints,
        instance_type=given.instance_type,
        instance_count=given.instance_count,
        volume_gb=given.volume_gb,
        max_seconds=round(given.max_hours * 3600),
        shuffle_seed=given.shuffle_seed,
        job_name_prefix=given.job_name_prefix,
        wait=given.wait,
    )


def _transform_options(given: argparse.Namespace) -> TransformOptions:
    return TransformOptions(
        manifest=given.manifest,
        output=given.output,
        model_name=given.model_name,
        model_data=given.model_data,
        role=given.role,
        image=given.image,
        instance_type=given.instance_type,
        instance_count=given.instance_count,
        max_concurrent_transforms=given.max_concurrent_transforms,
        answer_detail=given.answer_detail,
        job_name_prefix=given.job_name_prefix,
        wait=given.wait,
    )


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
