"""A job's folder, its pictures and its feeders; the programs run as SageMaker runs them."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from training.algorithm.image_records import pack_image
from training.algorithm.paths import Layout
from training.algorithm.records import write_record

PIECE_BYTES = 64 * 1024
REPOSITORY = Path(__file__).resolve().parents[2]
PIPE_CHANNEL = {
    "ContentType": "application/x-recordio",
    "TrainingInputMode": "Pipe",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "RecordIO",
}
FILE_CHANNEL = {
    "ContentType": "application/x-recordio",
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def make_slice(label: int, seed: int, side: int = 32) -> bytes:
    """A noisy grey PNG; class 1 has a bright patch, so that a few steps tell the classes apart."""
    pixels = np.random.default_rng(seed).integers(0, 60, (side, side), dtype=np.uint8)
    if label:
        pixels[side // 4 : side // 2, side // 4 : side // 2] += 150
    return encode_png(np.repeat(pixels[:, :, None], 3, axis=2))


def make_samples(count: int, first_seed: int = 0) -> list[tuple[bytes, str]]:
    return [(make_slice(n % 2, first_seed + n), str(n % 2)) for n in range(count)]


def as_stream(samples: Iterable[tuple[bytes, str]]) -> bytes:
    return b"".join(write_record(image) + write_record(label.encode()) for image, label in samples)


def as_grouped_stream(samples: Iterable[tuple[bytes, str, str]]) -> bytes:
    return b"".join(
        write_record(image) + write_record(label.encode()) + write_record(group.encode())
        for image, label, group in samples
    )


def as_record_file(samples: Iterable[tuple[bytes, str]]) -> bytes:
    """As im2rec packs them."""
    return b"".join(
        write_record(pack_image([float(label)], number, image))
        for number, (image, label) in enumerate(samples)
    )


@dataclass
class Job:
    """The /opt/ml of one job, and feeders that make its FIFOs one after the other."""

    layout: Layout
    fed: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    """Passes and bytes so far, by channel; what is not read any more is not sent."""

    def feed(self, channel: str, *passes: bytes) -> None:
        """Give each pass its FIFO, in a thread; the next appears when the one before is done."""
        threading.Thread(target=self._feed, args=(channel, passes), daemon=True).start()

    def _feed(self, channel: str, passes: tuple[bytes, ...]) -> None:
        for content in passes:
            number = self.fed.get(channel, 0)
            path = self.layout.fifo(channel, number)
            os.mkfifo(path)
            # A reader may close early: that is the end of this pass, not of the feeder.
            with suppress(BrokenPipeError), path.open("wb", buffering=0) as fifo:
                for start in range(0, len(content), PIECE_BYTES):
                    sent = fifo.write(content[start : start + PIECE_BYTES])
                    self.sent[channel] = self.sent.get(channel, 0) + sent
            self.fed[channel] = number + 1

    def configure(self, hyperparameters: Mapping[str, str], **channels: object) -> None:
        config = self.layout.hyperparameters
        config.write_text(json.dumps(dict(hyperparameters)))
        self.layout.input_data_config.write_text(
            json.dumps(channels or {"train": PIPE_CHANNEL, "validation": PIPE_CHANNEL})
        )
        self.layout.resource_config.write_text(
            json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]})
        )

    def start(self, program: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "training.algorithm", program],
            cwd=REPOSITORY,
            env={
                "PATH": os.environ["PATH"],
                "HOME": os.environ["HOME"],
                "SAGEMAKER_BASE_DIR": str(self.layout.base),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, program: str, **environment: str) -> tuple[int, str]:
        """Run to the end; return exit code and log."""
        with self.start(program, **environment) as process:
            log, _ = process.communicate(timeout=300)
        return process.returncode, log


def make_job(base: Path) -> Job:
    layout = Layout(base)
    for folder in (layout.hyperparameters.parent, layout.fifo("train", 0).parent):
        folder.mkdir(parents=True)
    layout.model.mkdir()
    job = Job(layout)
    job.configure({})
    return job


@dataclass(frozen=True)
class Trained:
    """A finished job of the real program: exit code, log, and what it left."""

    job: Job
    exit_code: int
    log: str


TRAINED_WITH = {
    "num_classes": "2",
    "num_training_samples": "12",
    "serving_precision": "none",
    "num_layers": "18",
    "image_shape": "3,32,32",
    "epochs": "2",
    "mini_batch_size": "5",
    "learning_rate": "0.01",
    "augmentation": "ct",
    "top_k": "2",
    "seed": "3",
}
