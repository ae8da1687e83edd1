"""One picture of the whole path: image, truth, score map, verdict, a few parts side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from flawsmith.core.sample import Sample
    from flawsmith.line.inspector import Inspection

_CELL = 300
_HEAD = 34
_LEFT = 150
_PAPER, _INK, _TRUTH = (255, 255, 255), (30, 30, 30), (0, 158, 115)
ROWS = ("image", "truth", "score map", "verdict")


def overview(cases: Sequence[tuple["Sample", "Inspection"]], kinds: tuple[str, ...]) -> np.ndarray:
    """RGB uint8: a column per case, a row per step. Cases without an image or a prediction are left out."""
    from PIL import Image, ImageDraw, ImageFont

    from flawsmith.line.overlay import draw_overlay

    drawable = [(s, i) for s, i in cases if i.image is not None and i.prediction is not None]
    columns = [[*_steps(s, i), draw_overlay(i, kinds)] for s, i in drawable]
    heights = [max((_fitted(column[row]).height for column in columns), default=0) for row in range(len(ROWS))]
    size = (_LEFT + len(columns) * (_CELL + 10), sum(heights) + len(ROWS) * 10 + _HEAD)
    page = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(20)
    for index, (sample, _) in enumerate(drawable):
        draw.text((_LEFT + index * (_CELL + 10), 6), sample.label, font=font, fill=_INK)
    top = _HEAD
    for row, name in enumerate(ROWS):
        draw.text((10, top + heights[row] / 2), name, font=font, fill=_INK, anchor="lm")
        for index, column in enumerate(columns):
            page.paste(_fitted(column[row]), (_LEFT + index * (_CELL + 10), top))
        top += heights[row] + 10
    return np.asarray(page)


def _steps(sample: "Sample", inspection: "Inspection") -> list[np.ndarray]:
    import cv2

    from flawsmith.core.geometry import outline
    from flawsmith.core.image import to_channels, to_uint8

    assert inspection.image is not None
    assert inspection.prediction is not None
    photo = to_channels(to_uint8(inspection.image), 3)
    marked = photo.copy()
    for defect in sample.defects:
        ring = outline(defect.full_mask(photo.shape[:2]), max(1, photo.shape[1] // 150))
        marked[ring] = _TRUTH
    scores = (inspection.prediction.map * 255).round().astype(np.uint8)
    return [photo, marked, cv2.cvtColor(cv2.applyColorMap(scores, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)]


def _fitted(pixels: np.ndarray):
    """Scaled to the width of a cell, at most two cells high."""
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = min(_CELL / image.width, 2 * _CELL / image.height)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
