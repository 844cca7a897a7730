"""A training program that does what its hyperparameters say, and leaves behind what it saw.

Hyperparameters: `reads` ("train_0 train_1 …": FIFOs or files to read whole), `peeks` (FIFOs to open
and close after one byte), `say` (text for the log, | for a new line), `fail` (text for the failure
file), `exit` (code), `sleep` (seconds to linger, unless a checkpoint was there), `stubborn` ("1":
ignores SIGTERM), `checkpoint` (text to leave).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO, cast

BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])
CONFIG = BASE / "input" / "config"
MODEL = BASE / "model"
OUTPUT = BASE / "output"


def on_terminate(_signum: int, _frame: object) -> None:
    (MODEL / "saved-on-term").write_text("yes")
    sys.exit(0)


def open_fifo(name: str) -> BinaryIO:
    path = BASE / "input" / "data" / name
    while not path.exists():
        time.sleep(0.005)
    return cast("BinaryIO", path.open("rb", buffering=0))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parameters = json.loads((CONFIG / "hyperparameters.json").read_text())
    stubborn = parameters.get("stubborn") == "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else on_terminate)
    config = {path.name: json.loads(path.read_text()) for path in CONFIG.iterdir()}
    (OUTPUT / "data" / "config.json").write_text(json.dumps(config))
    (OUTPUT / "data" / "environment.json").write_text(json.dumps(dict(os.environ)))
    found = sorted(path.name for path in (BASE / "checkpoints").iterdir())
    (OUTPUT / "data" / "checkpoints.json").write_text(json.dumps(found))
    if "checkpoint" in parameters:
        (BASE / "checkpoints" / "state").write_text(parameters["checkpoint"])
    say("program is up")
    for name in parameters.get("peeks", "").split():
        with open_fifo(name) as fifo:
            fifo.read(1)
    for name in parameters.get("reads", "").split():
        (MODEL / name).parent.mkdir(parents=True, exist_ok=True)
        with open_fifo(name) as fifo:
            (MODEL / name).write_bytes(b"".join(iter(lambda: fifo.read(65536), b"")))
    say(parameters.get("say", "").replace("|", "\n"))
    deadline = time.monotonic() + (0.0 if found else float(parameters.get("sleep", "0")))
    while time.monotonic() < deadline:
        time.sleep(0.02)
    if "fail" in parameters:
        (OUTPUT / "failure").write_text(parameters["fail"])
    return int(parameters.get("exit", "0"))


if __name__ == "__main__":
    assert sys.argv[1] == "train", sys.argv
    sys.exit(main())
