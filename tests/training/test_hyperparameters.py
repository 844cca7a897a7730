import json
from dataclasses import fields
from pathlib import Path

import pytest

from training.algorithm import document
from training.algorithm.failure import HyperparameterError
from training.algorithm.hyperparameters import (
    Hyperparameters,
    as_text,
    class_names,
    load_hyperparameters,
    read_hyperparameters,
)
from training.algorithm.table import RULES

REQUIRED = {"num_classes": "2", "num_training_samples": "100"}
# The documented set of the built-in; ours adds to it and leaves none out.
BUILT_IN = {
    *("augmentation_type", "beta_1", "beta_2", "checkpoint_frequency", "early_stopping"),
    *("early_stopping_min_epochs", "early_stopping_patience", "early_stopping_tolerance"),
    *("epochs", "eps", "gamma", "image_shape", "kv_store", "learning_rate"),
    *("lr_scheduler_factor", "lr_scheduler_step", "mini_batch_size", "momentum", "multi_label"),
    *("num_classes", "num_layers", "num_training_samples", "optimizer", "precision_dtype"),
    *("resize", "top_k", "use_pretrained_model", "use_weighted_loss", "weight_decay"),
}


def faults_of(**given: str) -> tuple[str, ...]:
    with pytest.raises(HyperparameterError) as caught:
        read_hyperparameters({**REQUIRED, **given})
    return caught.value.faults


def test_every_name_of_the_built_in_is_known() -> None:
    assert {name for name, rule in RULES.items() if not rule.ours} == BUILT_IN


def test_each_rule_is_a_field_and_the_other_way_round() -> None:
    assert {field.name for field in fields(Hyperparameters)} == set(RULES)


def test_defaults_are_those_of_the_built_in() -> None:
    chosen = read_hyperparameters(REQUIRED)
    assert (chosen.num_layers, chosen.image_shape, chosen.epochs) == (152, (3, 224, 224), 30)
    assert (chosen.optimizer, chosen.learning_rate, chosen.mini_batch_size) == ("sgd", 0.1, 32)
    assert (chosen.momentum, chosen.weight_decay, chosen.lr_scheduler_factor) == (0.9, 1e-4, 0.1)
    assert (chosen.beta_1, chosen.beta_2, chosen.eps, chosen.gamma) == (0.9, 0.999, 1e-8, 0.9)
    assert (chosen.early_stopping, chosen.early_stopping_min_epochs) == (False, 10)
    assert (chosen.early_stopping_patience, chosen.early_stopping_tolerance) == (5, 0.0)
    assert chosen.lr_scheduler_step == ()
    unset = (chosen.augmentation_type, chosen.checkpoint_frequency, chosen.kv_store)
    assert (*unset, chosen.resize, chosen.top_k) == (None,) * 5
    assert (chosen.multi_label, chosen.use_weighted_loss) == (False, False)
    assert chosen.precision_dtype == "float32"
    assert not chosen.use_pretrained_model


def test_extras_change_nothing_unless_set() -> None:
    chosen = read_hyperparameters(REQUIRED)
    assert (chosen.augmentation, chosen.label_smoothing) == ("none", 0.0)
    assert (chosen.trainable_stages, chosen.probe, chosen.frozen_batch_norm) == (5, False, False)
    assert chosen.head_stages == 1
    assert (chosen.mixup, chosen.class_weighting, chosen.stage_rate_factor) == (0, "none", 1)
    assert (chosen.lr_schedule, chosen.warmup_epochs) == ("step", 0)
    assert (chosen.ema, chosen.start_share, chosen.bf16) == (0, 0, False)


def test_a_pretrained_start_begins_with_a_probe_and_keeps_batch_norm() -> None:
    chosen = read_hyperparameters({**REQUIRED, "use_pretrained_model": "1"})
    assert (chosen.probe, chosen.frozen_batch_norm) == (True, True)
    chosen = read_hyperparameters({**REQUIRED, "use_pretrained_model": "1", "probe": "0"})
    assert (chosen.probe, chosen.frozen_batch_norm) == (False, False)


@pytest.mark.parametrize(("text", "value"), [("True", True), ("true", True), ("0", False)])
def test_switches_take_the_forms_people_send(text: str, *, value: bool) -> None:
    assert read_hyperparameters({**REQUIRED, "early_stopping": text}).early_stopping is value


def test_an_empty_value_is_as_good_as_none() -> None:
    assert read_hyperparameters({**REQUIRED, "lr_scheduler_step": ""}).lr_scheduler_step == ()


def test_names_of_sagemakers_own_are_left_alone() -> None:
    given = {**REQUIRED, "_tuning_objective_metric": "validation:accuracy"}
    assert read_hyperparameters(given) == read_hyperparameters(REQUIRED)


def test_values_survive_the_way_through_text() -> None:
    chosen = read_hyperparameters(
        {**REQUIRED, "lr_scheduler_step": "10,20", "image_shape": "1,64,96", "probe_c": "0.01"}
    )
    assert read_hyperparameters(as_text(chosen)) == chosen


def test_all_faults_are_named_at_once() -> None:
    faults = faults_of(
        num_classes="", epochs="0", optimizer="lion", learning_rate="fast", epoch="3"
    )
    assert len(faults) == 5
    text = " ".join(faults)
    for said in ("num_classes", "epochs='0'", "'lion'", "'fast'", "epoch='3'", "no such name"):
        assert said in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("num_classes", "1"),
        ("num_classes", "two"),
        ("num_training_samples", "0"),
        ("num_layers", "51"),
        ("image_shape", "224,224"),
        ("image_shape", "4,224,224"),
        ("image_shape", "3,8,8"),
        ("image_shape", "3,99999,99999"),
        ("image_shape", "3,a,b"),
        ("epochs", "1.5"),
        ("mini_batch_size", "-1"),
        ("learning_rate", "nan"),
        ("learning_rate", "1.1"),
        ("momentum", "inf"),
        ("beta_1", "1"),
        ("lr_scheduler_step", "20,10"),
        ("lr_scheduler_step", "0"),
        ("lr_scheduler_step", "soon"),
        ("early_stopping", "yes"),
        ("early_stopping_tolerance", "-0.1"),
        ("augmentation_type", "flip"),
        ("checkpoint_frequency", "0"),
        ("multi_label", "2"),
        ("precision_dtype", "int8"),
        ("resize", "223"),
        ("kv_store", "local"),
        ("top_k", "1"),
        ("top_k", "3"),
        ("augmentation", "mixup"),
        ("label_smoothing", "0.9"),
        ("trainable_stages", "6"),
        ("head_stages", "0"),
        ("head_stages", "4"),
        ("probe_c", "0"),
        ("probe_views", "0"),
        ("seed", "-1"),
        ("mixup", "-0.1"),
        ("mixup", "11"),
        ("class_weighting", "inverse"),
        ("stage_rate_factor", "0"),
        ("stage_rate_factor", "1.5"),
        ("lr_schedule", "linear"),
        ("warmup_epochs", "30"),
        ("warmup_epochs", "-1"),
        ("ema", "1"),
        ("start_share", "1.01"),
        ("bf16", "bfloat16"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, text: str) -> None:
    (fault,) = faults_of(**{name: text})
    assert fault.startswith(f"{name}=")


def test_numbers_instead_of_strings_are_refused() -> None:
    with pytest.raises(HyperparameterError, match="must be a string"):
        read_hyperparameters({**REQUIRED, "epochs": 3})


def test_other_depths_with_pretrained_weights_say_what_to_do() -> None:
    (fault,) = faults_of(num_layers="50", use_pretrained_model="1")
    assert "set num_layers=152 or use_pretrained_model=0" in fault


@pytest.mark.parametrize("resize", ["224", "256"])
def test_resize_may_be_the_shape_itself_or_more(resize: str) -> None:
    assert read_hyperparameters({**REQUIRED, "resize": resize}).resize == int(resize)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110])
def test_every_depth_of_the_built_in_is_taken(depth: int) -> None:
    assert read_hyperparameters({**REQUIRED, "num_layers": str(depth)}).num_layers == depth


@pytest.mark.parametrize(
    "given",
    [
        {"augmentation_type": "crop", "augmentation": "ct"},
        {"lr_schedule": "cosine", "lr_scheduler_step": "10"},
        {"bf16": "1", "precision_dtype": "float16"},
        {"multi_label": "1", "class_weighting": "balanced"},
        {"warmup_epochs": "2", "epochs": "2"},
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, str]) -> None:
    (fault,) = faults_of(**given)
    for name, text in given.items():
        assert f"{name}={text}" in fault or name in fault


def test_the_documented_table_is_what_the_code_says() -> None:
    """If this fails: python -m training.algorithm.document."""
    assert document.TARGET.read_text(encoding="utf-8") == document.render()


def test_the_table_has_each_name_with_its_range() -> None:
    for name, rule in RULES.items():
        assert f"| `{name}` |" in document.render()
        assert rule.parse.allowed in document.render()


def test_classes_are_numbered_unless_the_job_names_them() -> None:
    chosen = read_hyperparameters(REQUIRED)
    assert class_names(chosen, ()) == ("0", "1")
    assert class_names(chosen, ("healthy", "ill")) == ("healthy", "ill")
    with pytest.raises(HyperparameterError, match="names 3 classes"):
        class_names(chosen, ("a", "b", "c"))


@pytest.mark.parametrize("content", [None, "not json", json.dumps(["a", "list"])])
def test_a_file_that_is_absent_or_no_object_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "hyperparameters.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(HyperparameterError, match=r"hyperparameters\.json"):
        load_hyperparameters(path)
