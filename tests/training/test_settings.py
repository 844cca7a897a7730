import pytest

from training.algorithm.failure import (
    CustomerError,
    HyperparameterError,
    PipeLateError,
    describe_failure,
)
from training.algorithm.settings import read_serve_settings, read_train_settings


def test_nothing_set_means_sagemakers_own_layout() -> None:
    settings = read_train_settings({})
    assert str(settings.layout.hyperparameters) == "/opt/ml/input/config/hyperparameters.json"
    assert str(settings.layout.fifo("train", 3)) == "/opt/ml/input/data/train_3"
    assert (settings.classes, settings.normaliser, settings.data_digest) == ((), None, None)
    serving = read_serve_settings({})
    assert (serving.port, serving.max_payload_bytes) == (8080, 6 * 1024 * 1024)


def test_no_payload_limit_still_has_a_ceiling() -> None:
    settings = read_serve_settings({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"})
    assert settings.max_payload_bytes == 100 * 1024 * 1024


def test_class_names_come_as_a_json_list() -> None:
    settings = read_train_settings({"TOMODROP_CLASSES": '["non_covid", "covid"]'})
    assert settings.classes == ("non_covid", "covid")


@pytest.mark.parametrize("text", ["covid,other", '"covid"', "[1, 2]", '["a", "a"]', '["", "b"]'])
def test_class_names_in_another_form_are_refused(text: str) -> None:
    with pytest.raises(CustomerError, match="TOMODROP_CLASSES"):
        read_train_settings({"TOMODROP_CLASSES": text})


def test_all_faults_are_named_at_once() -> None:
    environment = {"SAGEMAKER_BIND_TO_PORT": "http", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "-6"}
    with pytest.raises(CustomerError) as caught:
        read_serve_settings(environment)
    assert all(name in str(caught.value) for name in environment)


@pytest.mark.parametrize(
    ("error", "reason", "exit_code"),
    [
        (HyperparameterError(["a=1: no"]), "ClientError: 1 fault in hyperparameters: a=1: no", 2),
        (PipeLateError("no data"), "AlgorithmError: no data", 1),
        (KeyError("fc"), "AlgorithmError: 'fc' (caused by KeyError)", 1),
        (RuntimeError(), "AlgorithmError: no message (caused by RuntimeError)", 1),
    ],
)
def test_each_failure_has_its_reason_and_exit_code(
    error: Exception, reason: str, exit_code: int
) -> None:
    assert describe_failure(error)[::2] == (reason, exit_code)
