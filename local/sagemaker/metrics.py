"""What a program's log says: metrics for DescribeTrainingJob, progress for whoever waits. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from local.sagemaker.records import Json

EPOCH = re.compile(r"Epoch\[(\d+)\]")
BATCH = re.compile(r"Batch \[(\d+)\] of \[(\d+)\]")
EPOCH_ENDED = re.compile(r"Epoch\[(\d+)\] Validation-accuracy=")
# What takes time beside learning: "Epoch[0] Validation Batch [3] of [9]", "Export, fitting int8".
STEP = re.compile(
    r"(?:^|\] )(?:Epoch\[\d+\] )?(Validation|Typicality, \w+|Export, [a-z0-9 ]+?)"
    r"(?: Batch \[(\d+)\](?: of \[(\d+)\])?)?\s*(?:\t|$)"
)


def final_metrics(log: Iterable[str], definitions: Sequence[Json], now: float) -> list[Json]:
    """FinalMetricDataList: per definition the LAST value its expression finds in the log's lines.

    Definitions that find nothing, or no number, are left out, as SageMaker does.
    """
    compiled = [(entry["Name"], re.compile(entry["Regex"])) for entry in definitions]
    last: dict[str, float] = {}
    for line in log:
        for name, expression in compiled:
            for match in expression.finditer(line):
                value = _number(match.group(1))
                if value is not None:
                    last[name] = value
    return [
        {"MetricName": name, "Value": last[name], "Timestamp": now}
        for name, _ in compiled
        if name in last
    ]


@dataclass(frozen=True)
class EpochProgress:
    """How far a training has come, as its log tells it; epochs count from 0 in the log.

    `step`: what it does beside learning, if it does. After the last epoch it may go over the images
    again, in batches that name no epoch.
    """

    epoch: int | None = None
    finished: int = 0
    batch: int | None = None
    batches: int | None = None
    step: str = ""

    def after(self, line: str) -> "EpochProgress":
        """The progress once this line of the log was read.

        The epoch never goes back: at its end a log may name an earlier epoch, the best one.
        """
        found, batch, step = EPOCH.search(line), BATCH.search(line), STEP.search(line)
        if step:
            number, total = (int(digits) if digits else None for digits in step.group(2, 3))
            return replace(self, step=step.group(1).lower(), batch=number, batches=total)
        if not found or int(found.group(1)) < (self.epoch or 0):
            return self
        epoch = int(found.group(1))
        if EPOCH_ENDED.search(line):
            return EpochProgress(epoch, max(self.finished, epoch + 1))
        if batch:
            return EpochProgress(epoch, self.finished, int(batch.group(1)), int(batch.group(2)))
        return self if epoch == self.epoch else replace(self, epoch=epoch, batch=None)

    def text(self, epochs: int | None) -> str:
        """Words for it, as far as it is known: "epoch 2 of 5, batch 20 of 78"."""
        if self.epoch is None:
            return ", ".join(filter(None, ["training", self.step, self._batch_text()]))
        # Between two epochs the next one is under way, though the log does not say so yet.
        number = min(max(self.epoch, self.finished) + 1, epochs or self.epoch + 1)
        text = f"epoch {number}" + (f" of {epochs}" if epochs else "")
        learns = self.finished <= self.epoch
        batch = self._batch_text() if self.step or learns else ""
        return ", ".join(filter(None, [text, self.step, batch]))

    def _batch_text(self) -> str:
        if self.batch is None:
            return ""
        return f"batch {self.batch}" + (f" of {self.batches}" if self.batches else "")


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
