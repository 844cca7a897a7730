"""Serving in numbers: images/s from PNG bytes to JSON over HTTP, memory, start.

    python -m benchmarks.serving [--rounds 5] [--seconds 8] [--layers 152 18]

Of the same network, on the same cores, in alternating rounds, whose medians count:

* serve: the real program on the exported model, in the precision given, asked over kept
  connections by another process on the same cores;
* benchmark_app: OpenVINO's own figure for the same file and precision, which neither decodes nor
  speaks HTTP;
* serve, PyTorch: the real program on the same model without its export (eager fp32);
* PyTorch: the network alone, eager fp32, channels last, the better of batch 1 and 8;
* with `make setup-bench`, other servers (`benchmarks.peers`): LitServe with PyTorch and with
  OpenVINO, and ONNX Runtime (fp32) behind the HTTP server that ours has.

The weights are random: how fast they are computed with does not depend on them. What else the
machine does changes every figure; the load is written beside them, and only ratios within a run
mean anything. The table goes to standard output and to `benchmarks/results/serving.md`.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.models import SHAPE, encode, prepare, slices
from benchmarks.servers import LITSERVE, OURS, free_port, over_http, serving, started
from training.algorithm.artefact import AS_LEARNED, QUANTISED, find_openvino
from training.algorithm.cpu import count_cores, cpu_name
from training.algorithm.precision import BF16, FP32, INT8
from training.algorithm.torch_engine import ServedNetwork, load_classifier

PEERS = Path(__file__).parents[1] / ".venv-bench" / "bin" / "python"
"""What `make setup-bench` makes."""
RESULTS = Path(__file__).parent / "results" / "serving.md"
APP = """
import sys
sys.modules["openvino_telemetry"] = None
from openvino.tools.benchmark.main import main
main()
"""
_HINTS = {FP32: "f32", BF16: "bf16", INT8: "f32"}


def benchmark_app(graph: Path, precision: str, seconds: float) -> float:
    options = {
        "-m": graph, "-d": "CPU", "-hint": "throughput", "-t": round(seconds),
        "-infer_precision": _HINTS[precision],
    }  # fmt: skip
    words = [str(word) for pair in options.items() for word in pair]
    run = subprocess.run(
        [sys.executable, "-c", APP, *words], capture_output=True, text=True, check=False
    )
    found = re.search(r"Throughput:\s+([\d.]+) FPS", run.stdout)
    assert found, run.stdout[-2000:] + run.stderr[-2000:]
    return float(found[1])


def eager(folder: Path, seconds: float) -> float:
    """Images/s of the network alone, in this process."""
    torch.set_num_threads(count_cores())
    classifier, scaling = load_classifier(folder)
    network = ServedNetwork(classifier.place_on(torch.device("cpu")), scaling)
    best = 0.0
    for batch in (1, 8):
        images = torch.from_numpy(np.stack(slices(batch)))
        with torch.inference_mode():
            network(images)
            started, done = time.monotonic(), 0
            while time.monotonic() - started < seconds / 2:
                network(images)
                done += batch
        best = max(best, done / (time.monotonic() - started))
    return best


@dataclass
class Contender:
    name: str
    run: Callable[[], float]
    note: str = ""
    found: list[float] = field(default_factory=list)


def compare(layers: int, precisions: list[str], rounds: int, seconds: float) -> Iterator[str]:
    """Yield the lines of the table of one network."""
    body = encode(slices(1)[0])
    with ExitStack() as stack:
        bases = [
            Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in (*precisions, None)
        ]
        contenders = []
        for base, precision in zip(bases, [*precisions, None], strict=True):
            print(f"ResNet-{layers}: preparing {precision or 'PyTorch'}", file=sys.stderr)
            folder = prepare(layers, base, precision)
            server = stack.enter_context(serving(base, body))
            note = f"first answer {server.first_answer_s:.1f} s, {server.resident_mb():.0f} MB"
            run = partial(over_http, server.port, seconds)
            contenders.append(Contender(f"serve, {precision or 'PyTorch fp32'}", run, note))
            if precision:
                graph = find_openvino(folder, QUANTISED if precision == INT8 else AS_LEARNED)
                run = partial(benchmark_app, graph, precision, seconds)
                contenders.append(Contender(f"benchmark_app, {precision}", run))
        contenders += peers(stack, bases, body, seconds)
        run = partial(eager, bases[-1] / "model", seconds)
        contenders.append(Contender("PyTorch eager fp32 alone", run))
        for number in range(rounds):
            for each in contenders:
                each.found.append(each.run())
                print(f"round {number}: {each.name} {each.found[-1]:.2f}", file=sys.stderr)
    yield from table(layers, contenders)


def peers(stack: ExitStack, bases: list[Path], body: bytes, seconds: float) -> Iterator[Contender]:
    """Yield the other servers: of the first precision's model, and of the one not exported."""
    if not PEERS.exists():
        print("No other servers: `make setup-bench` installs them", file=sys.stderr)
        return
    for kind, name, base in (
        ("litserve-torch", "LitServe, PyTorch fp32", bases[-1]),
        ("litserve-openvino", "LitServe, OpenVINO, the first precision", bases[0]),
        ("onnxruntime", "ONNX Runtime fp32, our HTTP server", bases[-1]),
    ):
        port, is_litserve = free_port(), kind.startswith("litserve")
        command = [str(PEERS), "-m", "benchmarks.peers", kind, str(base / "model"), str(port)]
        question = LITSERVE if is_litserve else OURS
        server = stack.enter_context(started(command, port, body, {}, question))
        note = f"first answer {server.first_answer_s:.1f} s"
        run = partial(over_http, server.port, seconds, litserve=is_litserve)
        yield Contender(name, run, note)


def table(layers: int, contenders: list[Contender]) -> Iterator[str]:
    slowest = contenders[-1].found
    yield f"\n## ResNet-{layers}, {SHAPE[1]} px\n"
    heads = "images/s, median (least to most)", "times eager", "of benchmark_app", "start, memory"
    yield f"| | {' | '.join(heads)} |"
    yield "|---|---|---|---|---|"
    for place, each in enumerate(contenders):
        of_app = ""
        after = contenders[place + 1 : place + 2]
        if after and after[0].name.startswith("benchmark_app"):
            of_app = f"{ratio(each.found, after[0].found):.1%}"
        spread = f"{min(each.found):.1f} to {max(each.found):.1f}"
        yield (
            f"| {each.name} | {statistics.median(each.found):.2f} ({spread}) | "
            f"{ratio(each.found, slowest):.2f} | {of_app} | {each.note} |"
        )


def ratio(found: list[float], other: list[float]) -> float:
    """The median of the ratios within a round: what the machine did besides is in both."""
    return statistics.median(one / two for one, two in zip(found, other, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Serving in numbers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--layers", type=int, nargs="+", default=[152, 18])
    parser.add_argument("--precisions", nargs="+", default=[INT8, BF16, FP32])
    given = parser.parse_args()
    # Told to end, it ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    load = os.getloadavg()[0]
    lines = [
        f"# Serving, `python -m benchmarks.serving`: {count_cores()} cores of {cpu_name()}",
        "",
        f"{given.rounds} alternating rounds of {given.seconds:g} s; load before them: {load:.1f}.",
        "Ratios are medians of those within a round.",
    ]
    for layers in given.layers:
        lines += compare(layers, given.precisions, given.rounds, given.seconds)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
