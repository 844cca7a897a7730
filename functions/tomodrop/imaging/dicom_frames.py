"""The frames of a DICOM file that can be classified, and why its others cannot."""

from dataclasses import dataclass

from pydicom.dataset import FileDataset

from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom_file import parse
from tomodrop.imaging.dicom_geometry import Geometry, geometry_of
from tomodrop.imaging.dicom_pixels import check_pixels, frame_count, syntax_of
from tomodrop.imaging.dicom_scope import check_kind, check_object
from tomodrop.imaging.dicom_values import whole, word
from tomodrop.imaging.limits import Limits

REASONS = {
    "damaged_image": "damaged",
    "derived_image": "a map, a rendering or in colour",
    "derived_report": "a report or a screen capture",
    "localizer": "localizer",
    "no_image": "no image",
    "not_a_ct_slice": "no CT slice",
    "segmentation": "segmentation",
    "unsupported_transfer_syntax": "unsupported transfer syntax",
    "wrong_modality": "not CT",
    "wrong_orientation": "not axial",
}


@dataclass(frozen=True)
class Frame:
    """One frame, still encoded. `label` names it by position; `series` and `image` tell it from
    others and go no further. `size`: height and width in pixels.
    """

    dataset: FileDataset
    number: int
    label: str
    series: str
    image: str
    instance: int
    geometry: Geometry
    size: tuple[int, int]


@dataclass(frozen=True)
class FramesOfFile:
    """What a file holds: frames to classify, and refusals of the others by their labels."""

    frames: tuple[Frame, ...]
    refused: tuple[tuple[str, UploadRejected], ...]


def frames_of(body: bytes, limits: Limits, label: str = "") -> FramesOfFile:
    """The frames of a file that `label` names ("file 3 of 40").

    Raises
    ------
    UploadRejected
        The file as a whole is no CT image, is damaged or beyond a limit.
    Exception
        Whatever pydicom raises on damaged data.
    """
    dataset = parse(body, limits)
    check_object(dataset)
    syntax_of(dataset)
    check_pixels(dataset, limits)
    count = frame_count(dataset)
    found, refused = [], []
    for number in range(count):
        name = ", ".join(filter(None, [label, f"frame {number + 1} of {count}" * (count > 1)]))
        try:
            found.append(_frame(dataset, number, name))
        except UploadRejected as fault:
            refused.append((name, fault))
    return FramesOfFile(tuple(found), tuple(refused))


def _frame(dataset: FileDataset, number: int, label: str) -> Frame:
    check_kind(dataset, number)
    return Frame(
        dataset=dataset,
        number=number,
        label=label,
        series=word(dataset, "SeriesInstanceUID"),
        image=word(dataset, "SOPInstanceUID"),
        instance=whole(dataset, "InstanceNumber"),
        geometry=geometry_of(dataset, number),
        size=(whole(dataset, "Rows"), whole(dataset, "Columns")),
    )


def named(label: str, fault: UploadRejected) -> str:
    """How a refused file or frame is named among what was left out."""
    return f"{label}: {REASONS.get(fault.code, fault.code.replace('_', ' '))}"
