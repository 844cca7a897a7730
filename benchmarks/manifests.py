"""Retraining in numbers: time, memory and disk from the index parts to the training job.

    python -m benchmarks.manifests [--slices 1000000 10000000]

The real `retrain` runs in a process of its own, through boto3, against a server in another that
makes the index parts as they are read (`benchmarks/labelled_cloud.py`). So S3's own latency is not
in the figures; transfers over Lambda's network are, as far as the loopback is one.

The table goes to standard output and to `benchmarks/results/manifests.md`.
"""

import argparse
import json
import logging
import os
import platform
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from stat import S_ISREG
from tempfile import gettempdir
from typing import Self

from benchmarks.apart import REPOSITORY, measure_against, server
from benchmarks.labelled_cloud import PREDICTIONS, UPLOADS, WORK
from tomodrop import audit, copies, dataset, manifests, retraining
from tomodrop.clients import connect
from tomodrop.settings import Settings

RESULT = REPOSITORY / "benchmarks" / "results" / "manifests.md"
LAMBDA_S, LAMBDA_MIB = 900, 2048
MIB = 1024 * 1024
# What retraining reads, with the template's defaults; the rest of the settings are not its.
SETTINGS = Settings.model_construct(
    uploads_bucket=UPLOADS,
    work_bucket=WORK,
    predictions_bucket=PREDICTIONS,
    batch_table="tomodrop-batches",
    live_model_parameter="/tomodrop/live-model",
    job_name_prefix="tomodrop",
    class_names=("non_covid", "covid"),
    image_shape=(3, 224, 224),
    lung_window_level_hu=-600.0,
    lung_window_width_hu=1500.0,
    algorithm_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/tomodrop:1",
    sagemaker_role_arn="arn:aws:iam::123456789012:role/tomodrop-sagemaker",
    kms_key_arn="",
    subnet_ids=(),
    security_group_ids=(),
    training_instance_type="ml.g4dn.xlarge",
    training_instance_count=1,
    training_volume_gb=50,
    training_max_hours=24.0,
    use_spot=False,
    hyperparameters=(("num_layers", "152"),),
    extra_hyperparameters=(),
    starting_model_key="",
    metric_definitions=(("validation:accuracy", "Validation-accuracy=([0-9.]+)"),),
    validation_share=0.2,
    split_key="tomodrop",
    balance_classes=False,
    shortcut_warning=0.9,
    shortcut_action="warn",
)


@dataclass(frozen=True)
class Shape:
    """A labelled set: slices, slices of one upload, uploads that one index part names."""

    slices: int
    per_upload: int
    per_part: int


@dataclass
class Figures:
    """What one retraining took."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    disk_mib: float
    stages_s: dict[str, float]


class _Disk:
    """Bytes of this process's open files in the temporary folder, SQLite's nameless ones too."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            self.peak = max(self.peak, sum(_sizes()))


def _sizes() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target, found = os.readlink(f"/proc/self/fd/{name}"), os.stat(f"/proc/self/fd/{name}")  # noqa: PTH115, PTH116
        except OSError:
            continue
        if S_ISREG(found.st_mode) and target.startswith((gettempdir(), "/var/tmp")):  # noqa: S108
            yield found.st_blocks * 512


def measure() -> Figures:
    """Run `retrain` once; where its services listen stands in the environment."""
    app = connect(SETTINGS)
    stages: dict[str, float] = {}
    for module, name in (
        (dataset, "gather"),
        (copies, "find_copies"),
        (manifests, "lay_out"),
        (audit, "publish_audit"),
        (retraining, "_write_inputs"),
    ):
        _time(module, name, stages)
    wall, cpu = time.monotonic(), time.process_time()
    with _Disk() as disk:
        job = retraining.retrain(app, datetime(2026, 11, 22, 3, tzinfo=UTC))
    assert job
    return Figures(
        wall_s=time.monotonic() - wall,
        cpu_s=time.process_time() - cpu,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        disk_mib=disk.peak / MIB,
        stages_s=stages,
    )


def _time(module: object, name: str, stages: dict[str, float]) -> None:
    """Have a stage note its processor time."""
    stage = getattr(module, name)

    def timed(*args: object, **kwargs: object) -> object:
        started = time.process_time()
        try:
            return stage(*args, **kwargs)
        finally:
            stages[name.strip("_")] = time.process_time() - started

    setattr(module, name, timed)


def run(shape: Shape) -> Figures:
    """Measure one set in processes of its own."""
    with server("benchmarks.labelled_cloud", *map(str, asdict(shape).values())) as url:
        return Figures(**measure_against(url, "benchmarks.manifests"))


def table(rows: list[tuple[Shape, Figures]]) -> str:
    """The result as Markdown."""
    lines = [
        f"# Retraining, `python -m benchmarks.manifests`: Python {platform.python_version()}",
        "",
        "From the index parts in S3 to the training job: gathered, copies looked for, halved, laid",
        "out, audited, manifests uploaded. Processor time is of all threads together. S3 is on the",
        "same machine, so its latency is not in the figures. Lambda's limit is",
        f"{LAMBDA_S} s; the function has {LAMBDA_MIB:,} MiB, and so 1.16 processors.",
        "",
        "| slices | uploads | parts | wall, s | processor, s | peak memory, MiB | disk, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for shape, figures in rows:
        uploads = shape.slices // shape.per_upload
        lines.append(
            f"| {shape.slices:,} | {uploads:,} | {-(-uploads // shape.per_part):,} | "
            f"{figures.wall_s:.0f} | {figures.cpu_s:.0f} | {figures.peak_mib:.0f} | "
            f"{figures.disk_mib:.0f} |"
        )
    names = list(rows[0][1].stages_s)
    lines += ["", "Processor seconds by stage:", ""]
    lines += [f"| slices | uploads | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for shape, figures in rows:
        seconds = " | ".join(f"{figures.stages_s[name]:.0f}" for name in names)
        lines.append(f"| {shape.slices:,} | {shape.slices // shape.per_upload:,} | {seconds} |")
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    lines += ["", f"Load average of the machine at the end: {load}. Others used it as well.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--slices", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--pictures", type=int, nargs="*", default=[200_000])
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        logging.disable()
        print(json.dumps(asdict(measure())))
        return
    shapes = [Shape(count, 100, 10) for count in options.slices]
    shapes += [Shape(count, 1, 10) for count in options.pictures]
    rows = []
    for shape in shapes:
        rows.append((shape, run(shape)))
        print(shape, rows[-1][1], flush=True)
    text = table(rows)
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
