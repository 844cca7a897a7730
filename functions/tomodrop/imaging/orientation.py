"""How to turn a plane so that a viewer would show it: the patient's right at the left, front at the
top.

Directions are DICOM's: x grows to the patient's left, y to the back, z to the head (PS3.3
C.7.6.2.1.1).
"""

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Vector = tuple[float, float, float]
# Orthogonal unit vectors, but for what rounding to six digits leaves.
_INEXACT = 0.02


def dot(one: Vector, other: Vector) -> float:
    """The scalar product; for three numbers this is faster than numpy."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


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
    """Where a plane's rows and columns run, and a normal that points to the head: unit vectors."""

    along_row: Vector
    along_column: Vector
    normal: Vector

    @classmethod
    def of(cls, cosines: tuple[float, ...]) -> "Orientation | None":
        """From ImageOrientationPatient; None where the six numbers are no two directions."""
        a, b, c, d, e, f = cosines
        row, column = (a, b, c), (d, e, f)
        errors = (dot(row, row) - 1.0, dot(column, column) - 1.0, dot(row, column))
        if max(map(abs, errors)) > _INEXACT:
            return None
        across = (b * f - c * e, c * d - a * f, a * e - b * d)
        length = math.copysign(math.sqrt(dot(across, across)), across[2])
        return cls(row, column, (across[0] / length, across[1] / length, across[2] / length))

    @property
    def tilt_degrees(self) -> float:
        """Between the plane and an axial one: 0 to 90."""
        return math.degrees(math.acos(min(1.0, self.normal[2])))

    @property
    def turn(self) -> Turn:
        """What brings the plane into display orientation, to the nearest quarter turn."""
        columns_run, rows_run = self.along_row, self.along_column
        swap = abs(columns_run[0]) < abs(columns_run[1])
        if swap:
            columns_run, rows_run = rows_run, columns_run
        return Turn(swap, flip_rows=rows_run[1] < 0, flip_columns=columns_run[0] < 0)
