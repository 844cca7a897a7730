"""A model server on a port of this machine, and what keeps it full: for benchmarks to measure.

    python -m benchmarks.servers PORT [--seconds 8] [--litserve]

sends it slices over kept connections for so long, and prints images/s. That is a process of its
own, on the same cores.
"""

import argparse
import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import encode, slices


@dataclass
class Server:
    """A server that answers; its start and its memory are those of this process."""

    process: subprocess.Popen[bytes]
    port: int
    first_answer_s: float

    def resident_mb(self, what: str = "VmRSS") -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@dataclass(frozen=True)
class Question:
    """How a picture is sent; `concurrent` None: as many at a time as the server says."""

    path: str = "/invocations"
    content_type: str = "image/png"
    concurrent: int | None = None

    def body(self, picture: bytes) -> bytes:
        if self.content_type != "application/json":
            return picture
        return json.dumps({"image": base64.b64encode(picture).decode()}).encode()


OURS = Question()
LITSERVE = Question("/predict", "application/json", 8)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving(base: Path, body: bytes) -> AbstractContextManager[Server]:
    """Our own program."""
    port = free_port()
    environment = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    return started([sys.executable, "-m", "training.algorithm", "serve"], port, body, environment)


@contextmanager
def started(
    command: list[str],
    port: int,
    body: bytes,
    environment: dict[str, str],
    question: Question = OURS,
) -> Iterator[Server]:
    """Start a server, and wait for its first answer."""
    begun = time.monotonic()
    with subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            while not answers(port, body, question):
                assert process.poll() is None, command
                time.sleep(0.02)
            yield Server(process, port, time.monotonic() - begun)
        finally:
            # LitServe leaves it to its group to end its workers.
            os.killpg(process.pid, signal.SIGTERM)


def answers(port: int, body: bytes, question: Question = OURS) -> bool:
    try:
        ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), body, question)
    except OSError:
        return False
    return True


def ask(connection: http.client.HTTPConnection, body: bytes, question: Question = OURS) -> None:
    headers = {"Content-Type": question.content_type}
    connection.request("POST", question.path, question.body(body), headers)
    response = connection.getresponse()
    answer = response.read()
    assert response.status == 200, answer


def best_concurrency(port: int) -> int:
    """What our server says."""
    first = http.client.HTTPConnection("127.0.0.1", port)
    first.request("GET", "/execution-parameters")
    return int(json.loads(first.getresponse().read())["MaxConcurrentTransforms"])


def client(port: int, seconds: float, question: Question) -> None:
    """Keep the server full for so long; print images/s."""
    bodies = [encode(pixels) for pixels in slices(16)]
    concurrent = question.concurrent or best_concurrency(port)
    # What is under way when the time is over counts by the share that is done by then: waiting
    # for it, instead, would count the end, where the server is not full.
    ends: list[float] = []
    until = time.monotonic() + seconds + 1

    def work(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while time.monotonic() < until:
            ask(connection, bodies[number % len(bodies)], question)
            ends.append(time.monotonic())
            number += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(concurrent)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # From one answer to another, after a second of filling up.
    full = sorted(end for end in ends if until - seconds <= end <= until)
    print((len(full) - 1) / (full[-1] - full[0]))


def over_http(port: int, seconds: float, *, litserve: bool = False) -> float:
    """Images/s of a server that is kept full for so long."""
    command = [sys.executable, "-m", "benchmarks.servers", str(port), "--seconds", str(seconds)]
    command += ["--litserve"] if litserve else []
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers")
    parser.add_argument("port", type=int)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--litserve", action="store_true")
    given = parser.parse_args()
    client(given.port, given.seconds, LITSERVE if given.litserve else OURS)


if __name__ == "__main__":
    main()
