"""template.yaml: the functions, their settings and the parameters that people set."""

import ast
import json
import re
import tomllib
from typing import Any

import pytest

from local.errors import ParameterErrors
from local.parameters import resolve_parameters
from tests.template.deployed import ACCOUNT, ROOT, Deployed, deploy, source
from tomodrop.settings import Settings
from training.launching.options import METRICS

STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")


@pytest.fixture(scope="module")
def stack() -> Deployed:
    return deploy()


# ---- functions


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_the_handler_of_its_module(stack: Deployed, step: str) -> None:
    function = stack.properties(f"{step.capitalize()}Function")
    module, name = function["Handler"].split(".")
    tree = ast.parse((ROOT / "functions" / f"{module}.py").read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert module == step
    assert name in defined
    assert function["Runtime"] == "python3.13"
    assert function["TracingConfig"] == {"Mode": "Active"}


def test_no_step_is_missing_and_none_is_left_over(stack: Deployed) -> None:
    assert set(stack.of_type("AWS::Lambda::Function")) == {
        f"{step.capitalize()}Function" for step in STEPS
    }
    modules = {path.stem for path in (ROOT / "functions").glob("*.py")}
    assert modules == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_bundle_has_a_target_in_the_functions_makefile(step: str) -> None:
    written = source()["Resources"][f"{step.capitalize()}Function"]
    makefile = (ROOT / "functions" / "Makefile").read_text()
    assert written["Metadata"] == {"BuildMethod": "makefile"}
    assert re.search(rf"^build-{step.capitalize()}Function:$", makefile, re.MULTILINE)


@pytest.mark.parametrize("step", STEPS)
def test_logs_go_to_a_group_that_forgets(stack: Deployed, step: str) -> None:
    group = stack.properties(f"{step.capitalize()}Function")["LoggingConfig"]["LogGroup"]
    assert stack.properties(f"{step.capitalize()}Logs") == {
        "LogGroupName": group,
        "RetentionInDays": "30",
    }


# ---- settings


@pytest.mark.parametrize("step", STEPS)
def test_each_function_gets_the_settings_it_reads_and_no_others(stack: Deployed, step: str) -> None:
    environment = stack.environment(f"{step.capitalize()}Function")
    ours = {name for name in environment if not name.startswith(("POWERTOOLS_", "AWS_"))}
    assert ours == {name.upper() for name in Settings.model_fields}


def test_on_aws_the_services_are_the_regions_own(stack: Deployed) -> None:
    endpoints = {
        name: value for name, value in stack.environment().items() if name.startswith("AWS_")
    }
    assert endpoints == {"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_SAGEMAKER": ""}


def test_the_defaults_are_settings(stack: Deployed) -> None:
    settings = Settings.from_environment(stack.environment())
    assert settings.uploads_bucket == f"tomodrop-uploads-{ACCOUNT}"
    assert settings.window_minutes == 5
    assert settings.class_names == ("non_covid", "covid")
    assert settings.image_shape == (3, 224, 224)
    assert dict(settings.hyperparameters) == {
        "num_layers": "152",
        "epochs": "50",
        "mini_batch_size": "32",
        "learning_rate": "0.001",
        "optimizer": "sgd",
        "momentum": "0.9",
        "weight_decay": "0.0001",
        "lr_scheduler_factor": "0.1",
        "use_pretrained_model": "1",
        "early_stopping": "False",
        "early_stopping_min_epochs": "10",
        "early_stopping_patience": "5",
        "early_stopping_tolerance": "0",
        "precision_dtype": "float32",
    }
    assert settings.extra_hyperparameters == ()


def test_hyperparameters_with_commas_arrive_whole() -> None:
    stack = deploy(LrSchedulerStep="20,40", ExtraHyperparameters='augmentation=ct,views="1,2"')
    settings = Settings.from_environment(stack.environment())
    assert dict(settings.hyperparameters)["lr_scheduler_step"] == "20,40"
    assert settings.extra_hyperparameters == (("augmentation", "ct"), ("views", "1,2"))


def test_the_environment_fits_into_lambdas_four_kilobytes(stack: Deployed) -> None:
    environment = stack.environment()
    # Names as long as they may be: a stack's has 128 characters, and 12 parameters may be as long.
    assert len(json.dumps(environment)) < 4096 - 6 * 128


# ---- parameters


def parameters() -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = source()["Parameters"]
    return declared


@pytest.mark.parametrize("name", parameters())
def test_a_parameter_is_described_bounded_and_in_a_group(name: str) -> None:
    declared = parameters()[name]
    listed = [
        entry
        for group in source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for entry in group["Parameters"]
    ]
    bounded = "AllowedValues" in declared or (
        {"MinValue", "MaxValue"} <= declared.keys()
        if declared["Type"] == "Number"
        else "AllowedPattern" in declared
    )
    assert len(declared["Description"]) > 20
    assert bounded
    assert listed.count(name) == 1
    assert "Default" in declared


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WindowMinutes", "0"),
        ("IntakeTimeoutSeconds", "7"),
        ("DecodeMemoryMb", "1000"),
        ("DecodeSeconds", "0"),
        ("LungWindowWidthHu", "0"),
        ("VolumeTopShare", "0"),
        ("MaxSlicesPerUpload", "0"),
        ("JobNamePrefix", "Tomodrop"),
        ("JobNamePrefix", "-tomodrop"),
        ("JobNamePrefix", "a-prefix-that-is-too-long"),
        ("DispatchSchedule", "every minute"),
        ("ScheduleTimezone", "Europe / Berlin"),
        ("ClassNames", "covid"),
        ("ClassNames", "covid,"),
        ("ClassNames", "a b,c"),
        ("ImageShape", "1,224,224"),
        ("ImageShape", "3,224"),
        ("AlgorithmImage", "no-registry"),
        ("TrainingInstanceType", "g4dn.xlarge"),
        ("MaxConcurrentTransforms", "17"),
        ("NumLayers", "151"),
        ("LrSchedulerStep", "10,20,"),
        ("AugmentationType", "flip"),
        ("ExtraHyperparameters", "augmentation"),
        ("ExtraHyperparameters", "views=1,2"),
        ("StartingModelKey", "s3://elsewhere/model.tar.gz"),
        ("StartingModelKey", "batches/1/model.tar.gz"),
        ("SplitKey", ""),
        ("BalanceClasses", "yes"),
        ("ShortcutWarning", "0.5"),
        ("ShortcutWarning", "1.1"),
        ("ShortcutAction", "ignore"),
        ("SplitKey", "two words"),
        ("SplitKey", "k" * 65),
        ("LogRetentionDays", "31"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ParameterErrors, match=name):
        resolve_parameters(parameters(), {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WindowMinutes", "0.1"),
        ("LungWindowLevelHu", "-500"),
        ("VolumeTopShare", "1"),
        ("RetrainSchedule", "cron(0 3 ? * MON-FRI *)"),
        ("ScheduleTimezone", "America/Argentina/Buenos_Aires"),
        ("ClassNames", "normal,bacterial,viral"),
        ("ImageShape", "3,96,96"),
        ("AlgorithmImage", f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/tomodrop:1.2"),
        ("AlgorithmImage", f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/a/b@sha256:{'0' * 64}"),
        ("TrainingInstanceType", "ml.p4d.24xlarge"),
        ("ExtraHyperparameters", "trainable_stages=1,augmentation=ct"),
        ("StartingModelKey", "training/weights/model.tar.gz"),
        ("SplitKey", "s3cret!#$"),
    ],
)
def test_a_value_within_bounds_is_taken(name: str, value: str) -> None:
    assert resolve_parameters(parameters(), {name: value})[name] == value


def test_sam_config_names_the_stack_that_everything_else_does() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert config["default"]["global"]["parameters"]["stack_name"] == "tomodrop"
    assert config["default"]["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"


# ---- the algorithm's image


@pytest.mark.parametrize(
    ("region", "image"),
    [
        ("us-east-1", "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"),
        ("eu-central-1", "813361260812.dkr.ecr.eu-central-1.amazonaws.com/image-classification:1"),
        ("cn-north-1", "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/image-classification:1"),
    ],
)
def test_the_built_in_algorithm_of_the_region_is_the_default(region: str, image: str) -> None:
    assert deploy(region).environment()["ALGORITHM_IMAGE"] == image


def test_an_image_of_ones_own_takes_its_place() -> None:
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/tomodrop:3"
    assert deploy(AlgorithmImage=image).environment()["ALGORITHM_IMAGE"] == image


def test_the_mapping_knows_every_region_that_offers_the_algorithm() -> None:
    accounts = {
        region: entry["Account"]
        for region, entry in source()["Mappings"]["BuiltInAlgorithm"].items()
    }
    offered = [account for account in accounts.values() if account != "none"]
    assert len(offered) == 37
    assert len(set(offered)) == 37
    assert all(re.fullmatch(r"\d{12}", account) for account in offered)


def test_a_region_without_the_algorithm_asks_for_an_image() -> None:
    accounts = source()["Mappings"]["BuiltInAlgorithm"]
    rule = source()["Rules"]["TheRegionOffersTheAlgorithm"]
    [assertion] = rule["Assertions"]
    [refused, _] = assertion["Assert"]["Fn::Not"][0]["Fn::Contains"]
    assert refused == [region for region, entry in accounts.items() if entry["Account"] == "none"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "AlgorithmImage"}, ""]}
    assert "AlgorithmImage" in assertion["AssertDescription"]


def test_maps_are_refused_where_answers_are_plain() -> None:
    rule = source()["Rules"]["MapsComeInVerboseAnswers"]
    [assertion] = rule["Assertions"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "KeepClassMaps"}, "true"]}
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AnswerDetail"}, "verbose"]}
    assert "AnswerDetail verbose" in assertion["AssertDescription"]


def test_such_a_region_takes_an_image_of_ones_own() -> None:
    image = f"{ACCOUNT}.dkr.ecr.mx-central-1.amazonaws.com/tomodrop:3"
    assert deploy("mx-central-1", AlgorithmImage=image).environment()["ALGORITHM_IMAGE"] == image


# ---- what is read from a training's log


def test_a_training_by_hand_reads_the_same_metrics_from_the_log(stack: Deployed) -> None:
    settings = Settings.from_environment(stack.environment())
    assert settings.metric_definitions == METRICS


def test_metric_definitions_find_each_line_of_the_log_and_no_other(stack: Deployed) -> None:
    settings = Settings.from_environment(stack.environment())
    last = "Shipped epoch=3 shipped-auc=0.9 shipped-accuracy=0.8 shipped-sensitivity=0.7 "
    last += "shipped-specificity=0.6 shipped-ece=0.05"
    log = ["Epoch[3] Train-accuracy=0.1", "Epoch[3] Validation-accuracy=0.2", last]
    found = {name: re.findall(regex, "\n".join(log)) for name, regex in settings.metric_definitions}
    assert found == {
        "train:accuracy": ["0.1"],
        "validation:accuracy": ["0.2"],
        "shipped:auc": ["0.9"],
        "shipped:accuracy": ["0.8"],
        "shipped:sensitivity": ["0.7"],
        "shipped:specificity": ["0.6"],
        "shipped:ece": ["0.05"],
    }
