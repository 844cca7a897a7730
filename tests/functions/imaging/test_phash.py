"""The perceptual hash is the one that `training/datasets` measured; alpha and loss are said."""

import imagehash
import numpy as np
import pytest
from PIL import Image

from tests.functions.builders import encoded, gradient
from tomodrop.imaging.normaliser import normalise
from tomodrop.imaging.phash import phash

PICTURES = {
    "gradient": gradient((224, 224)),
    "gradient turned": gradient((224, 224)).transpose(Image.Transpose.ROTATE_90),
    "noise": Image.effect_noise((224, 224), 60),
    "circle": Image.radial_gradient("L").resize((224, 224)),
    "small": gradient((32, 32)),
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_the_hash_is_imagehash_s(picture: Image.Image) -> None:
    bits = imagehash.phash(picture, hash_size=16).hash
    assert phash(picture) == np.packbits(bits).tobytes().hex()


def test_a_plain_picture_has_a_hash_too() -> None:
    assert phash(Image.new("L", (64, 64))) == "0" * 64


def test_the_index_names_the_hash_of_what_the_model_sees() -> None:
    (made,) = normalise(encoded(gradient((64, 64))), (3, 64, 64))
    assert made.pixels
    assert made.pixels.phash == phash(gradient((64, 64)))


@pytest.mark.parametrize(
    ("kind", "mode", "said"),
    [
        ("PNG", "L", {}),
        ("PNG", "LA", {"alpha": "opaque"}),
        ("PNG", "RGBA", {"alpha": "opaque"}),
        ("JPEG", "L", {"lossy": True}),
        ("TIFF", "RGBA", {"alpha": "opaque"}),
    ],
)
def test_the_source_s_alpha_and_loss_are_said(
    kind: str, mode: str, said: dict[str, object]
) -> None:
    (made,) = normalise(encoded(gradient().convert(mode), kind), (3, 64, 64))
    assert {name: made.processing.get(name) for name in said} == said
    assert len({"alpha", "lossy"} & made.processing.keys()) == len(said)


def test_a_transparent_pixel_is_seen() -> None:
    picture = gradient().convert("RGBA")
    picture.putpixel((3, 3), (10, 10, 10, 0))
    (made,) = normalise(encoded(picture), (3, 64, 64))
    assert made.processing["alpha"] == "transparent"
    palette = encoded(gradient().convert("P"), transparency=3)
    (made,) = normalise(palette, (3, 64, 64))
    assert "alpha" in made.processing
