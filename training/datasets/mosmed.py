"""MosMedData: 1,110 chest CT studies of Moscow's hospitals, March and April 2020, by severity.

Morozov et al. 2020, https://doi.org/10.1101/2020.05.20.20100362 (MosMedData COVID19_1110). What is
relied on:

- the layout `COVID19_1110/studies/CT-<grade>/study_<number>.nii.gz`, one study of one patient in
  each file, about 512 x 512 x 40 voxels of int16 in Hounsfield units. Grade folders may lie at any
  depth and in any case; `masks/` (of 50 studies) and all else are left out and named.
- CT-0 is a lung without signs of viral pneumonia (254 studies); CT-1 to CT-4 have signs in up to
  25 %, 50 %, 75 % and more of the lung (684, 125, 45 and 2 studies).

A grade tells of the study and not of each slice: a slice of a CT-1 study may look healthy. A study
is one group. Slices are shown in the lung window (level -600, width 1500 HU).
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from training.datasets.failure import SourceSkipped, WrongLayoutError
from training.datasets.files import unique_slug, write_atomically
from training.datasets.folder_tree import walk
from training.datasets.journal import STAGING, Journal
from training.datasets.lungs import lung_share
from training.datasets.phantoms import window
from training.datasets.pictures import encode_png
from training.datasets.progress import tracked
from training.datasets.report import Outcome, relative_name
from training.datasets.volumes import AIR_HU, open_volume

NORMAL_GRADE = "CT-0"
GRADES = ("CT-1", "CT-2", "CT-3", "CT-4")
POSITIVE, NEGATIVE = "covid", "non_covid"
EXPECTED = "…/studies/CT-0 to CT-4/study_0001.nii.gz"

_GRADE = re.compile(r"ct[ _\-]?(?P<number>[0-4])", re.IGNORECASE)
_VOLUME = re.compile(r"(?P<stem>.+?)\.nii(\.gz)?", re.IGNORECASE)


@dataclass(frozen=True)
class Study:
    """A volume file, its class and its group."""

    path: Path
    name: str
    label: str
    group: str


@dataclass(frozen=True)
class Choice:
    """Which slices of a study are taken: lungs of at least this share, and every nth of those."""

    lung_share: float
    every_nth: int


def list_studies(root: Path, positive: Sequence[str], outcome: Outcome) -> list[Study]:
    """The studies of CT-0 and of the grades that count as positive, in order of path.

    Raises
    ------
    WrongLayoutError
        There are no studies of CT-0, or none of the positive grades; or two have one name.
    """
    classes = {NORMAL_GRADE: NEGATIVE, **dict.fromkeys(positive, POSITIVE)}
    studies = []
    for path in walk(root):
        name, grade = relative_name(path, root), _grade(root, path)
        volume = _VOLUME.fullmatch(path.name)
        if path.name.startswith(".") or not volume:
            outcome.skip(
                name, "not_a_study", "hidden, or its name ends in neither .nii nor .nii.gz"
            )
        elif grade is None:
            outcome.skip(name, "outside_grades", f"it lies outside {EXPECTED}")
        elif grade not in classes:
            outcome.skip(name, "grade_left_out", f"{grade} is not among those that were asked for")
        else:
            group = f"mosmed-{unique_slug(volume['stem'])}"
            studies.append(Study(path, name, classes[grade], group))
    _check(root, studies, positive)
    return studies


def import_studies(
    studies: Sequence[Study],
    out: Path,
    journal: Journal,
    outcome: Outcome,
    choice: Choice,
    console: Console,
) -> None:
    """Write the chosen slices of `studies` to `OUT/<class>/<study>/slice-<number>.png`."""
    for study in tracked(studies, "reading", console):
        entry = journal.of(study.name, study.path)
        if entry and "skipped" not in entry and not (out / study.label / study.group).is_dir():
            entry = None
        outcome.already_done += entry is not None
        entry = entry or _import(study, out, journal, choice)
        if "skipped" in entry:
            outcome.skip(study.name, entry["skipped"], entry["detail"])
        else:
            outcome.slices[study.label, study.group] += entry["slices"]
    shutil.rmtree(out / STAGING, ignore_errors=True)


def _import(study: Study, out: Path, journal: Journal, choice: Choice) -> dict[str, Any]:
    """Write a study beside its place and move it there whole; returns its journal entry."""
    staged, place = out / STAGING / study.group, out / study.label / study.group
    shutil.rmtree(staged, ignore_errors=True)
    try:
        count = _write_slices(study, staged, choice)
    except SourceSkipped as skipped:
        shutil.rmtree(staged, ignore_errors=True)
        result = {"skipped": skipped.reason, "detail": skipped.detail}
        return journal.add(study.name, study.path, result)
    # What is there is of a run that was killed before it could note it, or of an older file.
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(place)
    return journal.add(study.name, study.path, {"slices": count})


def _write_slices(study: Study, folder: Path, choice: Choice) -> int:
    written = 0
    for number, picture in _chosen(study.path, choice):
        write_atomically(folder / f"slice-{number:04d}.png", encode_png(picture))
        written += 1
    if not written:
        raise SourceSkipped(
            "no_lungs", f"no slice shows lung in {choice.lung_share:.0%} of the body or more"
        )
    return written


def _chosen(path: Path, choice: Choice) -> Iterator[tuple[int, Image.Image]]:
    """Number from the head down, and picture, of each slice that is taken."""
    lowest, met = 0.0, 0
    for number, hounsfield in enumerate(open_volume(path).slices(), start=1):
        lowest = min(lowest, float(hounsfield.min()))
        if lung_share(hounsfield) < choice.lung_share:
            continue
        if met % choice.every_nth == 0:
            yield number, Image.fromarray(window(hounsfield))
        met += 1
    if lowest > AIR_HU:
        raise SourceSkipped(
            "not_hounsfield", f"its lowest value is {lowest:.0f}; air is at -1000 HU"
        )


def _grade(root: Path, path: Path) -> str | None:
    """The grade folder that a file lies in, "CT-0" to "CT-4"; None if in none."""
    if path.parent == root:
        return None
    found = _GRADE.fullmatch(path.parent.name)
    return f"CT-{found['number']}" if found else None


def _check(root: Path, studies: Sequence[Study], positive: Sequence[str]) -> None:
    for label, grades in ((NEGATIVE, [NORMAL_GRADE]), (POSITIVE, positive)):
        if all(study.label != label for study in studies):
            raise WrongLayoutError(
                f"expected {EXPECTED} in {root}; found no studies of {', '.join(grades)}. Give the "
                "folder that the set's archives were unpacked into"
            )
    seen: dict[str, Study] = {}
    for study in studies:
        other = seen.setdefault(study.group, study)
        if other is not study:
            raise WrongLayoutError(
                f"'{other.name}' and '{study.name}' are two files of one study; remove one"
            )
