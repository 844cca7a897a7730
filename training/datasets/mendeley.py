"""The set "Extensive COVID-19 X-Ray and CT Chest Images" (El-Shafai, Abd El-Samie, 2020).

Mendeley Data, version 3, https://doi.org/10.17632/8h65ywd2jr.3. What is relied on:

- the layout `COVID-19 Dataset/{CT,X-ray}/{COVID,Non-COVID}/<picture>`, in the archive once or
  twice within a folder of the same name. Folder names are compared without regard to case, blanks
  and hyphens, and may lie deeper. X-rays are left out: the classifier reads CT.
- 5,427 COVID and 2,628 Non-COVID pictures of CT (the set's own description), PNG, JPEG and others
  of many sizes, grey or coloured, some with alpha. The description of version 2 says that they are
  augmented with different techniques, so mirrored and turned copies are to be expected. There are
  no patient ids.
- names, as far as they tell of their origin: pictures from the COVID-CT set (Yang et al. 2020,
  https://arxiv.org/abs/2003.13865) are called after the preprint they were cut from,
  `2020.02.22.20024927-p19-68%5.png` (DOI suffix, page, figure, panel), or by a number and a panel,
  `40%1.jpg`. One preprint shows few patients, so it is one group; panels of a figure are one.
- other numbers at the end of a name, `Covid (386).png`, are taken to be in scan order, as they are
  in the SARS-CoV-2 CT set: every `block` consecutive ones are one group.
"""

import re
from itertools import pairwise
from pathlib import Path

from training.datasets.failure import WrongLayoutError
from training.datasets.folder_tree import reason_to_skip, walk
from training.datasets.grouping import numbered_block
from training.datasets.picture_import import Source
from training.datasets.report import Outcome, relative_name

POSITIVE, NEGATIVE = "covid", "non_covid"
BLOCK = 50

_CLASSES = {"covid": POSITIVE, "noncovid": NEGATIVE}
_CT, _X_RAY = "ct", frozenset({"xray", "xrays"})
_PREPRINT = re.compile(r"(?P<doi>\d{4}\.\d{2}\.\d{2}\.\d{6,8})(?!\d)")
_PANEL = re.compile(r"%\d+$")
EXPECTED = "…/COVID-19 Dataset/CT/COVID and …/COVID-19 Dataset/CT/Non-COVID"


def list_mendeley(root: Path, block: int, outcome: Outcome) -> list[Source]:
    """The CT pictures of the set, in order of path.

    Raises
    ------
    WrongLayoutError
        One of the two classes' folders of CT has no pictures, or is not there.
    """
    sources = []
    for path in walk(root):
        name = relative_name(path, root)
        label = _label(root, path)
        reason = reason_to_skip(path)
        if _is_x_ray(root, path):
            outcome.skip(name, "x_ray", "a projection, not a CT slice")
        elif reason:
            outcome.skip(name, *reason)
        elif label is None:
            outcome.skip(name, "outside_ct", f"it lies outside {EXPECTED}")
        else:
            sources.append(Source(path, name, label, group_key(path.stem, label, block) or name))
    absent = {POSITIVE, NEGATIVE} - {source.label for source in sources}
    if absent:
        raise WrongLayoutError(
            f"expected {EXPECTED} in {root}; found no CT pictures of {', '.join(sorted(absent))}. "
            "Give the folder that the set's archive was unpacked into"
        )
    return sources


def group_key(stem: str, label: str, block: int) -> str | None:
    """What a file's name says of its group; None if nothing. See the module's docstring."""
    preprint = _PREPRINT.match(stem)
    if preprint:
        return f"preprint-{preprint['doi']}"
    figure = _PANEL.sub("", stem)
    numbered = numbered_block(figure, block)
    if numbered:
        return f"{label}-{numbered}"
    return f"{label}-{figure}" if figure != stem else None


def _label(root: Path, path: Path) -> str | None:
    """The class of a picture below `CT/COVID` or `CT/Non-COVID`, at whatever depth."""
    folders = _folders(root, path)
    for above, below in pairwise(folders):
        if above == _CT and below in _CLASSES:
            return _CLASSES[below]
    return None


def _is_x_ray(root: Path, path: Path) -> bool:
    return not _X_RAY.isdisjoint(_folders(root, path))


def _folders(root: Path, path: Path) -> list[str]:
    """The folders on the way to a picture, from the root's own name on, without case and marks."""
    names = [root.resolve().name, *path.relative_to(root).parent.parts]
    return [re.sub(r"[\W_]+", "", name.casefold()) for name in names]
