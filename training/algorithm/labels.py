"""What a sample's label says, in each of the encodings the channels carry it in.

One class: its index. Several (``multi_label``): a 0 or 1 for each class ("multi-hot", the default)
or the indices of those that apply ("class-id"), as the ContentType's ``label-format`` says. Text
(augmented manifests) holds a number or a JSON array; headers and lists hold numbers.
"""

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

RawLabel: TypeAlias = bytes | tuple[float, ...]
"""As it arrives: text, or numbers."""

Label: TypeAlias = int | npt.NDArray[np.float32]
"""A class index, or 0 and 1 for each class (num_classes,)."""

_SHOWN = 20


class LabelFormat(enum.Enum):
    """How several classes of one image are written."""

    MULTI_HOT = "multi-hot"
    CLASS_ID = "class-id"


class BadLabelError(ValueError):
    """The label is not what the job's settings say; the message says why, and which."""


@dataclass(frozen=True, slots=True)
class LabelReader:
    """Reads the labels of one channel."""

    num_classes: int
    multi_label: bool = False
    label_format: LabelFormat = LabelFormat.MULTI_HOT

    def read(self, raw: RawLabel) -> Label:
        """Return the class index or, with ``multi_label``, the 0s and 1s of all classes.

        :raises BadLabelError: when ``raw`` is anything else.
        """
        if self.multi_label:
            return self._several(_json_array(raw) if isinstance(raw, bytes) else raw)
        return self._one(raw)

    def _one(self, raw: RawLabel) -> int:
        index = _text_as_index(raw) if isinstance(raw, bytes) else _only_number(raw)
        if index is None or not 0 <= index < self.num_classes:
            several = raw.lstrip().startswith(b"[") if isinstance(raw, bytes) else len(raw) != 1
            advice = "; several classes for one image need multi_label=1" if several else ""
            raise BadLabelError(
                f"the label {_shown(raw)}; a class index from 0 to {self.num_classes - 1} is "
                f"needed{advice}"
            )
        return index

    def _several(self, values: Sequence[Any]) -> npt.NDArray[np.float32]:
        if self.label_format is LabelFormat.MULTI_HOT:
            return self._multi_hot(values)
        indices = [_whole(value) for value in values]
        if any(i is None or not 0 <= i < self.num_classes for i in indices) or len(
            set(indices)
        ) != len(indices):
            raise BadLabelError(
                f"the label {_shown(values)}; with label-format=class-id it lists different class "
                f"indices from 0 to {self.num_classes - 1}. A 0 or 1 for each class is "
                "label-format=multi-hot in the ContentType"
            )
        label = np.zeros(self.num_classes, np.float32)
        label[[i for i in indices if i is not None]] = 1
        return label

    def _multi_hot(self, values: Sequence[Any]) -> npt.NDArray[np.float32]:
        flags = [_whole(value) for value in values]
        if len(flags) != self.num_classes or not set(flags) <= {0, 1}:
            raise BadLabelError(
                f"the label {_shown(values)}; with label-format=multi-hot it holds "
                f"num_classes={self.num_classes} values, each 0 or 1. A list of class indices "
                "is label-format=class-id in the ContentType"
            )
        return np.array(flags, np.float32)


def _json_array(text: bytes) -> Sequence[Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise BadLabelError(
            f"the label {_shown(text)}; with multi_label=1 a JSON array such as [1, 0, 1] is needed"
        )
    return values


def _text_as_index(text: bytes) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _only_number(numbers: tuple[float, ...]) -> int | None:
    return _whole(numbers[0]) if len(numbers) == 1 else None


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value // 1 else None


def _shown(raw: Any) -> str:
    if isinstance(raw, bytes):
        return repr(raw[:_SHOWN].decode("ascii", "backslashreplace"))
    head = ", ".join(f"{v:g}" if isinstance(v, int | float) else "?" for v in raw[:_SHOWN])
    return f"[{head}{', …' if len(raw) > _SHOWN else ''}]"
