"""The tools, run on files: each one's report as text."""

import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

# Where a release of the package has the program, by system and processor.
_SYSTEMS = {"Linux": "ubuntu", "Darwin": "macos"}
_PROCESSORS = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
# Any other status is an error of the tool's own: a usage that it does not understand, a crash.
_CHECKOV, _GUARD, _BANDIT = {0, 1}, {0, 19}, {0, 1}
# A bit for each kind of finding: errors, warnings, informational.
_CFN_LINT = set(range(0, 16, 2))


class ToolError(Exception):
    """A tool did not come to a report."""


def checkov(tools: Path, files: Sequence[Path]) -> str:
    """Its report on templates. It asks nobody: no guidelines are fetched."""
    options = ("--compact", "--quiet", "--output", "json", "--skip-download")
    command = (tools / "bin/checkov", "--framework", "cloudformation", *options, "--file")
    return _run((*command, *files), _CHECKOV)


def cfn_guard(tools: Path, files: Sequence[Path]) -> str:
    """Its report on templates, by AWS Control Tower's rules."""
    program, rules = unpack_guard(tools)
    options = ("--structured", "-o", "json", "--show-summary", "none")
    return _run((program, "validate", *options, "--rules", rules, "--data", *files), _GUARD)


def cfn_lint(files: Sequence[Path]) -> str:
    """Its report on templates, informational findings included."""
    program = Path(sys.executable).with_name("cfn-lint")
    return _run((program, "--format", "json", "--include-checks", "I", "--", *files), _CFN_LINT)


def bandit(tools: Path, folders: Sequence[str]) -> str:
    """Its report on code."""
    return _run((tools / "bin/bandit", "-q", "-f", "json", "-r", *folders), _BANDIT)


def unpack_guard(tools: Path) -> tuple[Path, Path]:
    """The program and the folder of rules, taken out of the package's archive once.

    Raises ToolError where there is no program for the system.
    """
    system, processor = platform.system(), platform.machine()
    if system not in _SYSTEMS or processor not in _PROCESSORS:
        raise ToolError(f"There is no cfn-guard for {system} on {processor} in its package.")
    folder = tools / "guard"
    program = folder / f"package/bin/{_SYSTEMS[system]}/{_PROCESSORS[processor]}/cfn-guard"
    if not program.is_file():
        [archive] = tools.glob(
            "lib/python*/site-packages/cdklabs/cdk_validator_cfnguard/_jsii/*.tgz"
        )
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        program.chmod(0o755)
    return program, folder / "package/rules/control-tower/cfn-guard"


def _run(command: Sequence[str | Path], fine: set[int]) -> str:
    # Colours and paging are for people.
    environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode not in fine:
        said = (done.stderr or done.stdout)[-2000:]
        raise ToolError(f"{command[0]} ended with status {done.returncode}: {said}")
    return done.stdout
