"""Files made to do harm, after what broke other programs: each ends in its code, soon and small.

Classes of VU#536588 (forged sizes, wide Rows, palettes, run lengths), of Pillow's and pydicom's
advisories, and of zip bombs. They are read in a process with a limit on its memory and time.
"""

import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from tests.functions.builders import REPOSITORY
from tests.functions.imaging.inputs import at, dataset, dicom, nifti, phantom, saved, volume, zipped
from tests.functions.test_pictures import SIGNATURE, chunk, raw_png

AFFINE = np.diag([-4.0, -4.0, 5.0, 1.0])
READER = """
import json, sys
from pathlib import Path
from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.reading import read
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        found[path.name] = f"{len(read(path.read_bytes(), Limits()).planes)} planes"
    except UploadRejected as fault:
        found[path.name] = fault.code
print(json.dumps(found))
"""


def element(tag: bytes, kind: bytes, value: bytes) -> bytes:
    return tag + kind + len(value).to_bytes(2, "little") + value


def with_rows(kind: bytes, value: bytes) -> bytes:
    """A DICOM file whose Rows have another type and value."""
    body = dicom()
    usual = element(b"\x28\0\x10\0", b"US", (64).to_bytes(2, "little"))
    assert body.count(usual) == 1
    return body.replace(usual, element(b"\x28\0\x10\0", kind, value))


def run_lengths(header: bytes, data: bytes = b"", **attributes: int) -> bytes:
    made = dataset(phantom(), **attributes)
    made.PixelData = pydicom.encaps.encapsulate([header.ljust(64, b"\0") + data])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = RLELossless
    return saved(made)


def offsets(*places: int) -> bytes:
    return struct.pack(f"<{1 + len(places)}I", len(places), *places)


def palette_beyond_its_end() -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 3, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 64) * 64))
    return SIGNATURE + header + chunk(b"PLTE", b"\1\2\3") + pixels + chunk(b"IEND", b"")


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one directory of (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in entries
    )
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following)


GREY = ((258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))
SIZE = ((256, 4, 1, 64), (257, 4, 1, 64))


def zip_that_lies() -> bytes:
    """The directory says 10 bytes; there are 64 MiB."""
    body = bytearray(zipped({"a.dcm": bytes(64 << 20)}))
    place = body.index(b"PK\x01\x02") + 24
    body[place : place + 4] = (10).to_bytes(4, "little")
    return bytes(body)


def zip_that_overlaps() -> bytes:
    """Ten entries of the directory show one and the same 20 MiB (D. Fifield, 2019)."""
    body = zipped({"a.dcm": bytes(20 << 20)})
    start, end = body.index(b"PK\x01\x02"), body.index(b"PK\x05\x06")
    entry, tail = body[start:end], bytearray(body[end:])
    tail[8:12] = struct.pack("<HH", 10, 10)
    tail[12:16] = struct.pack("<I", 10 * len(entry))
    return body[:start] + entry * 10 + bytes(tail)


def twice_the_same_name() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.dcm", at(5))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.dcm", at(10))
    return buffer.getvalue()


def gzipped(body: bytes, said: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(body) + packer.flush()
    return packed[:-4] + said.to_bytes(4, "little")


VOLUME = volume().transpose(2, 1, 0)[::-1]
HEADER = nifti(VOLUME, AFFINE)[:352]

CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "rows of 32 bit": (lambda: with_rows(b"UL", (2**32 - 1).to_bytes(4, "little")), "too_many"),
    "rows that overflow": (lambda: with_rows(b"UL", (2**16 + 64).to_bytes(4, "little")), "too_m"),
    "negative rows": (lambda: with_rows(b"SS", b"\xff\xff"), "damaged_image"),
    "rows as text": (lambda: with_rows(b"LO", b"64"), "damaged_image"),
    "two rows": (lambda: with_rows(b"US", bytes([64, 0, 64, 0])), "damaged_image"),
    "no run": (lambda: run_lengths(offsets(64, 64)), "damaged_image"),
    "runs behind the end": (lambda: run_lengths(offsets(64, 2**31)), "damaged_image"),
    "runs that go backwards": (lambda: run_lengths(offsets(2**32 - 1, 64)), "damaged_image"),
    "too many runs": (lambda: run_lengths(b"\xff\xff\xff\xff"), "damaged_image"),
    "runs for a square of 65,535": (
        lambda: run_lengths(offsets(64, 70), bytes(20), Rows=65535, Columns=65535),
        "too_many_pixels",
    ),
    "samples of 64 bit": (lambda: dicom(BitsAllocated=64, BitsStored=64), "unsupported_depth"),
    "bits beyond the sample": (lambda: dicom(BitsStored=17, HighBit=16), "damaged_image"),
    "a palette of one colour": (palette_beyond_its_end, "1 planes"),
    "a picture in a text chunk": (
        lambda: SIGNATURE + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(90 << 20))),
        "damaged_image",
    ),
    "a bomb of pixels": (lambda: raw_png(20_000, 20_000), "too_many_pixels"),
    "a directory that follows itself": (lambda: tiff(*SIZE, *GREY, following=8), "damaged_image"),
    "no strips": (lambda: tiff(*SIZE, *GREY), "damaged_image"),
    "a strip of 4 GiB": (
        lambda: tiff(*SIZE, *GREY, (273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 2**32 - 1)),
        "damaged_image",
    ),
    "millions of strips": (
        lambda: tiff(*SIZE, *GREY, (273, 4, 2**30, 8), (278, 4, 1, 1), (279, 4, 2**30, 8)),
        "damaged_image",
    ),
    "a TIFF as wide as can be": (
        lambda: tiff((256, 4, 1, 2**32 - 1), (257, 4, 1, 2**32 - 1), *GREY, (273, 4, 1, 8)),
        "too_many_pixels",
    ),
    "a zip that lies of its size": (zip_that_lies, "no_image|damaged"),
    "a zip whose files overlap": (zip_that_overlaps, "decompression_bomb|damaged"),
    "a zip in which a name stands twice": (twice_the_same_name, "2 planes"),
    "a gzip that lies of its size": (
        lambda: gzipped(nifti(VOLUME, AFFINE), 2**32 - 1),
        "planes|damaged_image",
    ),
    "a header and 100 MiB of nothing": (
        lambda: gzipped(HEADER + bytes(100 << 20), 10),
        "planes|damaged_image|decompression_bomb",
    ),
    "samples that begin nowhere": (
        lambda: nifti(VOLUME, AFFINE, vox_offset=np.inf),
        "damaged_image",
    ),
    "samples that begin far off": (lambda: nifti(VOLUME, AFFINE, vox_offset=2e9), "damaged_image"),
    "a slope that is no number": (
        lambda: nifti(VOLUME, AFFINE, scl_slope=np.nan, scl_inter=np.nan),
        "planes",
    ),
    "sides that overflow": (
        lambda: nifti(VOLUME, AFFINE, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        "too_many_pixels|too_large_decoded",
    ),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each case, all read by one process: what ends that fails every test."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in CASES.items():
        (folder / name).write_bytes(make())
    ran = subprocess.run(
        [sys.executable, "-c", READER, folder],
        env={"PYTHONPATH": str(REPOSITORY / "functions"), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        preexec_fn=limited,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    outcomes: dict[str, str] = json.loads(ran.stdout)
    return outcomes


@pytest.mark.parametrize("name", CASES)
def test_what_is_made_to_do_harm_ends_in_its_code(name: str, found: dict[str, str]) -> None:
    assert any(part in found[name] for part in CASES[name][1].split("|")), found[name]
