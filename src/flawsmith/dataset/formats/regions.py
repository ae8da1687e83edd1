"""Marked regions to masks and back: mask pictures, boxes, polygons, COCO's run lengths.

A polygon lives in continuous coordinates where pixel (x, y) covers [x, x + 1) x [y, y + 1). A region too thin to hold a
pixel centre is drawn by its outline: a pinhole or a hairline scratch is never lost on the way in.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.geometry import components
from flawsmith.core.header import bytes_of, read_header
from flawsmith.core.image import decode
from flawsmith.dataset.formats.format import ReadOptions

Shape = tuple[int, int]

_LOSSY = ("JPEG", "WEBP")
_COLOUR = 1 << 24  # set in the levels of a colour mask, so that they are not taken for grey ones
_FAR = 10  # how many image sides beyond the image a coordinate may lie


def binary_mask(path: Path, shape: Shape, options: ReadOptions) -> np.ndarray:
    """Bool (H, W) of a black and white mask picture.

    Two levels: 0 is background, the other, whatever its value, is defect. More levels: half of the range (128 of 255)
    and above is defect, and that is noted. Raises `DataError` for another size than `shape` and for a mask of numbers.
    """
    levels, lossy, palette = _levels(path, shape)
    values = np.unique(levels)
    if values.size <= 2 and values[0] == 0:
        return levels != 0
    half = 128 if values[-1] <= 255 else 32768
    if values.size == 1 and values[0] >= half:
        return np.ones(shape, bool)
    if palette or (values[-1] < half and not lossy):
        shown = ", ".join(str(v) for v in values[:6])
        raise DataError(
            f"{path}: holds the levels {shown} …, so it numbers classes or objects; wanted black (0) and white (255)."
            " Rewrite it, or use a layout for numbered masks (voc-mask)"
        )
    options.note(f"masks with grey levels: {half} and above is defect", str(path))
    return levels >= half


def index_mask(path: Path, shape: Shape) -> np.ndarray:
    """Numbers (H, W) of a mask picture that numbers classes or objects: palette indices or grey levels as they are,
    uint8 or uint16; colours, int32, as 0xRRGGBB with bit 24 set (`colour_level`)."""
    return _levels(path, shape)[0]


def colour_level(red: int, green: int, blue: int) -> int:
    """What `index_mask` calls a colour; black is 0."""
    packed = red << 16 | green << 8 | blue
    return packed | _COLOUR if packed else 0


def _levels(path: Path, shape: Shape) -> tuple[np.ndarray, bool, bool]:
    """(H, W) levels, whether the file is lossy, whether it has a palette."""
    data, name = bytes_of(path, "")
    pixels, header = decode(data, name), read_header(data, name)
    palette = False
    if header.format == "PNG":
        with Image.open(io.BytesIO(data)) as image:
            palette = image.mode == "P"
            pixels = np.asarray(image) if palette else pixels
    if pixels.shape[:2] != shape:
        raise DataError(
            f"mask {path} is {pixels.shape[1]}x{pixels.shape[0]}, its image {shape[1]}x{shape[0]}; make them equal"
        )
    if pixels.ndim == 3:
        pixels = _flat(pixels)
    return pixels, header.format in _LOSSY, palette


def _flat(pixels: np.ndarray) -> np.ndarray:
    if (pixels == pixels[:, :, :1]).all():
        return pixels[:, :, 0]
    red, green, blue = (pixels[:, :, i].astype(np.int32) for i in range(3))
    packed = red << 16 | green << 8 | blue
    return np.where(packed > 0, packed | _COLOUR, 0)


def regions(kind: str, mask: np.ndarray) -> tuple[Defect, ...]:
    """One defect for each 8-connected region of a mask that says nothing of instances."""
    return tuple(Defect(kind, box, crop) for box, crop in components(mask))


def box_defect(kind: str, box: Sequence[float], shape: Shape, where: str, options: ReadOptions) -> Defect | None:
    """A defect of which only the box (x0, y0, x1, y1) is known, rounded to pixels and cut to the image.

    None, with a note, where nothing of it lies in the image. Raises `DataError` for a box that is none.
    """
    if len(box) != 4 or not np.isfinite(box).all() or box[2] < box[0] or box[3] < box[1]:
        raise DataError(f"{where}: {list(box)} is no box of {kind!r}; wanted x0 <= x1 and y0 <= y1, in pixels")
    height, width = shape
    x0, y0, x1, y1 = (int(np.floor(v + 0.5)) for v in np.clip(box, -1e9, 1e9))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    cut = (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        options.note("boxes outside their image, left out", where)
        return None
    if cut != (x0, y0, x1, y1):
        options.note("boxes reach past the edge of their image and are cut there", where)
    return Defect(kind, cut)


def mask_defect(kind: str, mask: np.ndarray, where: str, options: ReadOptions) -> Defect | None:
    """One defect from one mask, however many parts it has; None, with a note, where the mask is empty."""
    if not mask.any():
        options.note("regions that cover no pixel of their image, left out", where)
        return None
    return Defect.from_mask(kind, mask)


def polygon_mask(polygons: Sequence[Sequence[float]], shape: Shape, where: str) -> np.ndarray:
    """Bool (H, W): the union of polygons [x0, y0, x1, y1, …], filled as COCO does.

    Raises `DataError` for an odd or infinite list of coordinates, or one far outside the image.
    """
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        points = _points(polygon, shape, where)
        filled = np.zeros(shape, bool)
        if len(points) >= 3:
            runs = coco_mask.merge(coco_mask.frPyObjects([points.ravel().tolist()], *shape))
            filled = rle_mask({"size": list(shape), "counts": _text(runs["counts"])}, shape, where)
        mask |= filled if filled.any() else line_mask(points, shape, closed=True)
    return mask


def _points(polygon: Sequence[float], shape: Shape, where: str) -> np.ndarray:
    flat = np.asarray(polygon, np.float64)
    if flat.ndim != 1 or flat.size < 2 or flat.size % 2 or not np.isfinite(flat).all():
        raise DataError(f"{where}: a polygon is a list of finite x and y, got {flat.size} numbers; correct it")
    if np.abs(flat).max() > _FAR * max(shape) + 1:
        raise DataError(f"{where}: a polygon reaches {np.abs(flat).max():.3g} px, the image is {shape[1]}x{shape[0]}")
    return flat.reshape(-1, 2)


def line_mask(points: np.ndarray, shape: Shape, closed: bool = False) -> np.ndarray:
    """Bool (H, W): a line of 1 px through points (N, 2); a single point is a single pixel."""
    canvas = np.zeros(shape, np.uint8)
    closed = closed or len(points) == 1  # OpenCV draws no open line of one point
    cv2.polylines(canvas, [np.floor(points).astype(np.int32)], closed, 1)
    return canvas.astype(bool)


def rle_mask(rle: Any, shape: Shape, where: str) -> np.ndarray:
    """Bool (H, W) of COCO run lengths {"size": [H, W], "counts": text or list}, down the columns.

    Decoded here and checked run by run: pycocotools writes past its buffer when the counts exceed the size.
    """
    size, counts = (rle.get("size"), rle.get("counts")) if isinstance(rle, dict) else (None, None)
    if not isinstance(size, list) or size != list(shape):
        raise DataError(f"{where}: run lengths of size {size}, the image is {list(shape)}; make them equal")
    if isinstance(counts, str):
        counts = _unpack(counts, where)
    try:
        runs = np.asarray(counts, np.int64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: run lengths are whole numbers or packed text, got {str(counts)[:40]!r}") from None
    if runs.ndim != 1 or (runs < 0).any() or (runs > shape[0] * shape[1]).any() or runs.sum() != shape[0] * shape[1]:
        raise DataError(f"{where}: run lengths do not add up to {shape[0]}x{shape[1]} pixels; export the file again")
    values = np.zeros(runs.size, bool)
    values[1::2] = True
    return np.repeat(values, runs).reshape(shape[1], shape[0]).T


def _unpack(text: str, where: str) -> list[int]:
    """COCO's packed counts: 5 bits a character, least first; from the third on, the difference to the last but one.

    Source: pycocotools, maskApi.c, rleFrString.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            raise DataError(f"{where}: {character!r} has no place in packed run lengths; export the file again")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise DataError(f"{where}: packed run lengths end in the middle of a number; export the file again")
    return counts


def pack_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a bool mask (H, W), ready for JSON."""
    counts = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return {"size": list(mask.shape), "counts": _text(counts)}


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode("ascii")
