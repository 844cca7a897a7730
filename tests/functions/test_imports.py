"""Imports point one way, and a step loads no more than it needs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functions.builders import REPOSITORY

FUNCTIONS = REPOSITORY / "functions"
STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")
OURS = {*STEPS, "tomodrop", "local", "training", "tests", "benchmarks"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def ours_in(path: Path) -> set[str]:
    return OURS.intersection(imported(path))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_module_imports_tomodrop_and_no_other_step(step: str) -> None:
    assert ours_in(FUNCTIONS / f"{step}.py") == {"tomodrop"}


def test_there_are_no_other_modules_beside_the_steps() -> None:
    assert {path.stem for path in FUNCTIONS.glob("*.py")} == set(STEPS)


@pytest.mark.parametrize(
    ("folders", "allowed"),
    [(("functions/tomodrop",), {"tomodrop"}), (("training",), {"training"})],
    ids=["tomodrop", "training"],
)
def test_a_package_imports_nothing_of_ours_but_itself(
    folders: tuple[str, ...], allowed: set[str]
) -> None:
    found = {
        str(path.relative_to(REPOSITORY)): ours_in(path) - allowed for path in sources(*folders)
    }
    assert len(found) > 5
    assert {path: names for path, names in found.items() if names} == {}


def test_only_one_module_makes_clients_and_only_settings_names_variables() -> None:
    """What a function reads of its surroundings stands in one place each.

    The sandbox looks at the environment for what it must not hand on.
    """
    using = {
        name: {
            path.stem
            for path in sources("functions")
            if name in path.read_text().split('"""', 2)[2]
        }
        for name in ("os.environ", ".client(", "getenv")
    }
    assert using == {
        "os.environ": {"clients", "warm_process"},
        ".client(": {"clients"},
        "getenv": set(),
    }


def test_no_module_knows_where_it_runs() -> None:
    """AWS or one machine: the code cannot tell which."""
    told = ("is_local", "localhost", "127.0.0.1", "AWS_ENDPOINT_URL", "AWS_SAM_LOCAL")
    code = {path: path.read_text() for path in sources("functions")}
    assert [path.name for path, text in code.items() if any(word in text for word in told)] == []


def loaded_by(*steps: str) -> set[str]:
    """Top-level modules in a fresh process that imported the steps, as Lambda does."""
    names = ", ".join(steps)
    code = f"import sys, {names}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=FUNCTIONS, capture_output=True, check=True, text=True
    )
    return set(run.stdout.split())


def test_steps_that_decode_nothing_load_no_imaging_library() -> None:
    loaded = loaded_by("dispatch", "retrain", "promote", "sweep")
    assert loaded.isdisjoint({"PIL", "numpy", "torch", "intake", "collect", "local", "training"})


def test_what_decodes_is_loaded_in_the_sandbox_and_not_by_intake() -> None:
    assert loaded_by("intake").isdisjoint({"PIL", "numpy", "pydicom", "nibabel"})
    assert "PIL" in loaded_by("tomodrop.imaging.normaliser")


def test_the_sandbox_s_processes_load_nothing_of_aws() -> None:
    loaded = loaded_by("tomodrop.sandbox.zygote", "tomodrop.imaging.normaliser")
    assert loaded.isdisjoint({"boto3", "botocore", "aws_lambda_powertools", "aws_xray_sdk"})
