"""The measurement drawn into the photograph: region, unworn edge, zones, and VB where it is largest."""

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.core.geometry import mask_box
from flawsmith.core.image import to_channels, to_uint8
from flawsmith.model.wear.measure import WearMeasurement

REGION, EDGE, DEPTH, TICK = (255, 128, 0), (0, 150, 255), (255, 255, 0), (255, 255, 255)


def draw_wear(image: np.ndarray, mask: np.ndarray, wear: WearMeasurement, side_px: int = 560) -> np.ndarray:
    """RGB uint8 (side_px, side_px, 3): the wear with as much round it again.

    Orange: the region. Blue: the unworn edge, with white ticks between the zones. Yellow: VB max of zone B, and the
    line that VB mean makes.
    """
    box = mask_box(mask)
    if box is None or image.shape[:2] != mask.shape:
        raise DataError(f"cannot draw wear of mask {mask.shape} into image {image.shape[:2]}: it is empty or differs")
    x0, y0, x1, y1 = box
    side = round(1.8 * max(x1 - x0, y1 - y0, 16))
    scale = side_px / side
    corner = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - side / 2
    place = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    pixels = to_channels(to_uint8(image), 3)
    if scale < 1:  # a warp alone would skip pixels
        pixels = cv2.blur(pixels, (max(round(1 / scale), 1),) * 2)
    canvas = cv2.warpAffine(pixels, place, (side_px, side_px), flags=cv2.INTER_LINEAR)
    shown = cv2.warpAffine(mask.astype(np.uint8), place, (side_px, side_px), flags=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(shown, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outlines, -1, REGION, 2)

    def at(reach: float, depth: float) -> tuple[int, int]:
        along, into = np.array(wear.edge.along), np.array(wear.edge.into)
        x, y = scale * (np.array(wear.edge.start) + reach * along + depth * into - corner)
        return round(float(x)), round(float(y))

    def stroke(a: tuple[int, int], b: tuple[int, int], colour: tuple[int, int, int]) -> None:
        cv2.line(canvas, a, b, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.line(canvas, a, b, colour, 2, cv2.LINE_AA)

    stroke(at(0, 0), at(wear.edge.length_px, 0), EDGE)
    middle = next(zone for zone in wear.zones if zone.name == "B")
    for zone in wear.zones:
        centre = (zone.start + zone.end) / 2
        if zone.end > zone.start:
            cv2.putText(
                canvas, zone.name, at(centre, -26 / scale), cv2.FONT_HERSHEY_SIMPLEX, 0.55, EDGE, 2, cv2.LINE_AA
            )
        stroke(at(zone.end, -8 / scale), at(zone.end, 0), TICK)
    stroke(at(middle.start, wear.vb_mean_px), at(middle.end, wear.vb_mean_px), DEPTH)
    deepest = middle.start + int(np.argmax(wear.profile_px[middle.start : middle.end])) + 0.5
    stroke(at(deepest, 0), at(deepest, wear.vb_max_px), DEPTH)
    return canvas
