"""Writes ``training/HYPERPARAMETERS.md`` from the rules: ``python -m training.algorithm.document``.

A test fails when the file is not what the rules say.
"""

from pathlib import Path
from typing import Any

from training.algorithm.rules import Rule
from training.algorithm.table import RULES

TARGET = Path(__file__).resolve().parents[1] / "HYPERPARAMETERS.md"
_HEAD = """# Hyperparameters

Made by `python -m training.algorithm.document`; do not edit. All values are strings. A bad set is
refused with every fault at once: exit code 2, reason in `/opt/ml/output/failure`.

| name | default | range | meaning | whose |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_row(name, rule) for name, rule in RULES.items())


def _row(name: str, rule: Rule) -> str:
    whose = "ours" if rule.ours else "built-in"
    default = "required" if rule.required else _as_text(rule.default)
    cells = (f"`{name}`", default, rule.parse.allowed, rule.meaning, whose)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _as_text(default: Any) -> str:
    if default is None or default == ():
        return "unset"
    if isinstance(default, bool):
        default = int(default)
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
