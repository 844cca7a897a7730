"""Synthetic patients, and how an axial slice of one looks in Hounsfield units.

`phantoms` asks for patients and slices and writes the files; what is drawn, and how much it varies
from patient to patient and slice to slice, is decided here.
"""

from dataclasses import dataclass, replace
from math import cos, exp, pi, sin

import numpy as np
from PIL import Image

from training.datasets.phantom_shapes import (
    Field,
    Grid,
    Oval,
    blend,
    cross_sections,
    smooth_noise,
    vessel_tree,
)

AIR_HU = -1000.0
FAT_HU = -95.0
MUSCLE_HU = 45.0
BONE_HU = 620.0
MARROW_HU = 230.0
CONSOLIDATION_HU = -30.0
GROUND_GLASS_HU = (200.0, 450.0)
SIDES = (-1, 1)


@dataclass(frozen=True)
class Lesion:
    """A ground-glass patch: where it lies in a lung, and how it fades above and below."""

    side: int
    angle: float
    depth: float
    position: float
    reach: float
    size: float
    rise_hu: float
    paving: bool
    consolidation: bool

    def strength(self, position: float) -> float:
        """How much of the patch the slice at `position` meets, 0..1."""
        return exp(-(((position - self.position) / self.reach) ** 2))


@dataclass(frozen=True)
class Patient:
    """One body: lengths in half images, densities in HU, `pose` as (turn, shift x, shift y)."""

    build: float
    fat: float
    lung_hu: float
    dependent_hu: float
    heart: float
    vessels: float
    contrast_hu: float
    noise_hu: float
    grain: float
    pose: tuple[float, float, float]
    lesions: tuple[Lesion, ...]


def make_patient(rng: np.random.Generator, *, ill: bool) -> Patient:
    """A random patient; `ill` adds between three and ten patches, all else is drawn alike."""
    body = Patient(
        build=rng.uniform(0.94, 1.05),
        fat=rng.uniform(0.02, 0.10),
        lung_hu=rng.uniform(-880, -770),
        dependent_hu=rng.uniform(0, 80),
        heart=rng.uniform(0.85, 1.20),
        vessels=rng.uniform(0.6, 1.0),
        contrast_hu=rng.choice([0.0, 0.0, 180.0]) + rng.uniform(0, 60),
        noise_hu=rng.uniform(10, 35),
        grain=rng.uniform(0.004, 0.009),
        pose=(rng.normal(0, 0.05), rng.normal(0, 0.025), rng.normal(0, 0.025)),
        lesions=(),
    )
    lesions = tuple(_make_lesion(rng) for _ in range(rng.integers(3, 11)))
    return replace(body, lesions=lesions) if ill else body


def _make_lesion(rng: np.random.Generator) -> Lesion:
    return Lesion(
        side=int(rng.choice(SIDES)),
        angle=rng.uniform(-0.25, 1.25),  # from the side (0) to the back (pi / 2)
        depth=rng.uniform(0.68, 0.95),
        position=rng.uniform(0.1, 0.95),
        reach=rng.uniform(0.2, 0.5),
        size=rng.uniform(0.13, 0.27),
        rise_hu=rng.uniform(*GROUND_GLASS_HU),
        paving=bool(rng.random() < 0.3),
        consolidation=bool(rng.random() < 0.25),
    )


def render_slice(patient: Patient, position: float, rng: np.random.Generator, size: int) -> Field:
    """The slice at `position` (0 = top of the lungs, 1 = their base) as HU, shape (size, size)."""
    grid = Grid.of(size)
    image = np.full((size, size), AIR_HU, dtype=np.float32)
    lungs = {side: _lung(patient, position, side, rng) for side in SIDES}
    _draw_chest_wall(image, grid, patient)
    _draw_ribs(image, grid, patient, position, rng)
    _draw_spine(image, grid)
    masks = {side: oval.mask(grid, 0.012) for side, oval in lungs.items()}
    _carve_lungs(masks, grid, patient, position)
    for side, oval in lungs.items():
        content = _lung_content(grid, patient, position, side, oval, rng)
        blend(image, masks[side], content)
    _draw_middle(image, grid, patient, position, rng)
    _draw_diaphragm(image, grid, masks, position, rng)
    return _scan(image, patient, rng)


def _lung(patient: Patient, position: float, side: int, rng: np.random.Generator) -> Oval:
    grown = 0.68 + 0.32 * sin(min(1.0, 0.25 + position) * pi / 2)
    lobes = tuple((k, rng.normal(0, 0.028 / k), rng.uniform(0, 2 * pi)) for k in (1, 2, 3, 5))
    return Oval(
        x=side * (0.395 + rng.normal(0, 0.006)) * patient.build,
        y=0.01 + rng.normal(0, 0.008),
        width=0.35 * grown * patient.build,
        height=0.575 * grown * patient.build,
        turn=side * -0.10,
        power=2.25,
        wobble=lobes,
    )


def _draw_chest_wall(image: Field, grid: Grid, patient: Patient) -> None:
    width, height = 0.90 * patient.build, 0.70 * patient.build
    skin = Oval(0, 0, width, height, power=2.4)
    muscle = Oval(0, 0, width - patient.fat, height - 0.7 * patient.fat, power=2.4)
    blend(image, skin.mask(grid), FAT_HU)
    blend(image, muscle.mask(grid), MUSCLE_HU)
    table = Oval(0, 1.75, 1.9, 0.92, power=2.0)
    top: Field = np.clip(1 - np.abs(table.distance(grid)) / np.float32(0.02), 0, 1)
    blend(image, np.float32(0.35) * top, MUSCLE_HU)


def _draw_ribs(
    image: Field, grid: Grid, patient: Patient, position: float, rng: np.random.Generator
) -> None:
    shift = 0.5 * position
    for side in SIDES:
        for angle in np.arange(-1.25, 1.35, 0.36) + (shift + rng.uniform(-0.1, 0.1)) % 0.36:
            x, y = side * 0.79 * cos(angle), 0.625 * sin(angle)
            length, thick = rng.uniform(0.05, 0.12), rng.uniform(0.020, 0.028)
            tangent = float(np.arctan2(0.625 * cos(angle), -side * 0.79 * sin(angle)))
            rib = Oval(x * patient.build, y * patient.build, length, thick, turn=tangent)
            blend(image, rib.mask(grid), BONE_HU)
            marrow = replace(rib, width=length * 0.75, height=thick * 0.45)
            blend(image, marrow.mask(grid), MARROW_HU)
    sternum = Oval(0, -0.585 * patient.build, 0.085, 0.028)
    blend(image, sternum.mask(grid), BONE_HU)
    blend(image, replace(sternum, width=0.07, height=0.014).mask(grid), MARROW_HU)


def _draw_spine(image: Field, grid: Grid) -> None:
    parts = np.zeros_like(image)
    for part in (
        Oval(0, 0.39, 0.115, 0.095, power=2.4),
        Oval(0, 0.565, 0.026, 0.075),
        Oval(-0.13, 0.52, 0.10, 0.030, turn=-0.35),
        Oval(0.13, 0.52, 0.10, 0.030, turn=0.35),
    ):
        parts = np.maximum(parts, part.mask(grid))
    blend(image, parts, BONE_HU)
    blend(image, Oval(0, 0.39, 0.098, 0.078, power=2.4).mask(grid), MARROW_HU)
    blend(image, Oval(0, 0.515, 0.048, 0.040).mask(grid), MUSCLE_HU)


def _carve_lungs(masks: dict[int, Field], grid: Grid, patient: Patient, position: float) -> None:
    """Take out of the lungs what lies between them: spine, mediastinum, heart."""
    middle = [
        Oval(0, 0.43, 0.18, 0.17, power=2.2),
        Oval(0.01, 0.0, 0.13 + 0.04 * position, 0.60, power=2.0),
        Oval(0.115, 0.235, 0.085, 0.085),
    ]
    heart = patient.heart * float(np.clip((position - 0.3) / 0.25, 0, 1))
    if heart > 0:
        middle.append(Oval(0.11, -0.14, 0.33 * heart, 0.26 * heart, turn=0.35, power=2.2))
    for side in SIDES:
        for part in middle:
            masks[side] *= 1 - part.mask(grid, 0.012)


def _lung_content(
    grid: Grid, patient: Patient, position: float, side: int, lung: Oval, rng: np.random.Generator
) -> Field:
    """Air and vessels of one lung, and what is wrong with it."""
    size = grid.size
    sag = np.clip(grid.y + np.float32(0.1), -0.3, 0.6)  # lungs are denser where they lie
    tissue: Field = (
        patient.lung_hu + patient.dependent_hu * sag + 18 * smooth_noise(rng, size, 0.05)
    ).astype(np.float32)
    root = (side * 0.17, 0.04 + rng.normal(0, 0.02))
    vessels = vessel_tree(rng, grid, root, side, 0.62 * patient.build)
    count = int(90 * patient.vessels)
    vessels = np.maximum(vessels, 0.8 * cross_sections(rng, grid, count))
    seen = [lesion for lesion in patient.lesions if lesion.side == side]
    for lesion, strength in _shown(patient.lesions, position):
        if lesion in seen:
            _draw_lesion(tissue, grid, lung, lesion, strength, rng)
    blend(tissue, np.minimum(1, vessels * min(1.0, patient.vessels)), MUSCLE_HU)
    return tissue


def _shown(lesions: tuple[Lesion, ...], position: float) -> list[tuple[Lesion, float]]:
    """The patches this slice meets; a slice of an ill patient always meets at least one."""
    shown = [(lesion, lesion.strength(position)) for lesion in lesions]
    met = [(lesion, strength) for lesion, strength in shown if strength > 0.35]
    if met or not shown:
        return met
    nearest, strength = max(shown, key=lambda pair: pair[1])
    return [(nearest, max(strength, 0.6))]


def _draw_lesion(
    tissue: Field,
    grid: Grid,
    lung: Oval,
    lesion: Lesion,
    strength: float,
    rng: np.random.Generator,
) -> None:
    x = lung.x + lesion.side * lung.width * lesion.depth * cos(lesion.angle)
    y = lung.y + lung.height * lesion.depth * sin(lesion.angle)
    size = lesion.size * (0.55 + 0.45 * strength)
    # Flat along the pleura, as the real ones are: longer along the wall than into the lung.
    spot = Oval(x, y, size * 0.7, size * 1.25, turn=-lesion.side * lesion.angle)
    texture = smooth_noise(rng, grid.size, 0.035)
    depth = np.clip(0.55 - spot.distance(grid) / np.float32(0.75 * size) + 0.22 * texture, 0, 1)
    fine = 1 + 0.16 * smooth_noise(rng, grid.size, 0.008)
    tissue += (depth * fine * lesion.rise_hu * (0.6 + 0.4 * strength)).astype(np.float32)
    if lesion.paving:
        seams = np.clip(1 - np.abs(smooth_noise(rng, grid.size, 0.022)) / 0.22, 0, 1)
        tissue += (depth > 0.35) * depth * seams * np.float32(190)
    if lesion.consolidation:
        core = np.clip(2.5 * (depth - 0.75) + 0.25 * texture, 0, 1)
        blend(tissue, core.astype(np.float32), CONSOLIDATION_HU)


def _draw_middle(
    image: Field, grid: Grid, patient: Patient, position: float, rng: np.random.Generator
) -> None:
    """Great vessels and airways between the lungs."""
    blood = MUSCLE_HU + patient.contrast_hu
    vessels = [(0.115, 0.235, 0.066), (-0.06, -0.13, 0.075)]
    if position < 0.35:
        vessels = [(0.07, 0.02, 0.07), (-0.09, -0.14, 0.05), (0.02, -0.16, 0.045)]
    for x, y, radius in vessels:
        shift = rng.normal(0, 0.006, 2)
        blend(image, Oval(x + shift[0], y + shift[1], radius, radius).mask(grid, 0.02), blood)
    if position > 0.45:
        chamber = Oval(0.12, -0.14, 0.24 * patient.heart, 0.17 * patient.heart, turn=0.35)
        blend(image, 0.8 * chamber.mask(grid, 0.06), blood)
    airways = [(0.0, 0.12, 0.05)] if position < 0.4 else [(-0.12, 0.07, 0.038), (0.12, 0.07, 0.034)]
    if position < 0.75:
        for x, y, radius in airways:
            blend(image, Oval(x, y, radius + 0.012, radius + 0.012).mask(grid), MUSCLE_HU)
            blend(image, Oval(x, y, radius, radius * 0.9).mask(grid), -970.0)


def _draw_diaphragm(
    image: Field,
    grid: Grid,
    masks: dict[int, Field],
    position: float,
    rng: np.random.Generator,
) -> None:
    """The domes of the diaphragm rise into the lowest slices, blurred by breathing."""
    for side, first in ((-1, 0.78), (1, 0.86)):
        grown = (position - first) / (1 - first)
        if grown > 0:
            radius = 0.08 + 0.17 * grown
            dome = Oval(side * 0.36, -0.02 + rng.normal(0, 0.03), radius, 1.2 * radius)
            blend(image, masks[side] * dome.mask(grid, 0.07), MUSCLE_HU + 10)


def _scan(image: Field, patient: Patient, rng: np.random.Generator) -> Field:
    """Lay the patient down, turned and off centre, and add the scanner's noise."""
    size = image.shape[0]
    turn, shift_x, shift_y = patient.pose
    picture = Image.fromarray(image).rotate(
        turn * 180 / pi,
        resample=Image.Resampling.BICUBIC,
        translate=(shift_x * size / 2, shift_y * size / 2),
        fillcolor=AIR_HU,
    )
    pixels = np.asarray(picture, dtype=np.float32)
    dose = np.clip((pixels + 1100) / 700, 0.4, 1)  # air is quieter than tissue
    noise = patient.noise_hu * dose * smooth_noise(rng, size, max(patient.grain, 0.5 / size))
    result: Field = pixels + noise.astype(np.float32)
    return result
