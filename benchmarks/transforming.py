"""The way around the model server in numbers: what the local transform runner costs per image.

    python -m benchmarks.transforming [--images 600] [--rounds 3]

A transform job sends objects of 50 kB to a server that does nothing (`benchmarks.instant`), with
the embedded S3 in this process, as in `tomodrop run`. First the server answers at once: wall and
CPU time are the runner's own and its storage's. Then it gives two answers at a time, each after 50
or 200 ms: what counts is the share of the rate that such a server can give at best.

The table goes to standard output and to `benchmarks/results/transforming.md`.
"""

import argparse
import io
import itertools
import json
import os
import platform
import random
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.cloud import Cloud
from local.sagemaker import Programs

RESULT = Path(__file__).resolve().parent / "results" / "transforming.md"
TEMPLATE = """
Resources:
  Work: {Type: AWS::S3::Bucket}
Outputs:
  Work: {Value: !Ref Work}
"""
SLOTS = 2
BYTES = 50_000


@dataclass(frozen=True)
class Taken:
    """Seconds from the first answer to the last, and of the CPU in this process."""

    wall: float
    cpu: float


class Bench:
    """A bucket with images in it, and jobs over them."""

    def __init__(self, cloud: Cloud, images: int) -> None:
        self.images = images
        self.s3, self.sagemaker = cloud.client("s3"), cloud.client("sagemaker")
        self.bucket = cloud.outputs["Work"]
        self._jobs = 0

    def lay_out(self) -> None:
        """Images, manifest, and a model that is nothing."""
        body = random.Random(1).randbytes(BYTES)  # noqa: S311 (pixels, not a secret)
        names = [f"{number:05d}.png" for number in range(self.images)]
        for name in names:
            self.put(f"in/{name}", body)
        manifest = [{"prefix": f"s3://{self.bucket}/in/"}, *names]
        self.put("manifest.json", json.dumps(manifest).encode())
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo("weights"), io.BytesIO(b""))
        self.put("model.tar.gz", archive.getvalue())
        self.sagemaker.create_model(
            ModelName="model",
            PrimaryContainer={
                "Image": "registry/instant:1",
                "ModelDataUrl": f"s3://{self.bucket}/model.tar.gz",
            },
            ExecutionRoleArn="arn:aws:iam::123456789012:role/role",
        )

    def put(self, key: str, body: bytes) -> None:
        """One object."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def call(self, one: Callable[[int], Any]) -> float:
        """CPU milliseconds in this process, client and S3, of one call."""
        count = min(200, self.images)
        before = time.process_time()
        for number in range(count):
            one(number)
        return (time.process_time() - before) / count * 1000

    def job(self, milliseconds: int, concurrent: int) -> Taken:
        """Run a job; timed from its second tenth on, when all is under way."""
        self._jobs += 1
        name = f"job-{self._jobs}"
        self._create(name, milliseconds, concurrent)
        first = self._wait(name, self.images // 10)
        wall, cpu = time.perf_counter(), time.process_time()
        last = self._wait(name, self.images)
        done = last - first
        return Taken((time.perf_counter() - wall) / done, (time.process_time() - cpu) / done)

    def _wait(self, name: str, count: int) -> int:
        """Wait until so many are answered; how many are."""
        while True:
            (job,) = (job for job in self._progress() if job.name == name)
            if job.done >= count:
                return int(job.done)
            assert job.status == "InProgress", job
            time.sleep(0.02)

    def _create(self, name: str, milliseconds: int, concurrent: int) -> None:
        self.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName="model",
            MaxConcurrentTransforms=concurrent,
            Environment={"MILLISECONDS": str(milliseconds), "SLOTS": str(SLOTS)},
            TransformInput={
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "ManifestFile",
                        "S3Uri": f"s3://{self.bucket}/manifest.json",
                    }
                },
                "ContentType": "application/x-image",
            },
            TransformOutput={
                "S3OutputPath": f"s3://{self.bucket}/{name}",
                "AssembleWith": "Line",
            },
            TransformResources={"InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        )

    def use(self, progress: Callable[[], list[Any]]) -> None:
        """Where the jobs' progress is looked up."""
        self._progress = progress


def measure(bench: Bench, rounds: int) -> list[str]:
    """The tables' rows."""

    def middle(one: Callable[[], float]) -> float:
        return statistics.median(one() for _ in range(rounds))

    s3, bucket = bench.s3, bench.bucket
    get = middle(
        lambda: bench.call(
            lambda n: s3.get_object(Bucket=bucket, Key=f"in/{n:05d}.png")["Body"].read()
        )
    )
    put = middle(lambda: bench.call(lambda n: bench.put(f"small/{n}", b"x" * 30)))
    instant = [bench.job(0, 4) for _ in range(rounds)]
    rows = [
        "| per image, with a server that answers at once | ms |",
        "|---|---|",
        f"| CPU of one S3 get, client and S3 | {get:.1f} |",
        f"| CPU of one S3 put, client and S3 | {put:.1f} |",
        f"| CPU of the whole job | {statistics.median(t.cpu for t in instant) * 1000:.1f} |",
        f"| wall of the whole job | {statistics.median(t.wall for t in instant) * 1000:.1f} |",
        "",
        f"| {SLOTS} answers at a time | requests at a time | images/s at best | share reached |",
        "|---|---|---|---|",
    ]
    for milliseconds, concurrent in itertools.product((50, 200), (SLOTS, 2 * SLOTS)):
        best = SLOTS * 1000 / milliseconds
        shares = [1 / bench.job(milliseconds, concurrent).wall / best for _ in range(rounds)]
        spread = f"{min(shares):.3f}-{max(shares):.3f}"
        share = f"**{statistics.median(shares):.3f}** ({spread})"
        rows.append(f"| each after {milliseconds} ms | {concurrent} | {best:.0f} | {share} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transforming")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-transforming-") as root:
        template = Path(root) / "template.yaml"
        template.write_text(TEMPLATE, encoding="utf-8")
        programs = Programs(default=(sys.executable, "-m", "benchmarks.instant"))
        with Cloud(
            template=template, parameters={}, state_dir=Path(root) / "state", programs=programs
        ) as cloud:
            bench = Bench(cloud, given.images)
            bench.use(cloud.jobs)
            bench.lay_out()
            rows = measure(bench, given.rounds)
    title = f"`python -m benchmarks.transforming`: Python {platform.python_version()}"
    load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
    text = (
        f"# The way around the model server, {title}\n\n"
        + "\n".join(rows)
        + f"\n\nMedians of {given.rounds} rounds. Load average of the machine at the end: {load}.\n"
    )
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
