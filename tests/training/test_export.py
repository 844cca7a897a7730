"""A model that a job exports, and its server where PyTorch cannot be imported."""

import base64
import importlib.util
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training.builders import REPOSITORY, Job, as_stream, make_job, make_samples, make_slice
from tests.training.test_dockerfile import SERVE, serving_without
from tests.training.test_serve import Client
from training.algorithm import engines, export, serve
from training.algorithm.artefact import load_model, load_typicality, save_model
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.job import run_job
from training.algorithm.settings import TrainSettings
from training.algorithm.torch_engine import TorchEngine, load_classifier

# Looked for, not imported: that would send an event of its telemetry.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="there is no OpenVINO for this machine"
)

GIVEN = {
    "num_classes": "2",
    "num_training_samples": "40",
    "num_layers": "20",
    "image_shape": "1,28,28",
    "mini_batch_size": "10",
    "epochs": "1",
    "learning_rate": "0.001",
    "optimizer": "adamw",
    "head_stages": "2",
}
VERBOSE = "application/jsonlines;verbose=1"
TORCH = "torch,monai,matplotlib"
FLAGS = frozenset({"avx512_vnni", "avx512_bf16"})


def run(job: Job, *, passes: int = 3, **given: str) -> None:
    """Run a job in this process with so many FIFOs for each channel."""
    job.feed("train", *[as_stream(make_samples(40))] * passes)
    job.feed("validation", *[as_stream(make_samples(24, first_seed=90))] * passes)
    settings = TrainSettings(job.layout, (), None, None, "a-job", pipe_timeout_s=2)
    run_job(read_hyperparameters({**GIVEN, **given}), settings, ("0", "1"), threading.Event())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = make_job(tmp_path_factory.mktemp("exported") / "ml")
    run(job)
    return job


@pytest.fixture
def copied(exported: Job, job: Job) -> Job:
    """A job whose model may be harmed."""
    shutil.copytree(exported.layout.model, job.layout.model, dirs_exist_ok=True)
    return job


def serving(job: Job, home: Path) -> AbstractContextManager[Client]:
    """The real program, where neither PyTorch nor what needs it can be imported."""
    return serving_without(job, TORCH, said="with OpenVINO", HOME=str(home))


@pytest.fixture(scope="module")
def client(exported: Job, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    with serving(exported, home) as client:
        yield client
    assert list(home.iterdir()) == [], "OpenVINO's telemetry leaves an identifier there"


def described(job: Job) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((job.layout.model / "model.json").read_text())
    return content


def in_torch(job: Job, encoded: bytes) -> Predictor:
    """The same model in PyTorch."""
    description, _ = load_model(job.layout.model)
    engine = TorchEngine(*load_classifier(job.layout.model), description.image_shape, cores=1)
    return Predictor(description, engine)


def test_the_choice_and_all_its_figures_are_in_the_description(exported: Job) -> None:
    content = described(exported)
    found = content["serving"]
    assert found["precision"] in found["kept"]
    assert "fp32" in found["measured"]
    assert found["samples"] == 24
    assert found["cpu"]["cores"] >= 1
    for figures in found["measured"].values():
        assert figures["images_per_second"] > 0
        assert 0 <= figures["accuracy"] <= 1
    names = {path.name for path in exported.layout.model.glob("openvino*")}
    assert names >= {"openvino.xml", "openvino.bin"}
    assert {name for name in content if name.startswith("openvino")} == names
    assert ("openvino-int8.xml" in names) == (found["precision"] == "int8")
    assert not list(exported.layout.model.glob(".export-*"))


def test_the_typicality_is_that_of_the_network_that_is_served(exported: Job) -> None:
    assert load_typicality(exported.layout.model) is not None
    predictor = Predictor.load(exported.layout.model)
    shares = []
    for image, _label in make_samples(24, first_seed=90):
        pixels = decode_image(image, predictor.description.image_shape)
        shares.append(predictor.explain(pixels).typicality)
    found = sorted(share for share in shares if share is not None)
    assert found == pytest.approx([n / 24 for n in range(24)], abs=1.01 / 24)


def test_answers_without_pytorch_are_those_of_pytorch(exported: Job, client: Client) -> None:
    for seed in range(6):
        encoded = make_slice(seed % 2, seed, side=28)
        reference = in_torch(exported, encoded)
        pixels = decode_image(encoded, (1, 28, 28))
        served = json.loads(client.post(encoded).body)["prediction"]
        assert served == pytest.approx(reference.predict(pixels), abs=0.05)


def test_a_verbose_answer_has_a_map_only_when_it_is_asked_for(client: Client) -> None:
    encoded = make_slice(1, 7, side=28)
    without = json.loads(client.post(encoded, Accept=VERBOSE).body)
    content = json.loads(client.post(encoded, Accept=f"{VERBOSE};map=1").body)
    assert json.loads(client.post(encoded, Accept="application/jsonlines;map=1").body).keys() == {
        "prediction"
    }
    assert content.keys() - without.keys() == {"map", "map_class", "map_range"}
    assert without.items() <= content.items()
    with Image.open(io.BytesIO(base64.b64decode(content["map"]))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (14, 14))
        greys = np.asarray(picture).astype(float)
    assert (greys.min(), greys.max()) == (0, 255)
    assert content["map_class"] == content["classes"][int(np.argmax(content["calibrated"]))]


def test_the_map_that_is_sent_adds_up_to_the_score(exported: Job) -> None:
    predictor = Predictor.load(exported.layout.model)
    pixels = decode_image(make_slice(1, 7, side=28), (1, 28, 28))
    outputs = predictor.engine.run(pixels[None])
    bias = load_model(exported.layout.model)[1]["fc.bias"].numpy()
    # Three digits are what bfloat16 has.
    assert outputs.maps.mean(axis=(2, 3)) + bias == pytest.approx(outputs.scores, 0.005, abs=0.01)


def test_an_answer_does_not_depend_on_its_neighbours(client: Client) -> None:
    bodies = [make_slice(seed % 2, seed) for seed in range(12)]
    alone = [client.post(body, Accept=f"{VERBOSE};map=1").body for body in bodies]
    mixed = [body for pair in zip(bodies, [b"no picture"] * 12, strict=True) for body in pair]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: client.post(body, Accept=f"{VERBOSE};map=1"), mixed))
    assert [answer.body for answer in answers[::2]] == alone
    assert {answer.status for answer in answers[1::2]} == {400}


def test_more_requests_than_may_wait_are_told_to_come_again(client: Client) -> None:
    concurrent = json.loads(client.get("/execution-parameters").body)["MaxConcurrentTransforms"]
    limit = concurrent * serve.WAITING // 2
    port = int(client.url.rpartition(":")[2])
    body = make_slice(1, seed=3)
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(limit)]
    try:
        for each in slow:
            each.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        for _ in range(100):
            refused = client.post(body)
            if refused.status == 503:
                break
        assert refused.status == 503
        assert f"{limit} requests are under way" in json.loads(refused.body)["error"]
        assert client.get("/ping").status == 200
        for each in slow:
            each.sendall(body)
        for each in slow:
            each.settimeout(60)
            assert each.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for each in slow:
            each.close()
    assert client.post(body).status == 200


@pytest.mark.parametrize("flags", [FLAGS, FLAGS - {"avx512_vnni"}, frozenset[str]()])
def test_a_cpu_without_the_instructions_is_named_and_serves_all_the_same(
    copied: Job, monkeypatch: pytest.MonkeyPatch, warnings: list[str], flags: frozenset[str]
) -> None:
    path = copied.layout.model / "model.json"
    content = described(copied)
    content["serving"] |= {"precision": "int8", "kept": ["fp32", "bf16", "int8"]}
    for end in (".xml", ".bin"):
        content[f"openvino-int8{end}"] = content[f"openvino{end}"]
        shutil.copy(path.with_name(f"openvino{end}"), path.with_name(f"openvino-int8{end}"))
    path.write_text(json.dumps(content))
    monkeypatch.setattr(engines, "cpu_flags", lambda: flags)
    predictor = Predictor.load(copied.layout.model)
    predictor.check()
    expected = "int8" if "avx512_vnni" in flags else "bf16" if flags else "fp32"
    assert f", {expected}, " in predictor.engine.name
    said = [line for line in warnings if "has no instructions for" in line]
    assert len(said) == (expected != "int8")


@pytest.mark.parametrize("name", ["openvino.xml", "openvino.bin"])
@pytest.mark.parametrize("harm", ["alter", "remove"])
def test_an_exported_network_that_is_altered_or_absent_ends_the_server_with_a_reason(
    copied: Job,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    harm: str,
) -> None:
    monkeypatch.setattr(engines, "cpu_flags", frozenset[str])
    path = copied.layout.model / name
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(copied.layout.base))
    assert serve.main() == 2
    assert name in capsys.readouterr().out


def test_what_is_no_network_ends_the_server_with_a_reason(
    copied: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "cpu_flags", frozenset[str])
    monkeypatch.setattr("training.algorithm.artefact._check", lambda _path, _named: None)
    (copied.layout.model / "openvino.xml").write_text("<net/>")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(copied.layout.base))
    assert serve.main() == 2
    assert "OpenVINO cannot load the exported network" in capsys.readouterr().out


def test_without_pytorch_a_model_that_was_not_exported_is_refused_with_the_reason(
    exported: Job, job: Job
) -> None:
    save_model(job.layout.model, *load_model(exported.layout.model))
    served = subprocess.run(
        [sys.executable, "-c", SERVE, TORCH],
        cwd=REPOSITORY,
        env={"SAGEMAKER_BASE_DIR": str(job.layout.base)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert served.returncode == 2
    assert "serving_precision=auto" in served.stdout


def test_a_job_that_cannot_be_measured_keeps_its_model(job: Job, warnings: list[str]) -> None:
    run(job, passes=1)
    assert load_model(job.layout.model)[0].serving is None
    assert not list(job.layout.model.glob("*openvino*"))
    (said,) = [line for line in warnings if "not exported" in line]
    assert "no FIFO" in said


def test_only_the_beginning_of_train_is_read_for_the_calibration(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CALIBRATION_SLICES", 20)
    monkeypatch.setattr(export, "has_flags", lambda _precision, _flags: True)
    # The second pass over train is the calibration's. All of it is more than FIFO and mixing hold.
    long = as_stream(make_samples(40)) * 300
    job.feed("train", as_stream(make_samples(40)), long)
    job.feed("validation", *[as_stream(make_samples(24, first_seed=90))] * 2)
    settings = TrainSettings(job.layout, (), None, None, "a-job", pipe_timeout_s=2)
    run_job(read_hyperparameters(GIVEN), settings, ("0", "1"), threading.Event())
    assert load_model(job.layout.model)[0].serving is not None
    assert job.sent["train"] < len(long) / 2


@pytest.mark.parametrize("absent", ["openvino", "nncf"])
def test_what_is_not_installed_is_done_without(
    job: Job, monkeypatch: pytest.MonkeyPatch, said: list[str], absent: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == absent else find(name)
    )
    monkeypatch.setattr(export, "has_flags", lambda _precision, _flags: True)
    run(job)
    serving = load_model(job.layout.model)[0].serving
    if absent == "openvino":
        assert serving is None
        assert "OpenVINO is not installed: the model is not exported, PyTorch will serve it" in said
    else:
        assert serving is not None
        assert set(serving["measured"]) == {"fp32", "bf16"}
        assert "NNCF is not installed: whole numbers are not tried" in said


def test_whatever_the_library_raises_the_model_is_kept(
    job: Job, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    class Unsupported(Exception):
        """As OpenVINO's own, of no base that is known here."""

    def refuse(*_arguments: object) -> None:
        raise Unsupported("no such operation")

    monkeypatch.setattr(export, "convert", refuse)
    run(job, passes=2)
    assert load_model(job.layout.model)[0].serving is None
    assert "serving it needs PyTorch: no such operation" in "".join(warnings)
    predictor = Predictor.load(job.layout.model)
    predictor.check()
    assert predictor.engine.name.startswith("PyTorch")


def test_where_whole_numbers_lose_too_much_fewer_layers_get_them(
    exported: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged by the network that comes of it: the careful one has fewer of them."""
    shape = (1, 28, 28)
    network = export.convert(exported.layout.model, shape)
    images = np.stack([decode_image(make_slice(n % 2, n), shape) for n in range(8)])
    counts = []
    for careful in (False, True):
        quantised = export.quantise(network, images, threading.Event(), careful=careful)
        operations = [node.get_type_name() for node in quantised.get_ops()]
        counts.append(operations.count("FakeQuantize"))
    assert counts[0] > counts[1] > 0


def test_a_stop_ends_the_export_at_once(job: Job, warnings: list[str]) -> None:
    stop = threading.Event()
    job.feed("train", as_stream(make_samples(40)))
    job.feed("validation", as_stream(make_samples(24, first_seed=90)))

    def stop_when_there_is_a_model() -> None:
        while not (job.layout.model / "model.json").exists():
            stop.wait(0.02)
        stop.set()

    threading.Thread(target=stop_when_there_is_a_model, daemon=True).start()
    settings = TrainSettings(job.layout, (), None, None, None, pipe_timeout_s=60)
    run_job(read_hyperparameters(GIVEN), settings, ("0", "1"), stop)
    assert "Told to stop: the model is not exported, serving it needs PyTorch" in warnings
    assert load_model(job.layout.model)[0].serving is None
