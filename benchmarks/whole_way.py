"""Where time goes on the whole way on one machine, from a dropped slice to its JSON.

    python -m benchmarks.whole_way [--slices 500] [--layers 152 18]

The real stack of `tomodrop run` on the real template, with a model of random weights that was
exported as a training exports it (int8). The slices are uploaded at once. For each phase the table
has its wall time and the CPU time per slice of the three kinds of process: this one (embedded S3
and transform runner), the functions, the model server. What the server's part is made of is
measured in this process, call by call, as is what a call to S3 costs. The rate of the transform
phase is compared with `serve` alone, asked over HTTP just before and just after.

The tables go to standard output and to `benchmarks/results/whole_way.md`, pictures beside it.
"""

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.models import SHAPE, encode, prepare, slices
from benchmarks.processor_time import Mark, Watch
from benchmarks.servers import over_http, serving
from benchmarks.whole_way_report import (
    DECODE,
    ENCODE,
    FETCH,
    INFER,
    PHASES,
    STORE,
    Findings,
    draw,
    tables,
)
from local.cloud import Activity, Cloud
from local.options import LOCAL_DEFAULTS, TEMPLATE
from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import LiveModel
from training.algorithm.cpu import count_cores, cpu_name
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.precision import INT8
from training.algorithm.serve import JSON_LINES, Form, Server

RESULT = Path(__file__).parent / "results" / "whole_way.md"
MODEL = "benchmark"
JOBS_S = 0.1
"""Between two looks at jobs, which cost nothing."""
ASKING_S = 0.5
"""Between two looks that ask S3 or SQS, which do: `tomodrop run` looks once a second."""
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

    def until(look: Callable[[], Any], done: Callable[[Any], bool], pause_s: float) -> None:
        while True:
            mark, seen = watch.look(), look()
            assert mark.wall - marks[0].wall < LONGEST_S, seen
            if done(seen):
                print(PHASES[len(marks) - 1], f"{mark.wall - marks[-1].wall:.1f}", file=sys.stderr)
                marks.append(mark)
                return
            time.sleep(pause_s)

    def until_jobs(done: Callable[[list[int]], bool]) -> None:
        """`done` is given how many slices each transform job has done."""
        until(lambda: [job.done for job in cloud.jobs() if job.kind == "transform"], done, JOBS_S)

    until(cloud.activity, taken_in, ASKING_S)
    until_jobs(bool)
    until_jobs(lambda each: sum(each) > 0)
    until_jobs(lambda each: sum(each) >= len(bodies))
    until(partial(count, cloud), lambda results: results >= len(bodies), ASKING_S)
    return marks


def taken_in(seen: Activity) -> bool:
    """Whether intake has nothing left."""
    waiting = seen.queue_waiting + seen.queue_in_flight
    return not waiting and not seen.invocations_running.get("IntakeFunction")


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
        DECODE: cost(lambda n: decode_image(bodies[n], SHAPE), time.thread_time),
        INFER: cost(lambda n: predictor.engine.run(pixels[n][None]), time.process_time),
        ENCODE: cost(lambda _: json.dumps(server._tell_all(answer, form)), time.thread_time),  # noqa: SLF001
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
    return {FETCH: get, "put a slice": put, STORE: small}


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
    findings = Findings(f"ResNet-{layers} int8", len(bodies), marks, alone, parts | priced)
    picture = RESULT.with_name(f"whole_way-{layers}.png")
    draw(findings, picture)
    yield from tables(findings, picture)


def serve_alone(base: Path, body: bytes, seconds: float) -> float:
    """Slices/s of `serve` over HTTP, with nothing else of ours beside it."""
    with serving(base, body) as server:
        return over_http(server.port, seconds)


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
