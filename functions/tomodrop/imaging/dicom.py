"""DICOM frames as one volume: of one size and orientation, in order along their normal."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

from tomodrop.imaging.dicom_frames import Frame, frames_of, named
from tomodrop.imaging.dicom_pixels import frames as decoded
from tomodrop.imaging.dicom_pixels import is_lossy, syntax_of
from tomodrop.imaging.dicom_scale import scale_of
from tomodrop.imaging.dicom_values import whole
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.orientation import Turn
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
_UNKNOWN_ORIENTATION = "Orientation unknown: the file does not say how the patient lies."
_UNKNOWN_ORDER = "Order guessed: some slices lack a position; they stand in order of their numbers."
_UNEVEN = "Uneven spacing: slices are missing, or overlap."


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
    ordered, is_ordered = _in_order(fitting)
    height, width = ordered[0].size
    check_planes(len(ordered), height * width, limits)
    rendered, scales = _rendered(ordered, limits)
    warnings = [text for scale in scales for text in scale.warnings]
    warnings += _geometry_warnings(ordered, is_ordered=is_ordered)
    if any(is_lossy(frame.dataset, syntax_of(frame.dataset)) for frame in ordered):
        warnings.append(LOSSY)
    processing = _processing(ordered) | {"window": scales[0].described(limits)}
    return Volume(
        planes=tuple(planes_of(rendered, [frame.geometry.position_mm for frame in ordered])),
        processing=processing,
        warnings=tuple(dict.fromkeys([*warnings, *content_warnings(rendered)])),
        left_out=(*left_out, *foreign),
    )


def _fitting(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """Frames of the size and orientation that most have, each once; and names of the others."""
    size, _ = Counter(frame.size for frame in frames).most_common(1)[0]
    way, _ = Counter(_way(frame) for frame in frames if frame.size == size).most_common(1)[0]
    kept, foreign = [], []
    seen: set[Hashable] = set()
    for frame in frames:
        identity = (frame.image, frame.number) if frame.image else frame.label
        if frame.size != size:
            foreign.append(f"{frame.label}: another size")
        elif _way(frame) != way:
            foreign.append(f"{frame.label}: another orientation")
        elif identity in seen:
            foreign.append(f"{frame.label}: a copy of another")
        else:
            kept.append(frame)
            seen.add(identity)
    return kept, foreign


def _way(frame: Frame) -> Hashable:
    """An orientation, but for what rounding changes."""
    orientation = frame.geometry.orientation
    if orientation is None:
        return None
    return tuple(round(one, 1) + 0.0 for one in orientation.along_row + orientation.along_column)


def _in_order(frames: list[Frame]) -> tuple[list[Frame], bool]:
    positions = {id(frame): frame.geometry.position_mm for frame in frames}
    known = [position for position in positions.values() if position is not None]
    if len(known) == len(frames):
        return sorted(frames, key=lambda frame: positions[id(frame)] or 0.0), True
    return sorted(frames, key=lambda frame: (frame.instance, frame.number)), len(frames) == 1


def _rendered(ordered: list[Frame], limits: Limits) -> tuple[list[Rendered], list[Scale]]:
    """Each file is decoded once, frame after frame, and its encoded pixels are dropped then."""
    places = {(id(frame.dataset), frame.number): place for place, frame in enumerate(ordered)}
    files = {id(frame.dataset): frame.dataset for frame in ordered}
    made: dict[int, tuple[Rendered, Scale]] = {}
    for name, dataset in files.items():
        for number, samples in enumerate(decoded(dataset)):
            place = places.get((name, number))
            if place is not None:
                scale = scale_of(dataset, number, samples)
                made[place] = (_render(ordered[place], samples, scale, limits), scale)
        del dataset.PixelData
    in_order = [made[place] for place in range(len(ordered))]
    return [one for one, _ in in_order], [scale for _, scale in in_order]


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
