"""What `sam build` makes of each function: it imports on Lambda, and holds no more than that."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.template.deployed import ROOT, deploy

pytestmark = pytest.mark.slow

FUNCTIONS = ROOT / "functions"
STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")
# Lambda refuses 250 MB. Intake may bring decoders; the others start cold more often than warm.
LARGEST_MB = {"intake": 200}
LARGEST_OTHER_MB = 40
# What Lambda's runtime has beside the bundle: boto3 and what boto3 needs.
RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_PACKAGES:
        spec = find_spec(name)
        assert spec
        assert spec.origin
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (folder / found.name).symlink_to(found)
    return folder


# What a step starts in a process of its own, and so does not import.
STARTED = {"intake": ("tomodrop.sandbox.zygote", "tomodrop.imaging.normaliser")}


def build(step: str, bundle: Path, python_version: str) -> None:
    bundle.mkdir()
    subprocess.run(
        [
            "make",
            f"build-{step.capitalize()}Function",
            f"ARTIFACTS_DIR={bundle}",
            f"PYTHON={sys.executable}",
            f"PYTHON_VERSION={python_version}",
        ],
        cwd=FUNCTIONS,
        check=True,
        capture_output=True,
        text=True,
    )


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def modules_of(step: str) -> list[str]:
    """The step's module and every module of ours that it imports, at whatever place."""
    waiting, seen = [*STARTED.get(step, ()), step], []
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.append(name)
        path = FUNCTIONS / name.replace(".", "/")
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if source.is_file():
            waiting += imports_of_ours(ast.parse(source.read_text(encoding="utf-8")))
    return [name for name in seen if (FUNCTIONS / f"{name.replace('.', '/')}.py").is_file()]


def imports_of_ours(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tomodrop"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("step", STEPS)
def test_a_bundle_runs_with_nothing_but_lambdas_runtime(
    step: str, runtime: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    bundle = tmp_path / "bundle"
    build(step, bundle, f"{sys.version_info.major}.{sys.version_info.minor}")
    # In site's absence only these two folders and the standard library are looked into.
    program = (
        "import importlib, sys\n"
        f"sys.path[:0] = [{str(bundle)!r}, {str(runtime)!r}]\n"
        f"modules = [importlib.import_module(name) for name in {modules_of(step)!r}]\n"
        "assert callable(modules[0].handler)\n"
        "from tomodrop.clients import app\n"
        "assert app().settings.work_bucket\n"
    )
    environment = deploy().environment(f"{step.capitalize()}Function") | {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(bundle),
        "PATH": os.environ["PATH"],
    }
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    size = size_mb(bundle)
    record_property("unzipped_mb", round(size, 1))
    assert size < LARGEST_MB.get(step, LARGEST_OTHER_MB)


@pytest.mark.parametrize("step", ["intake"])
def test_a_bundle_for_lambda_holds_lambdas_binaries(step: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    build(step, bundle, "3.13")
    binaries = [path for path in bundle.rglob("*.so*") if path.is_file()]
    assert len(binaries) > 2
    # ELF of 64 bit for x86-64. Libraries beside the extensions carry no Python in their names.
    assert {path.read_bytes()[:5] for path in binaries} == {b"\x7fELF\x02"}
    assert {path.read_bytes()[18:20] for path in binaries} == {b"\x3e\x00"}
    wheels = [path.read_text(encoding="utf-8") for path in bundle.glob("*.dist-info/WHEEL")]
    tags = re.findall(r"^Tag: (\w+)-(\w+)-", "\n".join(wheels), re.MULTILINE)
    foreign = [tag for tag in tags if not (tag[0] == "cp313" or "none" in tag or "abi3" in tag)]
    assert foreign == []


def test_a_bundle_holds_one_step_the_package_and_no_litter(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    build("dispatch", bundle, "3.13")
    tops = {path.name for path in bundle.iterdir()}
    modules = {name for name in tops if name.endswith(".py")}
    assert modules == {"dispatch.py", "typing_extensions.py"}
    assert (bundle / "tomodrop" / "settings.py").is_file()
    assert tops & {"boto3", "botocore", "bin", "PIL"} == set()
    assert [path for path in bundle.rglob("*") if path.name in {"tests", "__pycache__"}] == []


def test_a_target_without_a_folder_says_what_is_missing() -> None:
    ran = subprocess.run(
        ["make", "build-IntakeFunction"], cwd=FUNCTIONS, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "ARTIFACTS_DIR" in ran.stderr
