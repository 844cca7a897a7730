"""Lists of im2rec (.lst): which image files a channel has, and their classes.

One line per image, separated by tabs: index, class (several columns with ``multi_label``), path
below the folder of the image channel.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.algorithm.failure import BadSampleError, ChannelConfigError

SUFFIX = ".lst"
_FORM = "index, class and relative path, separated by tabs"


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One line: the classes as they are written, and the path as it is written."""

    labels: tuple[float, ...]
    path: str


def read_image_list(folder: Path) -> list[ListedImage]:
    """Read the .lst files in ``folder``, the folder of a channel such as ``train_lst``, by name.

    :raises ChannelConfigError: when there is none.
    :raises BadSampleError: naming file and line that cannot be read.
    """
    files = sorted(folder.rglob(f"*{SUFFIX}"))
    if not files:
        raise ChannelConfigError(
            f"channel {folder.name!r} holds no {SUFFIX} file: it must deliver the list of the "
            f"images of channel {folder.name.removesuffix('_lst')!r} (S3DataType S3Prefix, "
            "InputMode File)"
        )
    return [image for file in files for image in _read_file(file)]


def _read_file(file: Path) -> Iterator[ListedImage]:
    with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _parse(line.rstrip("\r\n"), f"{file.parent.name}/*{SUFFIX}, line {number}")


def _parse(line: str, where: str) -> ListedImage:
    columns = line.split("\t")
    if len(columns) < 3:
        raise BadSampleError(f"{where} has {len(columns)} columns; needed are {_FORM}")
    numbers = [_number(column) for column in columns[:-1]]
    if None in numbers:
        column = 1 + numbers.index(None)
        raise BadSampleError(f"{where}: column {column} is no number; needed are {_FORM}")
    path = columns[-1].strip()
    if not path or path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
        raise BadSampleError(f"{where}: the path must lie below the channel's folder")
    return ListedImage(tuple(number for number in numbers[1:] if number is not None), path)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
