"""What is to be uploaded, what is there already, what is answered: pure decisions on listings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from local.folders import LocalFile

# Writers pause; a file that has not changed for this long is taken for complete.
QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class Version:
    """The newest version of an object in the uploads bucket."""

    version_id: str
    etag: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True)
class Answer:
    """A result JSON, as far as the screen and the waiting need it."""

    status: str
    version_id: str
    etag: str
    label: str = ""
    probability: float = 0.0
    code: str = ""


@dataclass(frozen=True)
class Sighting:
    """A file's signature, and the clock (seconds) when it was first seen like that."""

    signature: tuple[int, int]
    since: float


def is_complete(file: LocalFile, sighting: Sighting, now: float, wall_ns: int) -> bool:
    """Whether nobody seems to write to `file` any more.

    A file last modified long ago is complete at first sight; one that is fresh, or whose time
    lies in the future, when it has stayed the same for `QUIET_SECONDS`.
    """
    age = (wall_ns - file.modified_ns) / 1e9
    return age >= QUIET_SECONDS or now - sighting.since >= QUIET_SECONDS


def sight(
    files: Iterable[LocalFile], before: Mapping[str, Sighting], now: float
) -> dict[str, Sighting]:
    """Note every file; those that look as before keep their time."""
    sightings: dict[str, Sighting] = {}
    for file in files:
        known = before.get(file.key)
        same = known is not None and known.signature == file.signature
        sightings[file.key] = known if known and same else Sighting(file.signature, now)
    return sightings


def has_same_content(
    file: LocalFile, stored: Version | None, digest: Callable[[LocalFile], str]
) -> bool:
    """Whether the newest version under the file's key holds these very bytes.

    The ETag of an object put in one piece is its MD5. `digest` is asked only where the size
    leaves it open.
    """
    if stored is None or stored.size_bytes != file.size_bytes:
        return False
    return digest(file) == stored.etag


def answers_version(answer: Answer | None, version: Version) -> bool:
    """Whether this result is the one for that version and no older one of the same key."""
    if answer is None:
        return False
    if answer.version_id and version.version_id:
        return answer.version_id == version.version_id
    return answer.etag == version.etag


@dataclass(frozen=True)
class Lookup:
    """How an upload's key leads to its two possible results (`tomodrop.keys` knows the names)."""

    prediction_key: Callable[[str], str]
    rejection_key: Callable[[str], str]

    def answer_to(self, key: str, version: Version, answers: Mapping[str, Answer]) -> Answer | None:
        """The result of this version of an upload, if it is there."""
        for result_key in (self.prediction_key(key), self.rejection_key(key)):
            answer = answers.get(result_key)
            if answers_version(answer, version):
                return answer
        return None

    def answered(
        self, uploads: Mapping[str, Version], answers: Mapping[str, Answer]
    ) -> dict[str, Answer]:
        """Results by upload key, of those uploads whose newest version has one."""
        found = {key: self.answer_to(key, version, answers) for key, version in uploads.items()}
        return {key: answer for key, answer in found.items() if answer}
