"""`make demo`: the whole way on synthetic phantoms, with the code that `tomodrop run --once` runs.

Labelled phantoms are learnt, unseen ones are classified, and a broken file shows a rejection. All
of it lies in `demo/`, made anew each time. What comes out says that the machinery works, and
nothing about real scans.
"""

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from local.options import TEMPLATE, Options
from local.run import EXIT_DONE, run
from training.datasets.phantoms import CLASSES, encode, phantoms, write_tree

FOLDER = TEMPLATE.with_name("demo")
SEED, UNSEEN_SEED = 7, 1007
SIZE = 160
LABELLED_PATIENTS, LABELLED_SLICES = 12, 5
UNSEEN_PATIENTS, UNSEEN_SLICES = 3, 4
BROKEN = "broken.png"
# The article's network, from CT weights, on images small enough for two processor cores.
PARAMETERS: Mapping[str, str] = {
    "NumLayers": "152",
    "UsePretrainedModel": "1",
    "ImageShape": "3,96,96",
    "Epochs": "3",
    "ExtraHyperparameters": "trainable_stages=1",
}


def main() -> int:
    """Make the phantoms, run, and show what came out; returns the exit code."""
    console = Console(highlight=False, emoji=False, markup=False)
    labelled, inbox, out = (FOLDER / name for name in ("labelled", "inbox", "out"))
    for folder in (labelled, inbox, out):
        shutil.rmtree(folder, ignore_errors=True)
    made = write_tree(
        labelled, patients=LABELLED_PATIENTS, slices=LABELLED_SLICES, seed=SEED, size=SIZE
    )
    truth = write_inbox(inbox)
    _say(console, f"Synthetic phantoms, no patient's images: {len(made)} labelled slices,")
    _say(console, f"{len(truth)} unseen ones and a broken file, in {FOLDER}.")
    options = Options(inbox=inbox, out=out, labelled=labelled, once=True, parameters=PARAMETERS)
    code = run(options, console)
    if code == EXIT_DONE:
        show_results(console, out, truth)
    return code


def write_inbox(inbox: Path) -> dict[str, str]:
    """Write unseen slices under names that tell nothing, and a broken file.

    Returns the class of each slice by its path in the inbox.
    """
    slices = [
        phantom
        for label in CLASSES
        for phantom in phantoms(
            label, patients=UNSEEN_PATIENTS, slices=UNSEEN_SLICES, seed=UNSEEN_SEED, size=SIZE
        )
    ]
    cases = sorted({phantom.patient for phantom in slices})
    random.Random(SEED).shuffle(cases)  # noqa: S311 - an order, not a secret
    truth: dict[str, str] = {}
    for phantom in slices:
        path = f"case-{cases.index(phantom.patient) + 1}/slice-{phantom.number:03d}.png"
        (inbox / path).parent.mkdir(parents=True, exist_ok=True)
        (inbox / path).write_bytes(encode(phantom))
        truth[path] = phantom.label
    whole = encode(slices[0])
    (inbox / BROKEN).write_bytes(whole[: len(whole) // 2])
    return truth


def show_results(console: Console, out: Path, truth: Mapping[str, str]) -> None:
    """One prediction and the rejection in full, and how many labels are as drawn."""
    predictions = {path: _read(out / "predictions" / f"{path}.json") for path in sorted(truth)}
    first = next(iter(truth))
    for path in (out / "predictions" / f"{first}.json", out / "rejected" / f"{BROKEN}.json"):
        console.print()
        _say(console, str(path), "bold")
        console.print_json(path.read_text(encoding="utf-8"))
    right = sum(predictions[path]["prediction"]["label"] == truth[path] for path in truth)
    console.print()
    _say(console, f"{right} of {len(truth)} unseen phantoms were labelled as they were drawn.")
    _say(console, "They are synthetic: this shows that the way works, not how well scans are read.")


def _read(path: Path) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = json.loads(path.read_bytes())
    return result


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
