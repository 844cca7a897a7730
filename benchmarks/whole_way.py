"""Where time goes on the whole way on one machine, from a dropped slice to its JSON.

    python -m benchmarks.whole_way [--slices 500] [--layers 152 18]

The real stack of `tomodrop run` on the real template, with a model of random weights that was
exported as a training exports it (int8). The slices are uploaded at once. For each phase the table
has its wall time and the CPU time per slice of the three kinds of process: this one (embedded S3
and transform runner), the functions, the model server. What the server's part is made of is
measured in this process, call by call. The rate of the transform phase is compared with `serve`
alone, asked over HTTP just before and just after.

The table goes to standard output and to `benchmarks/results/whole_way.md`, the picture beside it.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.serving import SHAPE, encode, over_http, prepare, serving, slices
from local.cloud import Cloud
from local.options import LOCAL_DEFAULTS, TEMPLATE
from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import LiveModel
from training.algorithm.cpu import count_cores, cpu_name
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.precision import INT8
from training.algorithm.serve import JSON_LINES, Form, Server

mpl.use("agg")
from matplotlib import pyplot as plt

RESULT = Path(__file__).parent / "results" / "whole_way.md"
MODEL = "benchmark"
PHASES = ("take in", "wait for the window", "start the job", "transform", "collect")
PARTS = ("S3 and runner", "functions", "model server")
POLL_S = 0.1
CLASSES = ("0", "1")
"""Those of the model that is prepared."""
WINDOW_S = 40
"""All slices are to come into one."""
SCHEDULE_SPEED = 6
"""A look for closed windows every ten seconds."""
LONGEST_S = 1200
PARAMETERS = {
    "ClassNames": ",".join(CLASSES),
    "ImageShape": ",".join(map(str, SHAPE)),
    "WindowMinutes": str(WINDOW_S / 60),
    "IntakeTimeoutSeconds": "15",
    "RetrainState": "DISABLED",
    "OverdueMinutes": "600",
}


@dataclass(frozen=True)
class Mark:
    """One moment: wall clock and CPU seconds so far of each of PARTS."""

    wall: float
    cpu: tuple[float, float, float]


@dataclass
class Watch:
    """Reads the CPU time of this process and of its children, told apart by what they run."""

    _functions: dict[int, float] = field(default_factory=dict)
    _server: dict[int, float] = field(default_factory=dict)

    def look(self) -> Mark:
        """Read all; of what has ended, or could not be read, the last reading counts."""
        for pid in _children(os.getpid()):
            command, seconds = _read(pid)
            kind = self._server if "training.algorithm" in command else self._functions
            kind[pid] = max(seconds, kind.get(pid, 0.0))
        functions, server = sum(self._functions.values()), sum(self._server.values())
        return Mark(time.perf_counter(), (time.process_time(), functions, server))


def _children(pid: int) -> Iterator[int]:
    try:
        listed = [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return
    for child in map(int, listed):
        yield child
        yield from _children(child)


def _read(pid: int) -> tuple[str, float]:
    """The command line of a process and its own CPU seconds."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text()
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return command, sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")


def install(cloud: Cloud, folder: Path) -> None:
    """Make the model live, as promote would."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for path in folder.iterdir():
            tar.add(path, path.name)
    key = f"training/{MODEL}/model.tar.gz"
    cloud.client("s3").put_object(
        Bucket=cloud.outputs["WorkBucket"], Key=key, Body=archive.getvalue()
    )
    cloud.client("sagemaker").create_model(
        ModelName=MODEL,
        PrimaryContainer={
            "Image": LOCAL_DEFAULTS["AlgorithmImage"],
            "ModelDataUrl": f"s3://{cloud.outputs['WorkBucket']}/{key}",
        },
        ExecutionRoleArn="arn:aws:iam::123456789012:role/role",
    )
    live = LiveModel(
        model_name=MODEL,
        training_job=MODEL,
        trained_at=datetime.now(UTC),
        classes=CLASSES,
        normaliser=NORMALISER,
        image_shape=SHAPE,
        fingerprint="",
        metrics={},
    )
    cloud.client("ssm").put_parameter(
        Name=cloud.outputs["LiveModelParameter"],
        Value=live.model_dump_json(),
        Type="String",
        Overwrite=True,
    )


def travel(cloud: Cloud, bodies: list[bytes]) -> list[Mark]:
    """Upload all and follow them; the marks are the beginning and the end of each phase."""
    s3, watch = cloud.client("s3"), Watch()
    time.sleep(WINDOW_S - time.time() % WINDOW_S)
    marks = [watch.look()]
    with ThreadPoolExecutor(4) as pool:
        bucket = cloud.outputs["UploadsBucket"]
        list(
            pool.map(
                lambda pair: s3.put_object(
                    Bucket=bucket, Key=f"incoming/{pair[0]:05d}.png", Body=pair[1]
                ),
                enumerate(bodies),
            )
        )

    def until(done: Callable[[Any], bool]) -> None:
        while True:
            mark, activity = watch.look(), cloud.activity()
            assert mark.wall - marks[0].wall < LONGEST_S, activity
            if done(activity):
                print(PHASES[len(marks) - 1], f"{mark.wall - marks[-1].wall:.1f}", file=sys.stderr)
                marks.append(mark)
                return
            time.sleep(POLL_S)

    def jobs(activity: Any) -> list[Any]:
        return [job for job in activity.jobs if job.kind == "transform"]

    until(
        lambda seen: (
            not seen.queue_waiting + seen.queue_in_flight
            and not seen.invocations_running.get("IntakeFunction")
        )
    )
    until(lambda seen: bool(jobs(seen)))
    until(lambda seen: sum(job.done for job in jobs(seen)) > 0)
    until(lambda seen: sum(job.done for job in jobs(seen)) >= len(bodies))
    until(lambda _: count(cloud) >= len(bodies))
    return marks


def count(cloud: Cloud) -> int:
    """How many results there are, all of them predictions."""

    def under(folder: str) -> int:
        pages = cloud.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=cloud.outputs["PredictionsBucket"], Prefix=folder)
        return sum(page["KeyCount"] for page in found)

    assert not under("rejected/"), "a slice was rejected"
    return under("predictions/")


def inside(folder: Path, bodies: list[bytes]) -> dict[str, float]:
    """Milliseconds of CPU per slice of what the server does with one, each measured alone."""
    predictor = Predictor.load(folder)
    pixels = [decode_image(body, SHAPE) for body in bodies[:64]]
    form = Form(JSON_LINES, verbose=True)
    server = Server(predictor, 6 * 1024 * 1024)
    answer = predictor.explain(pixels[0])

    def cost(run: Callable[[int], Any], clock: Callable[[], float]) -> float:
        run(0)
        before = clock()
        for number in range(len(pixels)):
            run(number)
        return (clock() - before) / len(pixels) * 1000

    return {
        "decode": cost(lambda n: decode_image(bodies[n], SHAPE), time.thread_time),
        "infer": cost(lambda n: predictor.engine.run(pixels[n][None]), time.process_time),
        "encode": cost(lambda _: json.dumps(server._tell_all(answer, form)), time.thread_time),  # noqa: SLF001
    }


def calls(cloud: Cloud, body: bytes) -> dict[str, float]:
    """Milliseconds of CPU, client and embedded S3, of one call."""
    s3, bucket = cloud.client("s3"), cloud.outputs["WorkBucket"]

    def cost(call: Callable[[int], Any]) -> float:
        call(0)
        before = time.process_time()
        for number in range(100):
            call(number)
        return (time.process_time() - before) * 10

    put = cost(lambda n: s3.put_object(Bucket=bucket, Key=f"training/probe/{n}", Body=body))
    get = cost(lambda n: s3.get_object(Bucket=bucket, Key=f"training/probe/{n}")["Body"].read())
    small = cost(lambda n: s3.put_object(Bucket=bucket, Key=f"training/small/{n}", Body=b"x" * 60))
    return {"get a slice": get, "put a slice": put, "put an answer": small}


def measure(layers: int, bodies: list[bytes], seconds: float) -> Iterator[str]:
    """Yield the lines of one network; draws its picture."""
    with tempfile.TemporaryDirectory() as root:
        base = Path(root) / "ml"
        base.mkdir()
        folder = prepare(layers, base, INT8)
        alone = [serve_alone(base, bodies[0], seconds)]
        state = Path(root) / "state"
        with Cloud(
            template=TEMPLATE,
            parameters={**LOCAL_DEFAULTS, **PARAMETERS},
            state_dir=state,
            schedule_speed=SCHEDULE_SPEED,
        ) as cloud:
            install(cloud, folder)
            marks = travel(cloud, bodies)
            priced = calls(cloud, bodies[0])
        alone.append(serve_alone(base, bodies[0], seconds))
        parts = inside(folder, bodies)
    yield from report(layers, bodies, marks, alone, priced, parts)


def serve_alone(base: Path, body: bytes, seconds: float) -> float:
    """Slices/s of `serve` over HTTP, with nothing else of ours beside it."""
    with serving(base, body) as server:
        return over_http(server.port, seconds)


def report(
    layers: int,
    bodies: list[bytes],
    marks: list[Mark],
    alone: list[float],
    priced: dict[str, float],
    parts: dict[str, float],
) -> Iterator[str]:
    """Yield the table, and draw it."""
    total = len(bodies)
    rows = {
        name: (end.wall - begin.wall, per_slice(begin, end, total))
        for name, begin, end in zip(PHASES, marks[:-1], marks[1:], strict=True)
    }
    draw(layers, rows)
    rate = total / rows["transform"][0]
    share = rate / statistics.mean(alone)
    yield f"\n## ResNet-{layers} int8, {SHAPE[1]} px, {total} slices\n"
    yield f"| phase | wall, s | {' | '.join(f'{part}, CPU ms a slice' for part in PARTS)} |"
    yield "|---|---|---|---|---|"
    for name, (wall, cpu) in rows.items():
        yield f"| {name} | {wall:.1f} | {' | '.join(f'{each:.1f}' for each in cpu)} |"
    whole = sum(wall for wall, _ in rows.values())
    sums = [sum(cpu[place] for _, cpu in rows.values()) for place in range(len(PARTS))]
    yield f"| **all** | {whole:.1f} | {' | '.join(f'{each:.1f}' for each in sums)} |"
    yield ""
    yield (
        f"Transform: {rate:.1f} slices/s, {share:.0%} of `serve` alone "
        f"({' and '.join(f'{each:.1f}' for each in alone)} slices/s before and after)."
    )
    yield (
        "CPU ms, each measured alone: "
        + ", ".join(f"{name} {cost:.2f}" for name, cost in (parts | priced).items())
        + "."
    )
    yield f"\n![Where time goes](whole_way-{layers}.png)"


def per_slice(begin: Mark, end: Mark, total: int) -> list[float]:
    """CPU milliseconds of each of PARTS between two marks."""
    return [(b - a) / total * 1000 for a, b in zip(begin.cpu, end.cpu, strict=True)]


def draw(layers: int, rows: dict[str, tuple[float, list[float]]]) -> None:
    """One bar for each phase: CPU milliseconds a slice by kind of process."""
    figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
    left = [0.0] * len(rows)
    for place, part in enumerate(PARTS):
        widths = [cpu[place] for _, cpu in rows.values()]
        axes.barh(
            list(rows),
            widths,
            left=left,
            label=part,
            color=("#0072b2", "#e69f00", "#009e73")[place],
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms per slice")
    axes.set_title(f"ResNet-{layers} int8: where time goes")
    axes.legend(frameon=False)
    figure.savefig(RESULT.with_name(f"whole_way-{layers}.png"), dpi=90)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_way")
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--layers", type=int, nargs="+", default=[152, 18])
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    bodies = [encode(pixels) for pixels in slices(given.slices)]
    load = os.getloadavg()[0]
    lines = [
        f"# Where time goes, `python -m benchmarks.whole_way`: {count_cores()} cores, {cpu_name()}",
        "",
        f"Load average before: {load:.1f}. What else the machine did is in all wall times.",
        "Waiting for the window is by the clock: 40 s, and 15 s of `IntakeTimeoutSeconds`.",
    ]
    for layers in given.layers:
        lines += measure(layers, bodies, given.seconds)
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
