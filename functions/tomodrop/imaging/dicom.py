"""DICOM frames as one volume: of one size and orientation, in order along their normal."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom_frames import Frame, frames_of, named
from tomodrop.imaging.dicom_pixels import frames as decoded
from tomodrop.imaging.dicom_pixels import is_lossy, syntax_of
from tomodrop.imaging.dicom_scale import scale_of
from tomodrop.imaging.dicom_values import whole
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.orientation import Orientation, Turn
from tomodrop.imaging.picture_volume import LOSSY
from tomodrop.imaging.refusals import check_planes
from tomodrop.imaging.rendering import (
    TILTED,
    Rendered,
    content_warnings,
    planes_of,
    render,
    square_pixels,
)
from tomodrop.imaging.volume import Volume
from tomodrop.imaging.windowing import Scale

_TILT_WARNED_DEGREES = 1.0
# Of a direction's cosine: 3 degrees, where it changes most.
_SAME_WAY = 0.05
_UNKNOWN_ORIENTATION = "Orientation unknown: the file does not say how the patient lies."
_UNKNOWN_ORDER = "Order guessed: some slices lack a position; they stand in order of their numbers."
_UNEVEN = "Uneven spacing: slices are missing, or overlap."


@dataclass(frozen=True)
class _Made:
    frame: Frame
    rendered: Rendered
    scale: Scale


def read_dicom(body: bytes, limits: Limits) -> Volume:
    """The frames of one file.

    Raises
    ------
    UploadRejected
        `no_image`, `derived_report`, `derived_image`, `segmentation`, `wrong_modality`,
        `localizer`, `wrong_orientation`, `unsupported_transfer_syntax`, `unsupported_depth`,
        `damaged_image`, or a code of the limits.
    """
    found = frames_of(body, limits)
    if not found.frames:
        raise found.refused[0][1]
    left_out = tuple(named(label, fault) for label, fault in found.refused)
    return volume_of(found.frames, left_out, limits)


def volume_of(frames: Sequence[Frame], left_out: tuple[str, ...], limits: Limits) -> Volume:
    """The volume that frames of one series make; those that do not fit most others are left out.

    Raises
    ------
    UploadRejected
        `damaged_image`, `too_small`, or a code of the limits.
    """
    fitting, foreign = _fitting(frames)
    height, width = fitting[0].size
    check_planes(len(fitting), height * width, limits)
    made, damaged = _rendered(fitting, limits)
    made, is_ordered = _in_order(made)
    ordered, rendered = [one.frame for one in made], [one.rendered for one in made]
    warnings = [text for one in made for text in one.scale.warnings]
    warnings += _geometry_warnings(ordered, is_ordered=is_ordered)
    processing = _processing(ordered) | {"window": made[0].scale.described(limits)}
    if any(is_lossy(frame.dataset, syntax_of(frame.dataset)) for frame in ordered):
        warnings.append(LOSSY)
        processing["lossy"] = True
    return Volume(
        planes=tuple(planes_of(rendered, [frame.geometry.position_mm for frame in ordered])),
        processing=processing,
        warnings=tuple(dict.fromkeys([*warnings, *content_warnings(rendered)])),
        left_out=(*left_out, *foreign, *damaged),
    )


def _fitting(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """Frames of the size and orientation that most have, each once; and names of the others."""
    size, _ = Counter(frame.size for frame in frames).most_common(1)[0]
    way = _usual_way([frame for frame in frames if frame.size == size])
    kept, foreign = [], []
    seen: set[Hashable] = set()
    for frame in frames:
        identity = (frame.image, frame.number) if frame.image else frame.label
        if frame.size != size:
            foreign.append(f"{frame.label}: another size")
        elif not _is_same_way(frame.geometry.orientation, way):
            foreign.append(f"{frame.label}: another orientation")
        elif identity in seen:
            foreign.append(f"{frame.label}: a copy of another")
        else:
            kept.append(frame)
            seen.add(identity)
    return kept, foreign


def _usual_way(frames: list[Frame]) -> Orientation | None:
    """The orientation that most frames have, but for what rounding changes."""
    groups: list[tuple[Orientation | None, list[Frame]]] = []
    for frame in frames:
        orientation = frame.geometry.orientation
        alike = [members for way, members in groups if _is_same_way(orientation, way)]
        if alike:
            alike[0].append(frame)
        else:
            groups.append((orientation, [frame]))
    return max(groups, key=lambda group: len(group[1]))[0]


def _is_same_way(one: Orientation | None, other: Orientation | None) -> bool:
    if one is None or other is None:
        return one is other
    pairs = zip(one.along_row + one.along_column, other.along_row + other.along_column, strict=True)
    return max(abs(left - right) for left, right in pairs) < _SAME_WAY


def _rendered(frames: list[Frame], limits: Limits) -> tuple[list[_Made], list[str]]:
    """Frames decoded, and names of the damaged ones.

    Each file is decoded once, frame after frame, and its encoded pixels are dropped then.

    Raises
    ------
    UploadRejected
        `damaged_image`, if all are, or another code of the first that has it.
    """
    files: dict[int, list[Frame]] = {}
    for frame in frames:
        files.setdefault(id(frame.dataset), []).append(frame)
    made: list[_Made] = []
    faults: list[tuple[str, UploadRejected]] = []
    for members in files.values():
        try:
            for one in _of_file(members, limits):
                made.append(one)  # noqa: PERF402 - those before a damaged frame are kept
        except UploadRejected as fault:
            if fault.code != "damaged_image":
                raise
            done = {one.frame.number for one in made if one.frame.dataset is members[0].dataset}
            faults += [(frame.label, fault) for frame in members if frame.number not in done]
        del members[0].dataset.PixelData
    if not made:
        raise faults[0][1]
    return made, [named(label, fault) for label, fault in faults]


def _of_file(members: list[Frame], limits: Limits) -> Iterator[_Made]:
    wanted = {frame.number: frame for frame in members}
    for number, samples in enumerate(decoded(members[0].dataset)):
        if frame := wanted.get(number):
            scale = scale_of(frame.dataset, number, samples)
            yield _Made(frame, _render(frame, samples, scale, limits), scale)


def _in_order(made: list[_Made]) -> tuple[list[_Made], bool]:
    if all(one.frame.geometry.position_mm is not None for one in made):
        return sorted(made, key=lambda one: one.frame.geometry.position_mm or 0.0), True
    by_number = sorted(made, key=lambda one: (one.frame.instance, one.frame.number))
    return by_number, len(made) == 1


def _render(frame: Frame, samples: Any, scale: Scale, limits: Limits) -> Rendered:
    orientation = frame.geometry.orientation
    turn = orientation.turn if orientation else Turn()
    made = render(turn.apply(samples), scale, limits)
    spacing = frame.geometry.spacing_mm
    if spacing and turn.swap:
        spacing = spacing[1], spacing[0]
    return replace(made, grey=square_pixels(made.grey, spacing, limits))


def _geometry_warnings(ordered: list[Frame], *, is_ordered: bool) -> list[str]:
    found = []
    tilt = max(frame.geometry.tilt_degrees for frame in ordered)
    if tilt > _TILT_WARNED_DEGREES:
        found.append(TILTED.format(tilt))
    if any(frame.geometry.orientation is None for frame in ordered):
        found.append(_UNKNOWN_ORIENTATION)
    if not is_ordered:
        found.append(_UNKNOWN_ORDER)
    steps = _steps_mm(ordered)
    if steps and (max(steps) > 1.5 * median(steps) or min(steps) < 0.5 * median(steps)):
        found.append(_UNEVEN)
    return found


def _steps_mm(ordered: list[Frame]) -> list[float]:
    positions = [frame.geometry.position_mm for frame in ordered]
    return [
        later - earlier
        for earlier, later in pairwise(positions)
        if earlier is not None and later is not None
    ]


def _processing(ordered: list[Frame]) -> dict[str, Any]:
    first = ordered[0]
    height, width = first.size
    made: dict[str, Any] = {
        "format": "DICOM",
        "transfer_syntax": syntax_of(first.dataset).name,
        "modality": "CT",
        "bits": whole(first.dataset, "BitsStored", 16),
        "width_px": width,
        "height_px": height,
        "slices": len(ordered),
    }
    if steps := _steps_mm(ordered):
        made["slice_spacing_mm"] = round(median(steps), 3)
    if first.geometry.spacing_mm:
        made["pixel_spacing_mm"] = [round(step, 4) for step in first.geometry.spacing_mm]
    return made
