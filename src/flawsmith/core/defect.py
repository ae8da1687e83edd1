"""Defect: one region, labelled or predicted. One type for truth and prediction."""

from dataclasses import dataclass

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.geometry import Box, box_area, box_mask, mask_box


@dataclass(frozen=True, eq=False)
class Defect:
    """A region of one kind.

    kind:  class name, for example "scratch"
    box:   half-open pixels (x0, y0, x1, y1) in the image
    mask:  bool (y1 - y0, x1 - x0), cropped to `box`; None where only the box is known
    score: 1.0 for truth, else the model's raw score in [0, 1]
    """

    kind: str
    box: Box
    mask: np.ndarray | None = None
    score: float = 1.0

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if x1 <= x0 or y1 <= y0:
            raise DataError(f"defect {self.kind!r}: box {self.box} is empty; wanted x0 < x1 and y0 < y1")
        if self.mask is not None and self.mask.shape != (y1 - y0, x1 - x0):
            raise DataError(f"defect {self.kind!r}: mask {self.mask.shape} does not fit its box {self.box}")

    @classmethod
    def from_mask(cls, kind: str, mask: np.ndarray, score: float = 1.0) -> "Defect":
        """From a bool mask (H, W) of the whole image. Raises `DataError` when it is empty."""
        box = mask_box(mask)
        if box is None:
            raise DataError(f"defect {kind!r}: the mask is empty")
        x0, y0, x1, y1 = box
        return cls(kind, box, mask[y0:y1, x0:x1].astype(bool), score)

    @property
    def area_px(self) -> int:
        """True pixels, or the box's where there is no mask."""
        return int(self.mask.sum()) if self.mask is not None else box_area(self.box)

    def area_mm2(self, pixel_mm: float) -> float:
        return self.area_px * pixel_mm**2

    def full_mask(self, shape: tuple[int, int]) -> np.ndarray:
        """Bool (H, W) of the whole image; the filled box where there is no mask."""
        if self.mask is None:
            return box_mask(self.box, shape)
        full = np.zeros(shape, bool)
        x0, y0, x1, y1 = self.box
        full[y0:y1, x0:x1] = self.mask
        return full


def class_masks(defects: tuple[Defect, ...], kinds: tuple[str, ...], shape: tuple[int, int]) -> np.ndarray:
    """Bool (K, H, W): the union of each kind's defects. Kinds may overlap."""
    masks = np.zeros((len(kinds), *shape), bool)
    for defect in defects:
        if defect.kind in kinds:
            masks[kinds.index(defect.kind)] |= defect.full_mask(shape)
    return masks
