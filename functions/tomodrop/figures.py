"""Copy a training job's figures (metrics, curves) to where people look."""

import gzip
import tarfile
import tempfile
import zlib
from pathlib import PurePosixPath
from typing import IO

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.clients import App

logger = Logger(child=True)

_TYPES = {".json": "application/json", ".jsonl": "application/jsonl", ".png": "image/png"}
# A handful of pictures and tables; what is larger is not a figure.
_MAX_BYTES = 32 * 1024 * 1024
_MAX_FILES = 64
# What this stack says of a training itself, which no algorithm may say for it.
_OURS = frozenset({"audit.json", "decision.json", "evaluation.json"})


def copy_figures(app: App, job: str) -> list[str]:
    """Unpack `output.tar.gz` of a training job to `models/<job>/`; returns the keys written.

    The built-in algorithm leaves no such file: then there is nothing to copy. Members are copied
    by base name, so no path in the archive can lead anywhere else.
    """
    written: list[str] = []
    source = f"{keys.TRAINING}{job}/output/output.tar.gz"
    with tempfile.TemporaryFile() as packed:
        try:
            app.s3.download_fileobj(app.settings.work_bucket, source, packed)
        except ClientError as error:
            if objects.is_absent(error):
                return written
            raise
        packed.seek(0)
        for name, body in _figures(packed):
            key = f"{keys.MODELS}{job}/{name}"
            content_type = _TYPES[PurePosixPath(name).suffix]
            objects.write(app.s3, app.settings.predictions_bucket, key, body, content_type)
            written.append(key)
    return written


def _figures(packed: IO[bytes]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    try:
        with tarfile.open(fileobj=packed, mode="r:gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                is_figure = PurePosixPath(name).suffix in _TYPES and name not in _OURS
                wanted = member.isfile() and is_figure
                content = archive.extractfile(member) if wanted else None
                if content and member.size <= _MAX_BYTES and len(found) < _MAX_FILES:
                    found.append((name, content.read()))
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as fault:
        # Pictures for people: a good model does not wait for them.
        logger.warning("the job's output.tar.gz is damaged (%s)", type(fault).__name__)
    return found
