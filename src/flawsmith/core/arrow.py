"""A part's orientation, drawn into its picture."""

import cv2
import numpy as np

from flawsmith.core.orientation import Orientation

Colour = tuple[int, int, int]


def draw_arrow(
    pixels: np.ndarray, seen: Orientation, scale: float, length_px: float, colour: Colour, thickness: int
) -> None:
    """Into RGB `pixels`, of an image enlarged by `scale`: an arrow from the centre along the angle, a ring where any
    turn looks alike."""
    x, y = (round(v * scale) for v in seen.centre_px)
    if seen.angle_deg is None:
        cv2.circle(pixels, (x, y), round(length_px / 2), colour, thickness, cv2.LINE_AA)
        return
    turn = np.radians(seen.angle_deg)
    tip = round(x + length_px * np.cos(turn)), round(y - length_px * np.sin(turn))
    cv2.arrowedLine(pixels, (x, y), tip, colour, thickness, cv2.LINE_AA, tipLength=0.2)
