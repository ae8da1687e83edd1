"""Sample: one image with its labels, where it came from and what it belongs with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from flawsmith.core.defect import Defect, class_masks
from flawsmith.core.image import decode

Provenance = Literal["real", "render", "relief", "paste", "inpaint"]
PROVENANCES: tuple[Provenance, ...] = ("real", "render", "relief", "paste", "inpaint")
GROUPS = ("part", "lot", "session", "camera")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels. The image is read when `image()` is called, not before.

    id:       unique in its data set, safe as a file name with "/" for folders
    pixels:   where the image is, or the array itself
    label:    image-level class; "good" when healthy
    healthy:  True: certainly no defect. A defective image may still have no marked region (`defects` empty):
              such an image counts at image level and is left out of pixel training and pixel figures
    defects:  the marked regions
    groups:   any of part, lot, session, camera: images that share a value must not be split
    source:   the path it was imported from, relative to the source folder
    pixel_mm: edge of a pixel on the part, in mm, where known
    """

    id: str
    pixels: Path | np.ndarray
    healthy: bool
    label: str = "good"
    defects: tuple[Defect, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    provenance: Provenance = "real"
    source: str = ""
    pixel_mm: float | None = None
    seed: int | None = None
    spec_hash: str | None = None

    def image(self) -> np.ndarray:
        """(H, W) or (H, W, 3) RGB, uint8 or uint16. Raises as `core.image.decode`."""
        return self.pixels if isinstance(self.pixels, np.ndarray) else decode(self.pixels)

    def masks(self, kinds: tuple[str, ...], shape: tuple[int, int]) -> np.ndarray:
        """Bool (K, H, W), one plane per kind."""
        return class_masks(self.defects, kinds, shape)
