"""Which program stands for which container image, and what it may see."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parents[2]
Verb = Literal["train", "serve"]


@dataclass(frozen=True)
class Programs:
    """Image → command line; the verb ("train" or "serve") is appended, as `docker run` does.

    `environment` is what an image brings along by itself (ENV in its Dockerfile).
    """

    default: Sequence[str] = (sys.executable, "-m", "training.algorithm")
    by_image: Mapping[str, Sequence[str]] = field(default_factory=dict)
    working_directory: Path = REPOSITORY
    environment: Mapping[str, str] = field(default_factory=dict)

    def argv(self, image: str, verb: Verb) -> list[str]:
        """The command line for one container of this image."""
        return [*self.by_image.get(image, self.default), verb]

    def base_environment(self, job_directory: Path, region: str) -> dict[str, str]:
        """What every container gets: nothing of ours, and no credentials."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(job_directory),
            "TMPDIR": str(job_directory / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "AWS_REGION": region,
            "SAGEMAKER_BASE_DIR": str(job_directory / "opt" / "ml"),
            **self.environment,
        }


DEFAULT = Programs()
