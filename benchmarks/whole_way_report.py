"""What `benchmarks.whole_way` found, in tables and in a picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from benchmarks.processor_time import PARTS, Mark, per_slice
from training.algorithm.cpu import count_cores

mpl.use("agg")
from matplotlib import pyplot as plt

PHASES = ("take in", "wait for the window", "start the job", "transform", "collect")
TRANSFORM = PHASES.index("transform")
FETCH, DECODE, INFER, ENCODE, STORE = (
    "fetch (S3)",
    "decode",
    "infer",
    "encode",
    "store (S3)",
)
REST, WAIT = "HTTP, threads, the rest", "wait (no core at work)"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#999999", "#eeeeee")


@dataclass(frozen=True)
class Findings:
    """Of one network.

    `marks` begin and end PHASES; `alone` is slices/s of `serve` before and after; `measured` has
    CPU milliseconds a slice of each call, measured alone.
    """

    title: str
    slices: int
    marks: list[Mark]
    alone: list[float]
    measured: dict[str, float]

    @property
    def phases(self) -> dict[str, tuple[float, list[float]]]:
        """Phase → wall seconds, and CPU milliseconds a slice of each of PARTS."""
        return {
            name: (end.wall - begin.wall, per_slice(begin, end, self.slices))
            for name, begin, end in zip(PHASES, self.marks[:-1], self.marks[1:], strict=True)
        }

    @property
    def transform(self) -> dict[str, float]:
        """Where the cores' time goes while slices are transformed, in milliseconds a slice."""
        wall_s, parts = self.phases[PHASES[TRANSFORM]]
        steps = {name: self.measured[name] for name in (FETCH, DECODE, INFER, ENCODE, STORE)}
        used = sum(parts)
        there = wall_s * count_cores() * 1000 / self.slices
        return steps | {REST: used - sum(steps.values()), WAIT: there - used}


def tables(found: Findings, picture: Path) -> Iterator[str]:
    """Yield the lines."""
    yield f"\n## {found.title}, {found.slices} slices\n"
    yield from _of_phases(found.phases)
    rate = found.slices / found.phases[PHASES[TRANSFORM]][0]
    # What else a machine does only ever takes away from a rate.
    share = rate / max(found.alone)
    before, after = found.alone
    yield ""
    yield (
        f"Transform: {rate:.1f} slices/s, {share:.0%} of the better of `serve` alone "
        f"({before:.1f} and {after:.1f} slices/s before and after)."
    )
    yield f"To put a slice costs {found.measured['put a slice']:.2f} ms of CPU.\n"
    yield "| of the transform, a slice | ms of the cores | share |"
    yield "|---|---|---|"
    there = sum(found.transform.values())
    for name, spent in found.transform.items():
        yield f"| {name} | {spent:.2f} | {spent / there:.0%} |"
    yield f"\n![Where time goes]({picture.name})"


def _of_phases(phases: dict[str, tuple[float, list[float]]]) -> Iterator[str]:
    yield f"| phase | wall, s | {' | '.join(f'{part}, CPU ms a slice' for part in PARTS)} |"
    yield "|---|---|---|---|---|"
    sums = [sum(cpu[place] for _, cpu in phases.values()) for place in range(len(PARTS))]
    whole = sum(wall for wall, _ in phases.values())
    for name, (wall, cpu) in (*phases.items(), ("**all**", (whole, sums))):
        yield f"| {name} | {wall:.1f} | {' | '.join(f'{each:.1f}' for each in cpu)} |"


def draw(found: Findings, path: Path) -> None:
    """Two charts: CPU by phase and kind of process; the cores' time in the transform by step."""
    figure, (above, below) = plt.subplots(
        2, figsize=(8, 4.2), layout="constrained", height_ratios=(5, 2)
    )
    names = list(found.phases)
    left = [0.0] * len(names)
    for place, part in enumerate(PARTS):
        widths = [cpu[place] for _, cpu in found.phases.values()]
        above.barh(names, widths, left=left, label=part, color=COLOURS[place])
        left = [a + b for a, b in zip(left, widths, strict=True)]
    above.invert_yaxis()
    above.set_title(f"{found.title}: where time goes, CPU ms per slice")
    above.legend(frameon=False)
    begin = 0.0
    for colour, (name, spent) in zip(COLOURS, found.transform.items(), strict=True):
        below.barh(["transform"], [spent], left=[begin], label=name, color=colour)
        begin += max(spent, 0.0)
    below.set_xlabel("ms of the cores per slice")
    below.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.6), fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)
