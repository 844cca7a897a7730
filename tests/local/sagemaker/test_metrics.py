"""A log becomes metrics and progress."""

import pytest

from local.sagemaker.metrics import EpochProgress, final_metrics

ACCURACY = {"Name": "validation:accuracy", "Regex": r"Validation-accuracy=([0-9.]+)"}
STAMP = "[11/24/2026 16:00:00 INFO 7] "


def test_the_last_value_counts() -> None:
    log = [
        "Epoch[0] Validation-accuracy=0.5 Validation-accuracy=0.6\n",
        "Validation-accuracy=0.4\n",
    ]

    assert final_metrics(log, [ACCURACY], 5.0) == [
        {"MetricName": "validation:accuracy", "Value": 0.4, "Timestamp": 5.0}
    ]


@pytest.mark.parametrize("line", ["nothing here", "Validation-accuracy=.", "Validation-accuracy="])
def test_what_is_no_number_is_no_metric(line: str) -> None:
    assert final_metrics([line], [ACCURACY], 5.0) == []


def test_metrics_come_in_the_order_of_their_definitions() -> None:
    loss = {"Name": "loss", "Regex": "loss=(.*?);"}

    found = final_metrics(["Validation-accuracy=1", "loss=1e-3;"], [loss, ACCURACY], 0.0)

    assert [(metric["MetricName"], metric["Value"]) for metric in found] == [
        ("loss", 0.001),
        ("validation:accuracy", 1.0),
    ]


@pytest.mark.parametrize(
    ("lines", "text", "finished"),
    [
        ([], "training", 0),
        (["Epoch[0] Batch [20] of [78]"], "epoch 1 of 5, batch 20 of 78", 0),
        (["Epoch[0] Train-accuracy=0.5"], "epoch 1 of 5", 0),
        (["Epoch[0] Batch [78] of [78]", "Epoch[0] Validation-accuracy=0.5"], "epoch 2 of 5", 1),
        (["Epoch[1] Validation-accuracy=0.5", "Epoch[2] Batch [1] of [9]"], "epoch 3 of 5", 2),
        (
            ["Epoch[4] Validation-accuracy=0.5", "Typicality, train Batch [3] of [40]"],
            "epoch 5 of 5, typicality, train, batch 3 of 40",
            5,
        ),
        (
            ["Epoch[4] Batch [9] of [9]", "Epoch[4] Validation Batch [2]\tSpeed: 3.72"],
            "epoch 5 of 5, validation, batch 2",
            0,
        ),
        (
            ["Epoch[4] Validation-accuracy=0.5", "Export, fitting int8"],
            "epoch 5 of 5, export, fitting int8",
            5,
        ),
        (
            ["Export, fitting int8 Batch [2] of [9]", "Epoch[4] Validation-accuracy=0.5"],
            "epoch 5 of 5",
            5,
        ),
        (
            ["Typicality, train Batch [3] of [40]", "Epoch[1] Batch [2] of [9]"],
            "epoch 2 of 5, b",
            0,
        ),
        (["Epoch[4] Validation-accuracy=0.5", "Epoch[1] Validation-accuracy=0.9"], "epoch 5", 5),
    ],
)
def test_progress_follows_the_log(lines: list[str], text: str, finished: int) -> None:
    progress = EpochProgress()
    for line in lines:
        progress = progress.after(STAMP + line)

    assert progress.text(5).startswith(text)
    assert progress.finished == finished


def test_without_a_known_number_of_epochs_there_is_no_total() -> None:
    assert EpochProgress().after("Epoch[2] Time cost=3").text(None) == "epoch 3"
