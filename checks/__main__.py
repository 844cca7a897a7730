# ruff: noqa: T201  (what is printed is the result)
"""python -m checks TOOLS: the template and the code as cfn-lint, checkov, cfn-guard and bandit see.

TOOLS is the environment that holds the last three. Every finding has to be explained by a skip, and
every skip has to be needed; else the exit status is 1, and 2 when a tool came to no report.
"""

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from checks import tools
from checks.findings import Finding, of_bandit, of_cfn_lint, of_checkov, of_guard
from checks.skips import idle, read_skips, unexplained
from checks.variants import write_unexcused, write_variants
from local.errors import TemplateError

ROOT = Path(__file__).resolve().parents[1]
SKIPS = Path(__file__).with_name("skips.yaml")
CODE = ("functions", "training", "local", "checks")


def main(environment: Path) -> int:
    """Ask all tools, and tell what is unexplained or idle."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = list(findings(environment, Path(folder)))
    except (tools.ToolError, TemplateError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    skips = read_skips(SKIPS)
    faults = [
        f"{finding.tool}: {finding.rule} on {finding.subject} ({finding.form}) has no reason in "
        f"{SKIPS.relative_to(ROOT)}: mend it, or say why not"
        for finding in unexplained(found, skips)
    ]
    faults += [
        f"{skip.tool}: {skip.rule} is found on {subject} ({form}) no more: take it out of "
        f"{SKIPS.relative_to(ROOT)}"
        for skip, (form, subject) in idle(found, skips)
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    tools_asked = sorted({finding.tool for finding in found})
    print(f"{len(found)} findings of {', '.join(tools_asked)}; {len(skips)} reasons")
    return int(bool(faults))


def findings(environment: Path, folder: Path) -> Iterator[Finding]:
    """What every tool found in every form of the template, and in the code."""
    forms = write_variants(ROOT / "template.yaml", folder)
    every = list(forms.values())
    with ThreadPoolExecutor() as pool:
        checkov = pool.submit(tools.checkov, environment, every)
        guard = pool.submit(tools.cfn_guard, environment, every)
        # In the other two no parameter is used any more, of which cfn-lint would complain.
        unexcused = write_unexcused(ROOT / "template.yaml", folder / "unexcused")
        lint = pool.submit(tools.cfn_lint, unexcused)
        bandit = pool.submit(tools.bandit, environment, CODE)
        yield from of_checkov(checkov.result())
        yield from of_guard(guard.result())
        yield from of_cfn_lint(lint.result())
        yield from of_bandit(bandit.result())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
