"""ModelSpec: what any engine must know to run a model on an image. Written by `model`, read by `line`."""

import math
from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.core.image import to_channels
from flawsmith.core.orientation import Orientation, RestingPose, read_planes
from flawsmith.core.prediction import Prediction, image_score
from flawsmith.core.tiles import SHAPE_GRID, Tiling, tiled

FAULTY, UNKNOWN = "faulty", "unknown"


class ModelSpec(Settings):
    """The contract of a network, whatever runs it.

    The network maps (N, H, W, channels) of uint8 or uint16 (`bit_depth`) to float32 (N, K, H, W) raw scores in [0, 1],
    one plane per kind; H and W are multiples of `stride`. Preprocessing is inside it. `margin` is the radius, in
    pixels, beyond which a pixel has no influence: it makes tiling seam-free (see `core.tiles`).

    A classifier sees the whole image at `side` × `side` pixels and gives planes of one pixel: the probability of each
    class; "faulty", that of all classes together that are not `healthy`, where some are and some are not; and
    "unknown", how sure it is that the image shows none of them.

    A model of orientation sees the same and gives planes of one pixel too: the probability of each of `poses` at each
    of its bins, "x" and "y" of the centre in shares of the width and the height, and "unknown"; see `core.orientation`.

    A model of anomalies gives one plane like a segmenter's: how far each pixel is from what healthy parts show. `scale`
    is how many pixels of the network one pixel of the image is: images are resized before it. `shape` (H, W) is the
    only size of image that a model takes which knows each position by itself.
    """

    task: Literal["segment", "classify", "orient", "anomaly"] = "segment"
    kinds: tuple[str, ...] = Field(min_length=1)
    healthy: tuple[str, ...] = ()
    side: int | None = Field(default=None, ge=16)
    channels: Literal[1, 3] = 1
    bit_depth: Literal[8, 16] = 8
    stride: int = Field(default=16, ge=1)
    margin: int = Field(default=128, ge=0)
    max_side: int = Field(default=1408, ge=64)
    sides: tuple[int, int] | None = None  # the shortest and the longest side of the images it was trained on
    poses: tuple[RestingPose, ...] = ()
    scale: float = Field(default=1.0, gt=0, le=8)
    shape: tuple[int, int] | None = None

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.stride, self.margin, self.max_side)

    @property
    def window(self) -> tuple[int, int] | None:
        """Height and width of all that the network is ever shown, where that is one size."""
        if self.side is not None:
            return self.side, self.side
        if self.shape is None:
            return None
        grid = math.lcm(self.stride, SHAPE_GRID)
        height, width = (-(-side // grid) * grid for side in scaled_size(self.shape, self.scale))
        return height, width

    @property
    def classes(self) -> tuple[str, ...]:
        """Of a classifier: its kinds that an image can be labelled as. Of a model of orientation: its poses."""
        if self.poses:
            return tuple(f"pose {pose.number}" for pose in self.poses)
        return tuple(kind for kind in self.kinds if kind not in (FAULTY, UNKNOWN))

    @model_validator(mode="after")
    def _fits_its_task(self) -> "ModelSpec":
        if (self.task in ("classify", "orient")) != (self.side is not None):
            raise ValueError("a model of whole images has a side, in pixels, and no other has")
        if self.task != "anomaly" and (self.scale != 1 or self.shape is not None):
            raise ValueError("scale and shape are of models of anomalies, and no other has them")
        if (self.task == "orient") != bool(self.poses):
            raise ValueError("a model of orientation has poses, and no other model has")
        if strangers := sorted(set(self.healthy) - set(self.kinds)):
            raise ValueError(f"healthy names {strangers}, which are not among the kinds {list(self.kinds)}")
        return self

    @model_serializer(mode="wrap")
    def _without_what_it_has_not(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A model's identity is made of this text, so a field that other models lack must not be in theirs."""
        absent = {"poses": not self.poses, "scale": self.scale == 1, "shape": self.shape is None}
        return {key: value for key, value in dump(self).items() if not absent.get(key, False)}


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
    if spec.side is not None:
        maps = _finite(run(fitted(image, spec, roi)[None])[0])
        return Prediction(spec.kinds, maps, class_score(maps[:, 0, 0], spec))
    if spec.shape is not None and image.shape[:2] != spec.shape:
        raise DataError(
            f"the image is {width}x{height}, the model knows each position of images of "
            f"{spec.shape[1]}x{spec.shape[0]}: bring it to that size, or train anomaly --method memory, which takes any"
        )
    pixels = scaled(image, spec)
    maps = _resized(_finite(tiled(lambda tile: run(tile[None])[0], pixels, spec.tiling)), image.shape[:2])
    if roi is not None:
        maps *= roi
    return Prediction(spec.kinds, maps, image_score(maps))


def _finite(maps: np.ndarray) -> np.ndarray:
    if not np.isfinite(maps).all():
        raise DataError("the model gave scores that are not numbers; it must not be used")
    return maps


def scaled_size(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width at which the network sees an image of `shape` (H, W)."""
    height, width = (max(round(side * scale), 1) for side in shape)
    return height, width


def scaled(image: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """(h, w, channels) of the image's own type, as a network that sees it piece by piece does: resized by `scale`.

    Here and not in the network for the reason that `fitted` gives.
    """
    pixels = to_channels(image, spec.channels).reshape(*image.shape[:2], spec.channels)
    height, width = scaled_size(image.shape[:2], spec.scale)
    if (height, width) == image.shape[:2]:
        return pixels
    way = cv2.INTER_AREA if spec.scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=way).reshape(height, width, spec.channels)


def _resized(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(K, h, w) to (K, H, W)."""
    if maps.shape[1:] == shape:
        return maps
    return np.stack([cv2.resize(plane, shape[::-1], interpolation=cv2.INTER_LINEAR) for plane in maps])


def fitted(image: np.ndarray, spec: ModelSpec, roi: np.ndarray | None = None) -> np.ndarray:
    """(side, side, channels) of the image's own type, as a classifier sees it: the box of the region of interest, black
    outside the region, shrunk by means of areas so that nothing fine turns into noise, stretched where it is no square.

    Shrinking is done here and not in the network: training and every engine see the same pixels.
    """
    assert spec.side is not None
    pixels = to_channels(image, spec.channels).reshape(*image.shape[:2], spec.channels)
    if roi is not None:
        inside = _box(roi)
        pixels = np.where(roi[inside][..., None], pixels[inside], pixels.dtype.type(0))
    shrinks = min(pixels.shape[:2]) > spec.side
    size = (spec.side, spec.side)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return small.reshape(spec.side, spec.side, spec.channels)


def class_score(probabilities: np.ndarray, spec: ModelSpec) -> float:
    """How far an image is from passing, in [0, 1]: the probability of a fault, or that it is unknown."""
    return float(
        np.clip(max(p for p, kind in zip(probabilities, spec.kinds, strict=True) if kind in (FAULTY, UNKNOWN)), 0, 1)
    )


def top_class(prediction: Prediction, spec: ModelSpec) -> tuple[str, float]:
    """The most probable class of a classifier's prediction, and its probability."""
    of = {kind: float(p) for kind, p in zip(prediction.kinds, prediction.maps[:, 0, 0], strict=True)}
    best = max(spec.classes, key=lambda name: of[name])
    return best, of[best]


def _box(roi: np.ndarray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(roi.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def shown(prediction: Prediction, image: np.ndarray, spec: ModelSpec, roi: np.ndarray | None = None) -> Orientation:
    """How the part lies in `image`, by the prediction that a model of orientation made of it."""
    rows, columns = (slice(0, image.shape[0]), slice(0, image.shape[1])) if roi is None else _box(roi)
    size = columns.stop - columns.start, rows.stop - rows.start
    return read_planes(prediction.maps[:, 0, 0], spec.poses, size, (columns.start, rows.start))
