"""No usage data leaves: what dependencies would keep for it is not made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("module", ["training.algorithm.model", "training.launching.jobs"])
def test_mlflow_makes_itself_no_installation_id(module: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    program = f"import {module}, mlflow"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=240)
    assert not [path for path in tmp_path.rglob("*") if "telemetry" in path.name.lower()]
