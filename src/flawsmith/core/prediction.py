"""Prediction: scores and maps, before any decision. Verdict: what a decision makes of it."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from flawsmith.core.defect import Defect

Status = Literal["OK", "NG", "REVIEW"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    kinds: defect class names, K of them
    maps:  float32 (K, H, W) in [0, 1], the raw per-pixel score of each kind, at the image's size
    score: raw image-level score in [0, 1]; see `image_score`
    """

    kinds: tuple[str, ...]
    maps: np.ndarray
    score: float

    @property
    def map(self) -> np.ndarray:
        """Float32 (H, W): the strongest kind at each pixel."""
        return self.maps.max(axis=0)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the decision says of one part, and why. `reasons` is never empty unless the status is OK."""

    status: Status
    reasons: tuple[str, ...] = ()
    score: float | None = None
    defects: tuple[Defect, ...] = ()


def image_score(maps: np.ndarray, window: int = 5) -> float:
    """Image-level score of maps (K, H, W): the largest mean over a `window`² neighbourhood.

    A mean over a few pixels is steadier than the single largest pixel and still sees a pinhole.
    """
    return max(float(cv2.blur(plane, (window, window), borderType=cv2.BORDER_REFLECT_101).max()) for plane in maps)
