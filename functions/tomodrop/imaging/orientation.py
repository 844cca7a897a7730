"""How to turn a plane so that a viewer would show it: the patient's right at the left, front at the
top.

Directions are DICOM's: x grows to the patient's left, y to the back, z to the head (PS3.3
C.7.6.2.1.1).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Orthogonal unit vectors, but for what rounding to six digits leaves.
_INEXACT = 0.02


@dataclass(frozen=True)
class Turn:
    """Swap the axes, then flip rows and columns."""

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A view of a plane (height, width), turned."""
        turned = plane.T if self.swap else plane
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


@dataclass(frozen=True)
class Orientation:
    """Where a plane's rows and columns run: `along_row`, `along_column` are unit vectors."""

    along_row: tuple[float, float, float]
    along_column: tuple[float, float, float]

    @classmethod
    def of(cls, cosines: tuple[float, ...]) -> "Orientation | None":
        """From ImageOrientationPatient; None where the six numbers are no two directions."""
        row, column = np.array(cosines[:3]), np.array(cosines[3:])
        lengths = np.abs(np.array([row @ row, column @ column]) - 1.0)
        if lengths.max() > _INEXACT or abs(row @ column) > _INEXACT:
            return None
        (a, b, c), (d, e, f) = row.tolist(), column.tolist()
        return cls((a, b, c), (d, e, f))

    @property
    def normal(self) -> NDArray[np.float64]:
        """A unit vector across the plane, towards the head."""
        across = np.cross(self.along_row, self.along_column)
        unit: NDArray[np.float64] = across / np.linalg.norm(across)
        return -unit if unit[2] < 0 else unit

    @property
    def tilt_degrees(self) -> float:
        """Between the plane and an axial one: 0 to 90."""
        return float(np.degrees(np.arccos(min(1.0, float(self.normal[2])))))

    @property
    def turn(self) -> Turn:
        """What brings the plane into display orientation, to the nearest quarter turn."""
        columns_run, rows_run = self.along_row, self.along_column
        swap = abs(columns_run[0]) < abs(columns_run[1])
        if swap:
            columns_run, rows_run = rows_run, columns_run
        return Turn(swap, flip_rows=rows_run[1] < 0, flip_columns=columns_run[0] < 0)
