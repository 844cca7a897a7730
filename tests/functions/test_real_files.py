"""Every real file goes the whole way, from an upload to its one JSON."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from moto import mock_aws
from PIL import Image

import collect
import intake
from tests.functions.builders import REPOSITORY, encoded, go_live, results, s3_event, upload
from tests.functions.conftest import Context, create_resources
from tests.functions.test_predictions import VALIDATOR
from tests.functions.test_the_way import jobs, later, transform_ended
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.dispatching import dispatch
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.normaliser import normalise
from tomodrop.imaging.reading import read

DATA = REPOSITORY.parent / "shared" / "ct"
FOLDERS = ("dicom", "nifti", "odd")
FILES = sorted(path for folder in FOLDERS for path in DATA.glob(f"{folder}/**/*") if path.is_file())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILES, reason="the shared development data is absent"),
]
# What is no CT, or is not read, by the folder or the name of the file.
REFUSED = {
    "not_a_ct_slice": {"pngsuite", "broken"},
    "damaged_image": {"pngsuite", "broken"},
    "unsupported_format": {"pngsuite", "broken", "transfer-syntaxes"},
    "unsupported_transfer_syntax": {"transfer-syntaxes"},
    "derived_report": {"transfer-syntaxes"},
    "wrong_modality": {"transfer-syntaxes"},
}
LOSSLESS = (
    *("1.2.dcm", "1.2.1.dcm", "1.2.2.dcm", "1.99.dcm", "1.2.5.dcm"),
    *("4.57.dcm", "4.70.dcm", "4.80.dcm", "4.90.dcm"),
)


def key_of(path: Path) -> str:
    return f"incoming/{path.relative_to(DATA)}"


@pytest.fixture(scope="module")
def documents(connected: App) -> dict[str, Any]:
    """Every file's JSON, by its path under the data."""
    with mock_aws():
        create_resources(connected)
        go_live(connected)
        for start in range(0, len(FILES), 10):
            records = [
                upload(connected, key_of(path), path.read_bytes())
                for path in FILES[start : start + 10]
            ]
            assert intake.handler(s3_event(*records), Context()) == {"batchItemFailures": []}
        while dispatch(connected, later()).jobs:
            pass
        for job in jobs(connected):
            answer_all(connected, job)
            collect.handler(transform_ended(job), Context())
        return results(connected)


def answer_all(app: App, job: str) -> None:
    name = keys.parse_job_name(job, "tomodrop")
    work = app.settings.work_bucket
    manifest = json.loads(objects.read(app.s3, work, keys.job_manifest(name)))
    for entry in manifest[1:]:
        key = f"{keys.job_outputs(name)}{entry}.out"
        objects.write(app.s3, work, key, b'{"prediction": [0.25, 0.75]}', "application/jsonlines")


def test_every_file_ends_in_one_valid_document(documents: dict[str, Any]) -> None:
    assert sorted(document["source"]["key"] for document in documents.values()) == sorted(
        map(key_of, FILES)
    )
    for key, document in documents.items():
        VALIDATOR.validate(document)
        assert key.startswith(
            {"predicted": "predictions/", "rejected": "rejected/"}[document["status"]]
        )


def test_what_is_refused_has_the_right_code(documents: dict[str, Any]) -> None:
    for key, document in documents.items():
        if document["status"] == "rejected":
            code = document["rejection"]["code"]
            assert {*key.split("/")} & REFUSED[code], (key, code)


def test_what_is_a_ct_is_predicted(documents: dict[str, Any]) -> None:
    status = Counter(
        (document["source"]["key"].split("/")[2], document["status"])
        for document in documents.values()
    )
    assert status["lung-dx-a0002", "predicted"] == 30
    assert status["alpha", "predicted"] == 30
    assert status["transfer-syntaxes", "predicted"] == 15
    volumes = [len(one["slices"]) for one in documents.values() if "slices" in one]
    assert sorted(volumes)[-2:] == [12, 30]


def test_what_is_no_ct_is_suspected(documents: dict[str, Any]) -> None:
    brains = [one for key, one in documents.items() if "/not-ct/" in key]
    assert len(brains) == 17
    for document in brains:
        assert any(text.startswith("Out of scope?") for text in document["warnings"])


def test_lossless_transfer_syntaxes_give_the_same_pixels() -> None:
    folder = DATA / "dicom" / "transfer-syntaxes"
    found = [path for path in folder.glob("CTImage.dcm*_*") if path.name.endswith(LOSSLESS)]
    assert len(found) == len(LOSSLESS)
    made = [normalise(path.read_bytes(), (3, 224, 224)) for path in found]
    assert len({slices[0].png for slices in made}) == 1


def test_a_slice_is_the_same_in_every_format_within_one_grey() -> None:
    path = sorted((DATA / "dicom" / "lung-dx-a0002").iterdir())[10]
    (plane,) = read(path.read_bytes(), Limits()).planes
    samples = np.clip(pydicom.dcmread(path).pixel_array.astype(np.int32), 0, 4095)
    volume = nibabel.Nifti1Image(
        (samples - 1024).T[:, :, None].astype(np.int16), np.diag([-0.7, -0.7, 1.0, 1.0])
    )
    deep = Image.fromarray(samples.astype(np.uint16))
    bodies = (volume.to_bytes(), encoded(deep), encoded(deep, "TIFF"))
    for body in bodies:
        (other,) = read(body, Limits()).planes
        difference = np.abs(other.grey.astype(int) - plane.grey)
        assert difference.max() <= 1
