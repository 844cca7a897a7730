"""What a server tells when it is asked for more: over HTTP, and the models it refuses."""

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.training.builders import Job, Trained, encode_png, make_job, make_slice
from tests.training.test_serve import Client, free_port, wait_for
from training.algorithm import serve
from training.algorithm.appearance import Floats
from training.algorithm.artefact import add_typicality, load_model, save_model
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.typicality import Typicality
from training.algorithm.views import look_at


@contextmanager
def serving(job: Job) -> Iterator[Client]:
    """The real program on a job's model."""
    port = free_port()
    with job.start("serve", SAGEMAKER_BIND_TO_PORT=str(port)) as process:
        client = Client(f"http://127.0.0.1:{port}")
        wait_for(client)
        yield client
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@dataclass(frozen=True)
class Told:
    """The same model's server: with its weights alone, and with all that a model may have."""

    plain: Client
    knowing: Client


@pytest.fixture(scope="module")
def told(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    bare, job = (make_job(tmp_path_factory.mktemp(name) / "ml") for name in ("bare", "knowing"))
    description, state = load_model(trained.job.layout.model)
    save_model(bare.layout.model, replace(description, calibration=None), state)
    calibration = {"temperature": 2.0, "bias": [1.0, -1.0]}
    save_model(job.layout.model, replace(description, calibration=calibration), state)
    predictor = Predictor.load(job.layout.model)
    views = [look_at_slices(predictor, seeds) for seeds in (range(40), range(100, 140))]
    add_typicality(job.layout.model, Typicality.fit(*views).state())
    with serving(bare) as plain, serving(job) as knowing:
        yield Told(plain, knowing)


def look_at_slices(predictor: Predictor, seeds: range) -> dict[str, Floats]:
    shape = predictor.description.image_shape
    images = np.stack([decode_image(make_slice(seed % 2, seed), shape) for seed in seeds])
    return look_at(images, predictor.features(images))


def test_a_model_that_knows_no_more_says_no_more_when_asked(told: Told) -> None:
    encoded = make_slice(1, seed=7)
    answer = told.plain.post(encoded, Accept="application/jsonlines;verbose=1")
    assert (answer.status, answer.media_type) == (200, "application/jsonlines")
    assert json.loads(answer.body) == {
        "prediction": json.loads(told.plain.post(encoded).body)["prediction"],
        "classes": ["non_covid", "covid"],
        "model": "tomodrop-train-1",
    }
    assert b"\n" not in answer.body


def test_verbose_answers_have_the_calibrated_probabilities_and_the_typicality(told: Told) -> None:
    encoded = make_slice(1, seed=207)
    answer = told.knowing.post(encoded, Accept="application/jsonlines;verbose=1")
    content = json.loads(answer.body)
    plain = json.loads(told.plain.post(encoded).body)["prediction"]
    assert list(content) == ["prediction", "calibrated", "classes", "model", "typicality"]
    assert content["prediction"] == plain
    weights = [math.exp(math.log(p) / 2 + b) for p, b in zip(plain, (1, -1), strict=True)]
    assert content["calibrated"] == pytest.approx([w / sum(weights) for w in weights])
    assert 0 < content["typicality"] <= 1


def test_what_the_model_has_not_seen_is_not_typical(told: Told) -> None:
    bright = encode_png(np.full((32, 32, 3), 200, np.uint8))
    answer = told.knowing.post(bright, Accept="application/jsonlines; verbose=true")
    assert json.loads(answer.body)["typicality"] == 0


def test_json_is_verbose_as_well_when_asked(told: Told) -> None:
    encoded = make_slice(0, seed=208)
    lines = told.knowing.post(encoded, Accept="application/jsonlines;verbose=1")
    whole = told.knowing.post(encoded, Accept="application/json;verbose=1")
    assert (whole.status, whole.media_type) == (200, "application/json")
    assert json.loads(whole.body) == json.loads(lines.body)


@pytest.mark.parametrize("accept", ["", "*/*", "application/jsonlines", "application/json"])
def test_unless_asked_for_more_the_answer_is_the_same_to_the_byte(told: Told, accept: str) -> None:
    for seed in range(3):
        encoded = make_slice(seed % 2, seed)
        plain = told.plain.post(encoded, Accept=accept)
        assert told.knowing.post(encoded, Accept=accept) == plain
        content = json.loads(plain.body)
        assert (
            len(content) == 2 if accept == "application/json" else list(content) == ["prediction"]
        )


def test_a_typicality_of_another_network_ends_the_server_with_a_reason(
    trained: Trained,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_model(job.layout.model, *load_model(trained.job.layout.model))
    rows = np.random.default_rng(1).standard_normal((40, 7))
    other = Typicality.fit({"features": rows[:20]}, {"features": rows[20:]})
    add_typicality(job.layout.model, other.state())
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job.layout.base))
    assert serve.main() == 2
    assert "Customer Error: the model's typicality is of {'features': 7}" in capsys.readouterr().out
