"""Where everything lies: the one place that builds and reads object keys and job names.

uploads      incoming/<path>   labelled/<class>/<group>/<file>
work         batches/<batch>/{slices,index,parts,jobs}/…   dataset/{slices,index,halves}/…
             training/<job>/…   evaluations/<training job>/<evaluation job>/{manifest.json,out/}
             sweep/…
predictions  predictions/<path>.json   rejected/<path>.json   reports/<batch>/<job>/…
             reports/drift/…
             predictions/<path>.map.png   models/<job>/…   models/rollbacks/…
             rejected-labelled/<class>/<group>/<file>.json
"""

import hashlib
import re
from dataclasses import dataclass

from tomodrop.errors import EventError

INCOMING = "incoming/"
LABELLED = "labelled/"
PREDICTIONS = "predictions/"
REJECTED = "rejected/"
# A folder of its own: below rejected/ it would be that of incoming/labelled/….
REJECTED_LABELLED = "rejected-labelled/"
DATASET_INDEX = "dataset/index/"
DATASET_SLICES = "dataset/slices/"
DATASET_HALVES = "dataset/halves/"
BATCHES = "batches/"
TRAINING = "training/"
EVALUATIONS = "evaluations/"
MODELS = "models/"
SWEEP = "sweep/"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html: 1,024 bytes of UTF-8
MAX_KEY_BYTES = 1024
# The same in every folder, so that one order of names fits all of them.
MAX_NAME_BYTES = MAX_KEY_BYTES - len(REJECTED_LABELLED)
SUFFIX = ".json"
_DIGEST_DIGITS = 16
# A cut may take up to three bytes more, those of a character that it would halve.
CERTAIN_NAME_BYTES = MAX_NAME_BYTES - len(SUFFIX) - _DIGEST_DIGITS - 1 - 3

_JOB_NAME = re.compile(
    r"(?P<prefix>.+)-(?P<batch>\d{8}T\d{6}Z)-(?P<part>\d{4,})-(?P<attempt>[1-9]\d*)", re.ASCII
)
_EVALUATION_NAME = re.compile(
    r"(?P<prefix>.+)-eval-(?P<trained>\d{8}T\d{6}Z)-(?P<role>challenger|champion)"
    r"-(?P<code>[0-9a-f]{6})-(?P<attempt>[1-9]\d?)",
    re.ASCII,
)
_TRAINING_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)


@dataclass(frozen=True)
class JobName:
    """A transform job's name, taken apart: deterministic in (batch, part, attempt)."""

    prefix: str
    batch: str
    part: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.prefix}-{self.batch}-{self.part}-{self.attempt}"

    @property
    def folder(self) -> str:
        """Where its manifest and outputs lie, in the work bucket."""
        return f"{BATCHES}{self.batch}/jobs/{self}/"


@dataclass(frozen=True)
class EvaluationName:
    """Name of a transform job that scores a model on held-out slices: 63 characters at most.

    `trained`: the time in the name of the training that is decided on. `role`: "challenger" or
    "champion". `code`: 6 hex digits of the model and the held-out set, so that another model, or a
    set that changed, is another job.
    """

    prefix: str
    trained: str
    role: str
    code: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.prefix}-eval-{self.trained}-{self.role}-{self.code}-{self.attempt}"

    @property
    def training_job(self) -> str:
        """The training job that is decided on."""
        return f"{self.prefix}-train-{self.trained}"

    @property
    def folder(self) -> str:
        """Where its manifest and outputs lie, in the work bucket."""
        return f"{EVALUATIONS}{self.training_job}/{self}/"


def evaluation_name(training_job: str, prefix: str, role: str, subject: str) -> EvaluationName:
    """Name of the first attempt at scoring `subject` (a model on a held-out set).

    Raises
    ------
    EventError
        The training job was not made by `retrain` of this stack.
    """
    trained = training_job.removeprefix(f"{prefix}-train-")
    if not _TRAINING_TIME.fullmatch(trained):
        message = f"'{training_job}' is not a training job of this stack (prefix '{prefix}')"
        raise EventError(message)
    code = hashlib.sha256(subject.encode()).hexdigest()[:6]
    return EvaluationName(prefix, trained, role, code, attempt=1)


def parse_evaluation_name(name: str, prefix: str) -> EvaluationName:
    """Take an evaluation job's name apart.

    Raises
    ------
    EventError
        The name was not made by this stack.
    """
    match = _EVALUATION_NAME.fullmatch(name)
    if not match or match["prefix"] != prefix:
        message = f"'{name}' is not an evaluation job of this stack (prefix '{prefix}')"
        raise EventError(message)
    return EvaluationName(
        prefix, match["trained"], match["role"], match["code"], int(match["attempt"])
    )


def parse_job_name(name: str, prefix: str) -> JobName:
    """Take a transform job's name apart.

    Raises
    ------
    EventError
        The name was not made by this stack.
    """
    match = _JOB_NAME.fullmatch(name)
    if not match or match["prefix"] != prefix:
        message = f"'{name}' is not a transform job of this stack (prefix '{prefix}')"
        raise EventError(message)
    return JobName(prefix, match["batch"], match["part"], int(match["attempt"]))


def training_job_of(job: str, prefix: str) -> str:
    """The training job that the end of this one is about: itself, or the one it evaluates for.

    Raises
    ------
    EventError
        It looks like an evaluation job of this stack and is none.
    """
    if job.startswith(f"{prefix}-eval-"):
        return parse_evaluation_name(job, prefix).training_job
    return job


def upload_id(key: str, version_id: str, etag: str) -> str:
    """32 hex digits that name one version of one upload, the same on every delivery.

    Buckets without versioning give no version id (or "null"); there the ETag tells versions apart.
    """
    version = version_id if version_id not in ("", "null") else f"etag:{etag}"
    return hashlib.sha256(f"{key}\0{version}".encode()).hexdigest()[:32]


def slice_id(upload: str, index: int) -> str:
    """Name of slice `index` (from 0) of an upload, unique in the whole work bucket."""
    return f"{upload}-{index:05d}"


def part_id(upload_ids: list[str]) -> str:
    """Name of an index part: the same uploads give the same part, so a repeat overwrites itself."""
    return hashlib.sha256("\n".join(sorted(upload_ids)).encode()).hexdigest()[:32]


def batch_slices(batch: str) -> str:
    """Folder of a batch's normalised slices."""
    return f"{BATCHES}{batch}/slices/"


def batch_index(batch: str) -> str:
    """Folder of a batch's index parts."""
    return f"{BATCHES}{batch}/index/"


def part_slices(batch: str, part: str, attempt: int) -> str:
    """Index lines that this attempt of this part is to score."""
    return f"{BATCHES}{batch}/parts/{part}/{attempt}.jsonl"


def part_scored(batch: str, part: str, attempt: int) -> str:
    """What earlier attempts answered of what this attempt of this part is to score."""
    return f"{BATCHES}{batch}/parts/{part}/{attempt}.scored.json"


def job_manifest(job: JobName | EvaluationName) -> str:
    """Manifest of a transform job."""
    return f"{job.folder}manifest.json"


def job_outputs(job: JobName | EvaluationName) -> str:
    """Folder a transform job writes its `.out` objects to."""
    return f"{job.folder}out/"


def held_out(training_job: str) -> str:
    """What a training held out: a JSON line for each slice, with its label and group."""
    return f"{TRAINING}{training_job}/held_out.jsonl"


def decision(training_job: str) -> str:
    """Where the decision on a training job lies, in the predictions bucket."""
    return f"{MODELS}{training_job}/decision.json"


def slice_of_output(key: str) -> str:
    """Slice id in an output's key: its base name without `.png.out`, wherever AWS mirrors it."""
    return key.rsplit("/", 1)[-1].removesuffix(".out").removesuffix(".png")


def is_folder_marker(key: str, size_bytes: int) -> bool:
    """Whether an object only stands for a folder: S3's console puts such, and nobody's image."""
    return key.endswith("/") and size_bytes == 0


def prediction_key(upload_key: str) -> str:
    """Key of the prediction JSON of an upload under `incoming/`."""
    return PREDICTIONS + result_name(upload_key)


def rejection_key(upload_key: str) -> str:
    """Key of the rejection JSON of an upload, labelled or not."""
    folder = REJECTED_LABELLED if upload_key.startswith(LABELLED) else REJECTED
    return folder + result_name(upload_key)


def class_maps_key(upload_key: str) -> str:
    """Key of the picture of class-activation maps beside an upload's prediction."""
    return PREDICTIONS + result_name(upload_key).removesuffix(SUFFIX) + ".map.png"


def result_name(upload_key: str) -> str:
    """What an upload's result is called in whatever folder it lies.

    A longest-possible upload key leaves no room for the suffix: it is cut, and a hash keeps it
    unique. At least the first `CERTAIN_NAME_BYTES` bytes of the path are always there.
    """
    path = upload_key.removeprefix(INCOMING if upload_key.startswith(INCOMING) else LABELLED)
    if len(path.encode()) + len(SUFFIX) <= MAX_NAME_BYTES:
        return path + SUFFIX
    digest = hashlib.sha256(upload_key.encode()).hexdigest()[:_DIGEST_DIGITS]
    tail = f"~{digest}{SUFFIX}"
    return path.encode()[: MAX_NAME_BYTES - len(tail)].decode(errors="ignore") + tail
