"""Which DICOM objects are CT images that can be classified: the others have a code each."""

from pydicom.dataset import Dataset

from tomodrop.errors import UploadRejected
from tomodrop.imaging.dicom_values import group, value, word, words
from tomodrop.imaging.refusals import damaged

_CLASSES = "1.2.840.10008.5.1.4.1.1."
# CT, enhanced CT, legacy converted enhanced CT (DICOM PS3.6 annex A).
_CT_CLASSES = frozenset({f"{_CLASSES}2", f"{_CLASSES}2.1", f"{_CLASSES}2.2"})
_SECONDARY_CAPTURE = f"{_CLASSES}7"
# Presentation states, structured reports and key objects, encapsulated documents.
_REPORT_CLASSES = (f"{_CLASSES}11.", f"{_CLASSES}88.", f"{_CLASSES}104.")
_SEGMENTATION_CLASSES = (f"{_CLASSES}66.", f"{_CLASSES}481.3")
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_REPORTS = frozenset({"SR", "PR", "KO", "DOC", "PLAN", "REG", "FID", "RTPLAN", "RTRECORD"})
_SEGMENTATIONS = frozenset({"SEG", "RTSTRUCT"})
# Named to the user, for they are words of the standard (PS3.3 C.7.3.1.1.1).
_OTHER_MODALITIES = frozenset(
    {"BI", "CR", "DX", "ECG", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT"}
    | {"PX", "RF", "RG", "RTDOSE", "RTIMAGE", "SM", "US", "XA", "XC"}
)
_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
_REPORT_TYPES = frozenset({"DOSE_INFO", "DOSE", "REPORT", "PROTOCOL", "SCREEN SAVE", "SCREENSHOT"})
_MAP_TYPES = frozenset(
    {"PERFUSION", "RCBF", "RCBV", "MTT", "TTP", "CBF", "CBV", "TMAX", "PERMEABILITY", "FUSED"}
    | {"VRT", "SSD", "3D", "VOLUME_RENDERED", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "IODINE"}
    | {"CALCIUM", "MATERIAL_SPECIFIC"}
)
_HOUNSFIELD = frozenset({"", "HU", "HU_MOD", "US", "UNSPECIFIED"})
_ORIGINAL = "Upload the original axial CT series."


def check_object(dataset: Dataset) -> None:
    """Raise for what is no CT image.

    Raises
    ------
    UploadRejected
        `no_image`, `derived_report`, `segmentation`, `wrong_modality` or `damaged_image`
    """
    sop_class, modality = word(dataset, "SOPClassUID"), word(dataset, "Modality")
    if not sop_class:
        sop_class = word(getattr(dataset, "file_meta", Dataset()), "MediaStorageSOPClassUID")
    if sop_class == _DIRECTORY_CLASS:
        raise _no_image("a DICOMDIR, the table of contents of a medium")
    if modality in _REPORTS or sop_class.startswith(_REPORT_CLASSES):
        raise _report("a report, a presentation state or a document")
    if modality in _SEGMENTATIONS or sop_class.startswith(_SEGMENTATION_CLASSES):
        raise UploadRejected("segmentation", "The file is a segmentation, not a CT.", _ORIGINAL)
    if modality != "CT" and (modality or sop_class not in _CT_CLASSES):
        named = modality if modality in _OTHER_MODALITIES else "not given or unknown"
        raise UploadRejected(
            "wrong_modality", f"The modality is {named}; only CT is classified.", _ORIGINAL
        )
    if sop_class.startswith(_SECONDARY_CAPTURE) and not _is_placed(dataset):
        raise _report("a screen capture or a dose report")
    if value(dataset, "Rows") is None:
        # A CT that lost its size was cut off: pydicom drops everything then.
        raise damaged("file") if sop_class in _CT_CLASSES else _no_image("a DICOM without pixels")


def has_pixels(dataset: Dataset) -> bool:
    """Whether there is pixel data, decoded or not."""
    return "PixelData" in dataset and bool(dataset.get_item("PixelData").value)


def _is_placed(dataset: Dataset) -> bool:
    return all(
        value(dataset, keyword) is not None
        for keyword in ("ImageOrientationPatient", "RescaleIntercept")
    )


def check_kind(dataset: Dataset, frame: int) -> None:
    """Raise for CT frames that show no slice, or another quantity than attenuation.

    Raises
    ------
    UploadRejected
        `localizer`, `derived_report` or `derived_image`
    """
    kinds = {*words(dataset, "ImageType")}
    kinds |= {*words(group(dataset, frame, "CTImageFrameTypeSequence"), "FrameType")}
    if kinds & _LOCALIZERS:
        raise UploadRejected(
            "localizer", "The image is a localizer, an overview to plan the scan.", _ORIGINAL
        )
    if kinds & _REPORT_TYPES:
        raise _report("a screen capture or a dose report")
    unit = word(group(dataset, frame, "PixelValueTransformationSequence"), "RescaleType")
    is_grey = word(dataset, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    if kinds & _MAP_TYPES or unit not in _HOUNSFIELD or not is_grey:
        raise UploadRejected(
            "derived_image",
            "The image is a map, a rendering or in colour: its pixels are no Hounsfield units.",
            _ORIGINAL,
        )


def _report(what: str) -> UploadRejected:
    return UploadRejected("derived_report", f"The file is {what}, not a CT slice.", _ORIGINAL)


def _no_image(what: str) -> UploadRejected:
    return UploadRejected("no_image", f"The file is {what}.", _ORIGINAL)
