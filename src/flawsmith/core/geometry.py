"""Masks, boxes and regions. Masks are bool (H, W); boxes are half-open pixels (x0, y0, x1, y1)."""

import cv2
import numpy as np

Box = tuple[int, int, int, int]


def mask_box(mask: np.ndarray) -> Box | None:
    """The smallest box that holds every true pixel, or None for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def box_mask(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """A filled box as a mask of `shape` (H, W)."""
    mask = np.zeros(shape, bool)
    x0, y0, x1, y1 = box
    mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return mask


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 when both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    union = box_area(a) + box_area(b) - inter
    return inter / union if union else 0.0


def box_area(box: Box) -> int:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def components(mask: np.ndarray) -> list[tuple[Box, np.ndarray]]:
    """8-connected regions of a mask, in scan order: each its box and its own mask cropped to that box."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    regions = []
    for index in range(1, count):
        x, y, width, height = (int(v) for v in stats[index, :4])
        regions.append(((x, y, x + width, y + height), labels[y : y + height, x : x + width] == index))
    return regions


def outline(mask: np.ndarray, thickness: int = 1) -> np.ndarray:
    """The ring of `thickness` px just outside a mask, so that the defect itself stays in sight."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * thickness + 1,) * 2, np.uint8))
    return (grown > 0) & ~mask
