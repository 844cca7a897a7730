"""From the bytes of a picture to pixels of ``image_shape``, varied or not.

With neither ``resize`` nor ``augmentation_type`` an image is brought to ``image_shape`` as it is
when serving, so that both see the same pixels. With either of them its way is the built-in's:
shortest side to ``resize``, then a crop.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.algorithm.augment import vary_ct
from training.algorithm.combinations import CT
from training.algorithm.crops import KINDS, crop_centre, resize_shortest, vary_crop
from training.algorithm.images import Pixels, as_pixels, decode_image, decode_picture


@dataclass(frozen=True, slots=True)
class Preparation:
    """What happens to each image; ``augmentation`` is "ct", one of ``crops.KINDS``, or None."""

    image_shape: tuple[int, int, int]
    resize: int | None = None
    augmentation: str | None = CT

    def __call__(self, encoded: bytes, draw: np.random.Generator | None) -> Pixels:
        """Decode one image; varied by ``draw`` unless that is None.

        :raises UndecodableImageError: when it is no PNG or JPEG.
        :raises BadSampleError: when it is smaller than ``image_shape`` and must be cropped.
        """
        if draw is not None and self.augmentation in KINDS:
            picture = self._resized(encoded)
            return vary_crop(picture, str(self.augmentation), *self.image_shape[1:], draw)
        if self.resize is None and self.augmentation not in KINDS:
            pixels = decode_image(encoded, self.image_shape)
        else:
            pixels = as_pixels(crop_centre(self._resized(encoded), *self.image_shape[1:]))
        return vary_ct(pixels, draw) if draw is not None and self.augmentation == CT else pixels

    def _resized(self, encoded: bytes) -> Image.Image:
        picture = decode_picture(encoded, self.image_shape[0])
        return resize_shortest(picture, self.resize) if self.resize else picture
