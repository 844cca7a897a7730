"""What intake's decoding costs beside the bare library calls that do the same work.

`PYTHONPATH=functions python benchmarks/intake.py` prints, for each format, per slice: the
libraries' own decode, window, resize and PNG; `normalise`, which also checks, turns, looks for lung
and sums up; and `normalise` in the sandbox, a process for each upload. They run in turn, in short
rounds. Processor time is that of all processes involved, and the lower quartile of the rounds is
taken: what else runs on a machine only ever adds. Time by the clock says something only on an idle
machine (`taskset -c 0` shows one core). A DICOM file given as an argument is measured instead.
"""

import gzip
import io
import os
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "benchmark")

from tomodrop.imaging.normaliser import normalise, warm_up
from tomodrop.sandbox.parent import Sandbox

SHAPE = (3, 224, 224)
# Slices of a volume; single slices in each round.
ROUNDS, SLICES, SINGLES = 9, 24, 12
Pixels = NDArray[Any]


@dataclass(frozen=True)
class Upload:
    """An upload of one format, and how the bare libraries decode it."""

    name: str
    body: bytes
    slices: int
    bare: Callable[[bytes], None]


def phantom(place: int = 0) -> Pixels:
    """Hounsfield units of 512 x 512 with noise: they compress about as well as a CT does."""
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    values = np.where(x**2 + (y / 0.8) ** 2 < 0.8, 40.0, -1000.0)
    for centre in (-0.4, 0.4):
        values[((x - centre) / 0.25) ** 2 + (y / 0.4) ** 2 < 1] = -850.0
    noise = np.random.default_rng(place).normal(0.0, 15.0, values.shape)
    return np.asarray(values + noise).astype(np.int16)


def dicom(place: int = 0, *, compressed: bool = False) -> bytes:
    """A CT slice as DICOM, uncompressed or in JPEG 2000."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.SeriesInstanceUID, made.Modality = "1.2.3", "CT"
    made.Rows = made.Columns = 512
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 1, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.RescaleSlope, made.RescaleIntercept = 1, 0
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = [-175, -175, place]
    made.PixelSpacing = [0.7, 0.7]
    made.PixelData = phantom(place).tobytes()
    if compressed:
        made.compress(JPEG2000Lossless, generate_instance_uid=False)
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def picture(kind: str) -> bytes:
    """The slice as an 8-bit picture."""
    file = io.BytesIO()
    Image.fromarray(windowed(phantom().astype(np.float32))).save(file, kind)
    return file.getvalue()


def nifti() -> bytes:
    """A gzipped volume."""
    samples = np.stack([phantom(place).T for place in range(SLICES)], axis=2)
    image = nibabel.Nifti1Image(samples, np.diag([-0.7, -0.7, 1.0, 1.0]))
    return gzip.compress(image.to_bytes(), 6)


def zipped() -> bytes:
    """A series in a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(SLICES):
            archive.writestr(f"{place}.dcm", dicom(place))
    return file.getvalue()


def windowed(hounsfield: Pixels) -> Pixels:
    """The lung window, as numpy's users write it."""
    return np.asarray(np.clip((hounsfield + 1350.0) / 1500.0, 0.0, 1.0) * 255.0).astype(np.uint8)


def finish(image: Image.Image) -> None:
    """What follows decoding."""
    resized = image.resize(SHAPE[1:], Image.Resampling.BILINEAR).convert("RGB")
    resized.save(io.BytesIO(), "PNG", compress_level=1)


def bare_dicom(body: bytes) -> None:
    """As pydicom's users do."""
    read = pydicom.dcmread(io.BytesIO(body))
    samples = read.pixel_array.astype(np.float32)
    values = samples * float(read.RescaleSlope) + float(read.RescaleIntercept)
    finish(Image.fromarray(windowed(values)))


def bare_zip(body: bytes) -> None:
    """File by file."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        for name in archive.namelist():
            bare_dicom(archive.read(name))


def bare_nifti(body: bytes) -> None:
    """As nibabel's users do."""
    samples = nibabel.Nifti1Image.from_bytes(gzip.decompress(body)).get_fdata(dtype=np.float32)
    for place in range(samples.shape[2]):
        finish(Image.fromarray(windowed(samples[:, :, place].T)))


def bare_picture(body: bytes) -> None:
    """As Pillow's users do."""
    finish(Image.open(io.BytesIO(body)).convert("L"))


def uploads() -> list[Upload]:
    """One upload of each format."""
    return [
        Upload("DICOM, uncompressed", dicom(), 1, bare_dicom),
        Upload("DICOM, JPEG 2000", dicom(compressed=True), 1, bare_dicom),
        Upload("DICOM, zip of a series", zipped(), SLICES, bare_zip),
        Upload("NIfTI, gzip", nifti(), SLICES, bare_nifti),
        Upload("PNG", picture("PNG"), 1, bare_picture),
        Upload("JPEG", picture("JPEG"), 1, bare_picture),
    ]


@dataclass(frozen=True)
class Cost:
    """Milliseconds per slice, of processors and by the clock."""

    processor: float
    clock: float


def used(processes: Sequence[int]) -> float:
    """Processor seconds of this process, of others, and of those that ended under them."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def cost(run: Callable[[], object], slices: int, processes: Sequence[int]) -> Cost:
    """Of running a way a few times."""
    repeats = max(1, SINGLES // slices)
    processor, clock = used(processes), time.perf_counter()
    for _ in range(repeats):
        run()
    spent = used(processes) - processor, time.perf_counter() - clock
    return Cost(*(1000 * seconds / (repeats * slices) for seconds in spent))


def quartile(costs: list[Cost]) -> Cost:
    """The lower quartile of each kind of time."""
    place = len(costs) // 4
    return Cost(
        sorted(one.processor for one in costs)[place], sorted(one.clock for one in costs)[place]
    )


def measure(upload: Upload, sandbox: Sandbox) -> list[Cost]:
    """Bare, ours, and ours in the sandbox."""
    ways: list[Callable[[], object]] = [
        lambda: upload.bare(upload.body),
        lambda: normalise(upload.body, SHAPE),
        lambda: sandbox.normalise(upload.body),
    ]
    assert len(sandbox.normalise(upload.body)) == upload.slices
    costs: list[list[Cost]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, found in zip(ways, costs, strict=True):
            found.append(cost(way, upload.slices, tuple(sandbox.processes.values())))
    return [quartile(found) for found in costs]


def start_s(body: bytes) -> float:
    """Seconds from nothing to the first slice."""
    started = time.perf_counter()
    with Sandbox(SHAPE) as sandbox:
        sandbox.normalise(body)
        return time.perf_counter() - started


def given(path: Path) -> Upload:
    """A DICOM file of one slice."""
    return Upload(path.name, path.read_bytes(), 1, bare_dicom)


def main() -> None:
    """Print the figures, and the start of each warm process."""
    warm_up()
    print(f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")
    print("| per slice, ms | bare | ours | in the sandbox | slices/s | by the clock |")
    print("|---|---|---|---|---|---|")
    with Sandbox(SHAPE) as sandbox:
        for upload in [given(Path(name)) for name in sys.argv[1:]] or uploads():
            bare, ours, boxed = measure(upload, sandbox)
            print(
                f"| {upload.name} | {bare.processor:.2f} "
                f"| {ours.processor:.2f} ({ours.processor / bare.processor - 1:+.0%}) "
                f"| {boxed.processor:.2f} ({boxed.processor / bare.processor - 1:+.0%}) "
                f"| {1000 / boxed.processor:.0f} "
                f"| {bare.clock:.1f} → {boxed.clock:.1f} ({boxed.clock / bare.clock - 1:+.0%}) |",
                flush=True,
            )
    for name, body in (("pictures", picture("PNG")), ("all formats", dicom())):
        print(f"start for {name}: {start_s(body):.2f} s")


if __name__ == "__main__":
    main()
