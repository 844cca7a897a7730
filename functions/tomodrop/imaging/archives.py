"""A zip of a series or a study as one volume. Nothing is unpacked to disk; names are not used as
paths.

DICOM comes first: of several series the one with most slices is read, the others are named among
what was left out. Without DICOM, one NIfTI file is read, or pictures in the order of their names.
"""

import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom import volume_of as dicom_volume
from tomodrop.imaging.dicom_frames import Frame, frames_of, named
from tomodrop.imaging.formats import PICTURES, Format, sniff
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.nifti import read_nifti
from tomodrop.imaging.picture_volume import volume_of as picture_volume
from tomodrop.imaging.pictures import Picture, decode
from tomodrop.imaging.refusals import CHECK_AND_REPEAT, check_inflation, damaged, too_large_decoded
from tomodrop.imaging.volume import Volume

_READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ARCHIVES = (Format.ZIP, Format.GZIP, Format.OTHER_ARCHIVE)
_NIFTIS = (Format.NIFTI, Format.NIFTI_GZ)
# What file managers and media add. Names beginning with "._" are macOS's.
_JUNK = frozenset({".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})
_PLAIN_ZIP = "Make a plain zip of one folder that holds the image files."
_ENCRYPTED = 0x1
# What costs not only the file that has it.
_OF_THE_WHOLE = frozenset({"nested_archive", "decompression_bomb", "too_large_decoded"})


@dataclass
class _Found:
    """What the files of an archive turned out to be, each with its label."""

    frames: list[Frame] = field(default_factory=list)
    niftis: list[tuple[str, bytes]] = field(default_factory=list)
    pictures: list[tuple[str, str, Picture]] = field(default_factory=list)
    refused: list[tuple[str, UploadRejected]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    held_bytes: int = 0

    def hold(self, size: int, limits: Limits) -> None:
        """Count pixels that are kept: each file may be small and decompress to much."""
        self.held_bytes += size
        if self.held_bytes > limits.max_decoded_bytes:
            raise too_large_decoded(limits)


def read_archive(body: bytes, limits: Limits) -> Volume:
    """The volume in a zip.

    Raises
    ------
    UploadRejected
        `damaged_archive`, `encrypted_archive`, `unsafe_archive`, `unsupported_archive`,
        `nested_archive`, `too_many_files`, `several_volumes`, `no_image`, a code of the limits, or
        the code of all its files if they share one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            found = _sorted(archive, _members(archive, len(body), limits), limits)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
        raise UploadRejected(
            "damaged_archive", "The zip is damaged or cut off.", CHECK_AND_REPEAT
        ) from None
    left_out = tuple([named(label, fault) for label, fault in found.refused] + found.other)
    if found.frames:
        return _series(found, left_out, limits)
    if found.niftis:
        return _nifti(found, left_out, limits)
    if found.pictures:
        return _pictures(found, left_out, limits)
    raise _nothing(found)


def _members(archive: zipfile.ZipFile, size: int, limits: Limits) -> list[zipfile.ZipInfo]:
    """The files that may hold images, once nothing in the directory speaks against it."""
    listed = archive.infolist()
    if len(listed) > limits.max_archive_files:
        raise UploadRejected(
            "too_many_files",
            f"The zip holds {len(listed)} files; at most {limits.max_archive_files} are read.",
            "Upload one series per zip.",
        )
    for member in listed:
        _check_member(member)
    members = [member for member in listed if not member.is_dir() and not _is_junk(member)]
    check_inflation(size, sum(member.file_size for member in members), limits)
    return members


def _check_member(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise UploadRejected("encrypted_archive", "The zip is encrypted.", _PLAIN_ZIP)
    name = member.orig_filename.replace("\\", "/")
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if is_link or name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
        raise UploadRejected(
            "unsafe_archive",
            "The zip holds a link, or a path that leads out of it.",
            _PLAIN_ZIP,
        )
    if member.compress_type not in _READ_METHODS:
        raise UploadRejected(
            "unsupported_archive", "The zip is compressed by another method.", _PLAIN_ZIP
        )


def _is_junk(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    name = path.name.lower()
    return name in _JUNK or name.startswith("._") or "__MACOSX" in path.parts


def _sorted(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], limits: Limits) -> _Found:
    found = _Found()
    for place, member in enumerate(members, start=1):
        label = f"file {place} of {len(members)}"
        try:
            _sort(_content(archive, member), member.filename, label, found, limits)
        except UploadRejected as fault:
            if fault.code in _OF_THE_WHOLE:
                raise
            found.refused.append((label, fault))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - pydicom may raise anything on hostile bytes
            found.refused.append((label, damaged("file")))
    return found


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, EOFError):
        raise damaged("file") from None


def _sort(content: bytes, name: str, label: str, found: _Found, limits: Limits) -> None:
    kind = sniff(content)
    if kind in _ARCHIVES:
        raise UploadRejected(
            "nested_archive", "The zip holds another archive.", "Upload one plain zip per series."
        )
    if kind is Format.DICOM:
        made = frames_of(content, limits, label)
        if made.frames:
            found.hold(len(made.frames[0].dataset.PixelData), limits)
        found.frames += made.frames
        found.refused += made.refused
    elif kind in _NIFTIS:
        found.niftis.append((label, content))
    elif kind in PICTURES:
        picture = decode(content, limits)
        found.hold(sum(page.nbytes for page in picture.pages), limits)
        found.pictures.append((label, name, picture))
    else:
        found.other.append(f"{label}: no image of a format that is read")


def _series(found: _Found, left_out: tuple[str, ...], limits: Limits) -> Volume:
    series: dict[str, list[Frame]] = {}
    for frame in found.frames:
        series.setdefault(frame.series, []).append(frame)
    chosen = max(series.values(), key=len)
    others = tuple(
        f"series {place} of {len(series)} ({len(frames)} slices): another series has more"
        for place, frames in enumerate(series.values(), start=1)
        if frames is not chosen
    )
    beside = _beside_dicom(found)
    volume = dicom_volume(chosen, (*left_out, *others, *beside), limits)
    return _counted(volume, len(series))


def _beside_dicom(found: _Found) -> Iterator[str]:
    for label in [label for label, _ in found.niftis] + [label for label, *_ in found.pictures]:
        yield f"{label}: no DICOM, as others are"


def _counted(volume: Volume, series: int) -> Volume:
    processing = volume.processing | {"archive": "zip", "series_count": series}
    return Volume(volume.planes, processing, volume.warnings, volume.left_out)


def _nifti(found: _Found, left_out: tuple[str, ...], limits: Limits) -> Volume:
    if len(found.niftis) > 1:
        raise UploadRejected(
            "several_volumes",
            f"The zip holds {len(found.niftis)} NIfTI volumes.",
            "Upload each by itself.",
        )
    beside = tuple(f"{label}: no NIfTI, as another is" for label, *_ in found.pictures)
    volume = read_nifti(found.niftis[0][1], limits)
    whole = Volume(
        volume.planes,
        volume.processing,
        volume.warnings,
        (*volume.left_out, *left_out, *beside),
    )
    return _counted(whole, 1)


def _pictures(found: _Found, left_out: tuple[str, ...], limits: Limits) -> Volume:
    """Pictures of the size and depth that most have, in natural order of their names."""
    in_order = sorted(found.pictures, key=lambda entry: _natural(entry[1]))
    shapes = Counter(_shape(picture) for _, _, picture in in_order)
    usual, _ = shapes.most_common(1)[0]
    kept = [picture for _, _, picture in in_order if _shape(picture) == usual]
    others = tuple(
        f"{label}: another size or depth"
        for label, _, picture in in_order
        if _shape(picture) != usual
    )
    return _counted(picture_volume(kept, limits, (*left_out, *others)), 1)


def _shape(picture: Picture) -> tuple[tuple[int, ...], int]:
    return picture.pages[0].shape, picture.bits


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts "10" after "9"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _nothing(found: _Found) -> UploadRejected:
    codes = Counter(fault.code for _, fault in found.refused)
    if len(codes) == 1 and not found.other:
        return found.refused[0][1]
    reasons = [f"{code} ({count})" for code, count in sorted(codes.items())]
    if found.other:
        reasons.append(f"no image ({len(found.other)})")
    return UploadRejected(
        "no_image",
        f"The zip holds no image that can be classified: {', '.join(reasons) or 'it is empty'}.",
        "Upload a zip with the DICOM files of one axial CT series.",
    )
