"""What the demo drops: unseen slices under names that tell nothing, and one broken file."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from local.demo import BROKEN, PARAMETERS, write_inbox
from local.options import TEMPLATE
from local.parameters import resolve_parameters
from local.template import read_template
from training.datasets.phantoms import CLASSES


def test_the_inbox_holds_both_classes_under_neutral_names(tmp_path: Path) -> None:
    truth = write_inbox(tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    assert files == {*truth, BROKEN}
    assert sorted(set(truth.values())) == sorted(CLASSES)
    assert not any("covid" in name for name in files)
    order = [truth[name] for name in sorted(truth)]
    assert order not in (sorted(order), sorted(order, reverse=True))


def test_the_broken_file_cannot_be_read_as_a_picture(tmp_path: Path) -> None:
    write_inbox(tmp_path)
    with (
        pytest.raises(OSError, match="truncated"),
        Image.open(BytesIO((tmp_path / BROKEN).read_bytes())) as image,
    ):
        image.load()


def test_the_template_takes_the_demos_parameters() -> None:
    declared = read_template(TEMPLATE)["Parameters"]
    assert resolve_parameters(declared, PARAMETERS).items() >= PARAMETERS.items()
