"""Where a DICOM frame lies in the patient (PS3.3 C.7.6.2; functional groups C.7.6.16.2)."""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom_values import group, number, numbers
from tomodrop.imaging.orientation import Orientation, dot

# Gantries tilt by up to 30 degrees.
_MOST_TILT_DEGREES = 40.0


@dataclass(frozen=True)
class Geometry:
    """A frame's place. `position_mm`: along its normal, towards the head.

    `spacing_mm`: between rows, between columns. None is what the file does not say.
    """

    orientation: Orientation | None
    position_mm: float | None
    spacing_mm: tuple[float, float] | None
    tilt_degrees: float


def geometry_of(dataset: Dataset, frame: int) -> Geometry:
    """The geometry of a frame, counted from 0.

    Raises
    ------
    UploadRejected
        `wrong_orientation`
    """
    cosines = numbers(
        group(dataset, frame, "PlaneOrientationSequence"), "ImageOrientationPatient", 6
    )
    orientation = Orientation.of(cosines) if cosines else None
    tilt = orientation.tilt_degrees if orientation else 0.0
    if tilt > _MOST_TILT_DEGREES:
        raise UploadRejected(
            "wrong_orientation",
            f"The image lies {tilt:.0f} degrees from axial: it is coronal, sagittal or oblique.",
            "Upload the axial series.",
        )
    measures = group(dataset, frame, "PixelMeasuresSequence")
    spacing = numbers(measures, "PixelSpacing", 2)
    return Geometry(
        orientation=orientation,
        position_mm=_position_mm(dataset, frame, orientation),
        spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        tilt_degrees=max(tilt, abs(number(dataset, "GantryDetectorTilt") or 0.0)),
    )


def _position_mm(dataset: Dataset, frame: int, orientation: Orientation | None) -> float | None:
    corner = numbers(group(dataset, frame, "PlanePositionSequence"), "ImagePositionPatient", 3)
    if corner and orientation:
        return round(dot(orientation.normal, (corner[0], corner[1], corner[2])), 3)
    location = number(dataset, "SliceLocation") if frame == 0 else None
    return None if location is None else round(location, 3)
