import io
import json
import re
import signal
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.training.builders import TRAINED_WITH, Job, Trained, as_stream, make_samples
from training.algorithm import train
from training.algorithm.artefact import load_model


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A program that runs in the tests' own process leaves its handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


STAMP = r"^\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d INFO \d+\] "


def test_a_finished_job_exits_with_zero_and_leaves_no_failure(trained: Trained) -> None:
    assert trained.exit_code == 0, trained.log
    assert not trained.job.layout.failure.exists()


@pytest.mark.parametrize(
    "line",
    [
        r"Epoch\[0\] Train-accuracy=0\.\d{6}$",
        r"Epoch\[0\] Train-top_k_accuracy_2=1\.000000$",
        r"Epoch\[1\] Time cost=\d+\.\d{3}$",
        r"Epoch\[1\] Validation-accuracy=[01]\.\d{6}$",
        r"Storing the best model with validation accuracy: [01]\.\d{6}$",
    ],
)
def test_the_log_has_the_lines_of_the_built_in(trained: Trained, line: str) -> None:
    assert re.search(STAMP + line, trained.log, re.MULTILINE)


def test_the_last_values_that_metric_definitions_see_are_the_shipped_models(
    trained: Trained,
) -> None:
    metrics = json.loads((trained.job.layout.model / "model.json").read_text())["metrics"]
    for name in ("train", "validation"):
        seen = re.findall(rf"{name.title()}-accuracy=([0-9.]+)", trained.log)
        assert float(seen[-1]) == pytest.approx(metrics[name]["accuracy"], abs=1e-6)
    last = trained.log.splitlines()[-1]
    assert re.search(STAMP + rf"Shipped epoch={metrics['epoch']} ", last)
    for name in ("accuracy", "auc", "sensitivity", "specificity", "ece"):
        (seen,) = re.findall(rf"shipped-{name}=([0-9.]+)", trained.log)
        assert float(seen) == pytest.approx(metrics["shipped"][name]["value"], abs=1e-6)


def test_the_model_describes_itself(trained: Trained) -> None:
    description, state = load_model(trained.job.layout.model)
    assert description.classes == ("non_covid", "covid")
    assert (description.num_layers, description.image_shape) == (18, (3, 32, 32))
    assert (description.normaliser, description.data_digest) == ("ct-1", "d1ge57")
    assert (description.training_job, description.start) == ("tomodrop-train-1", "random")
    assert TRAINED_WITH.items() <= description.hyperparameters.items()
    assert state["fc.weight"].shape == (2, 512)


def test_validation_counts_all_samples_not_whole_batches(trained: Trained) -> None:
    lines = (trained.job.layout.output_data / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1]
    assert {epoch["validation"]["samples"] for epoch in epochs} == {7}
    assert {epoch["train"]["samples"] for epoch in epochs} == {12}


def test_curves_and_description_go_to_the_output(trained: Trained) -> None:
    output = trained.job.layout.output_data
    with Image.open(io.BytesIO((output / "accuracy.png").read_bytes())) as picture:
        assert picture.width > 600
    shipped = (trained.job.layout.model / "model.json").read_bytes()
    assert (output / "model.json").read_bytes() == shipped


def test_a_bad_set_of_hyperparameters_ends_with_every_fault(job: Job) -> None:
    job.configure({"num_classes": "1", "epochs": "many", "momentun": "0.9"})
    exit_code, log = job.run("train")
    assert exit_code == 2
    failure = job.layout.failure.read_text()
    assert failure.startswith("ClientError: ")
    for said in ("num_classes='1'", "epochs='many'", "momentun='0.9'", "num_training_samples"):
        assert said in failure
        assert said in log
    assert "Customer Error: " in log
    assert "Traceback" not in log


def test_a_channel_that_never_comes_fails_in_time_and_says_so(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.configure(TRAINED_WITH)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job.layout.base))
    monkeypatch.setenv("TOMODROP_PIPE_TIMEOUT_SECONDS", "0.5")
    assert train.main() == 1
    assert re.match(r"AlgorithmError: no FIFO .*train_0", job.layout.failure.read_text())


def test_sigterm_keeps_the_best_epoch_so_far(job: Job) -> None:
    job.configure({**TRAINED_WITH, "epochs": "1000"})
    learnt, validation = as_stream(make_samples(12)), as_stream(make_samples(4))
    job.feed("train", *[learnt] * 3)  # the fourth pass is waited for until the signal comes
    job.feed("validation", *[validation] * 3)
    with job.start("train") as process:
        deadline = time.monotonic() + 200
        metrics = job.layout.output_data / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Told to stop" in log
    assert load_model(job.layout.model)[0].metrics["validation"]["samples"] == 4
    assert (job.layout.output_data / "accuracy.png").exists()


def test_sigterm_before_the_first_epoch_leaves_no_model_and_says_so(job: Job) -> None:
    job.configure(TRAINED_WITH)
    with job.start("train") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "num_layers" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert "before the first epoch was finished" in job.layout.failure.read_text()
    assert not list(job.layout.model.iterdir())
