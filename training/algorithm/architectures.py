"""Which networks there are: depth → what ``model.json`` calls the kind of network."""

from training.algorithm.table import IMAGENET_DEPTHS, SMALL_IMAGE_DEPTHS

ARCHITECTURE = "monai.resnet-2d"
SMALL_ARCHITECTURE = "resnet-2d-small-images"
ARCHITECTURES = {
    **dict.fromkeys(IMAGENET_DEPTHS, ARCHITECTURE),
    **dict.fromkeys(SMALL_IMAGE_DEPTHS, SMALL_ARCHITECTURE),
}
