"""ModelSpec: what any engine must know to run a model on an image. Written by `model`, read by `line`."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.core.image import to_channels
from flawsmith.core.prediction import Prediction, image_score
from flawsmith.core.tiles import Tiling, tiled


class ModelSpec(Settings):
    """The contract of a network, whatever runs it.

    The network maps (N, H, W, channels) of uint8 or uint16 (`bit_depth`) to float32 (N, K, H, W) raw scores in [0, 1],
    one plane per kind; H and W are multiples of `stride`. Preprocessing is inside it. `margin` is the radius, in
    pixels, beyond which a pixel has no influence: it makes tiling seam-free (see `core.tiles`).
    """

    task: Literal["segment"] = "segment"
    kinds: tuple[str, ...] = Field(min_length=1)
    channels: Literal[1, 3] = 1
    bit_depth: Literal[8, 16] = 8
    stride: int = Field(default=16, ge=1)
    margin: int = Field(default=128, ge=0)
    max_side: int = Field(default=1408, ge=64)
    sides: tuple[int, int] | None = None  # the shortest and the longest side of the images it was trained on

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.stride, self.margin, self.max_side)


Run = Callable[[np.ndarray], np.ndarray]


def predict_image(run: Run, image: np.ndarray, spec: ModelSpec, roi: np.ndarray | None = None) -> Prediction:
    """One image through a network in seam-free tiles; training and serving both come through here.

    run:  (1, h, w, channels) integer array to (1, K, h, w) float32
    roi:  bool (H, W); scores outside it are 0

    Raises `DataError` when the image's bit depth, its size (half the shortest to twice the longest side of training) or
    the ROI's size is not what the model was made for.
    """
    depth = 8 * image.dtype.itemsize
    if depth != spec.bit_depth:
        raise DataError(f"the image has {depth} bits a channel, the model was trained on {spec.bit_depth}")
    height, width = image.shape[:2]
    if spec.sides and (2 * min(height, width) < spec.sides[0] or max(height, width) > 2 * spec.sides[1]):
        raise DataError(
            f"the image is {width}x{height}, the model was trained on sides of {spec.sides[0]} to {spec.sides[1]} px: "
            "it shows another thing or scale"
        )
    if roi is not None and roi.shape != image.shape[:2]:
        raise DataError(f"the region of interest is {roi.shape}, the image {image.shape[:2]}; make them equal")
    pixels = to_channels(image, spec.channels).reshape(*image.shape[:2], spec.channels)
    maps = tiled(lambda tile: run(tile[None])[0], pixels, spec.tiling)
    if not np.isfinite(maps).all():
        raise DataError("the model gave scores that are not numbers; it must not be used")
    if roi is not None:
        maps *= roi
    return Prediction(spec.kinds, maps, image_score(maps))
