"""The archive that trainings on this machine start from: checked, named, put where they look."""

import functools
import hashlib
import tarfile
from pathlib import Path
from typing import Any

from local.folders import printable
from tomodrop import keys, objects

# What an archive of training/ holds beside its weights.
DESCRIPTION_NAME = "model.json"


def starting_model_faults(archive: Path) -> list[str]:
    """What keeps a file from being a `model.tar.gz` of training/; its weights are not looked at."""
    shown = printable(str(archive))
    if not archive.is_file():
        return [f"--starting-model: {shown} is not a file. Give a model.tar.gz."]
    try:
        with tarfile.open(archive, "r:gz") as tar:
            names = [member.name.removeprefix("./") for member in tar]
    except (OSError, tarfile.TarError, EOFError):
        return [f"--starting-model: {shown} is not a whole gzipped tar. Give a model.tar.gz."]
    if DESCRIPTION_NAME not in names:
        fault = (
            f"--starting-model: {shown} has no {DESCRIPTION_NAME}. Give the model.tar.gz of a "
            "training, or one that `python -m training.algorithm ct-weights` wrote."
        )
        return [fault]
    return []


@functools.cache
def starting_model_key(archive: Path) -> str:
    """Where it goes in the work bucket: named by its bytes, so another makes a training due."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{keys.TRAINING}weights/{digest[:16]}/model.tar.gz"


def put_starting_model(s3: Any, bucket: str, archive: Path) -> None:
    """Put the archive where the parameter StartingModelKey points, unless it is there."""
    key = starting_model_key(archive)
    if not objects.is_there(s3, bucket, key):
        s3.upload_file(str(archive), bucket, key)
