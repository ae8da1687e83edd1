"""The one decode function, for training and for serving, and the one lossless encoder.

An image is (H, W) grey or (H, W, 3) RGB, uint8 or uint16. Nothing else leaves this module.
"""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from flawsmith.core.errors import DataError, ImageCorruptError, ImageFormatError
from flawsmith.core.header import MAX_PIXELS, Header, bytes_of, read_header

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def decode(source: bytes | Path, name: str = "", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Bytes or a file to an image: (H, W) or (H, W, 3) RGB, uint8 or uint16, EXIF orientation applied.

    PNG, JPEG, BMP, TIFF and WebP with one page. Alpha is dropped, palettes are expanded. Size and completeness are
    checked before any pixel is touched (see `core.header`), because decoders fill what is missing without a word.

    Raises `ImageFormatError`, `ImageCorruptError`, `ImageTooLargeError` (all `ImageError`), or `DataError` when the
    file cannot be read at all.
    """
    data, name = bytes_of(source, name)
    header = read_header(data, name, max_pixels)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageCorruptError(f"{name}: {header.format} data cannot be decoded ({error.err})") from error
    if pixels is None:
        raise ImageCorruptError(f"{name}: {header.format} data cannot be decoded; export the image again")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageFormatError(f"{name}: {pixels.dtype} pixels are not read; save it with 8 or 16 bits a channel")
    # OpenCV turns TIFF upright by itself, whatever the flag; the others it leaves alone.
    if header.format != "TIFF":
        pixels = _upright(pixels, header.orientation)
    if pixels.shape[:2] != (header.height, header.width):
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ImageCorruptError(f"{name}: the header announces {header.width}x{header.height}, decoding gave {size}")
    return _channels(pixels, header, data, name)


def encode_png(pixels: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) RGB, uint8 or uint16, or a bool mask (as 0/255), to PNG; the same array, the same bytes.

    Raises `DataError` for any other array.
    """
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    image = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not image or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):  # OpenCV would cut others to 8 bits
        raise DataError(f"an array of shape {pixels.shape} and type {pixels.dtype} cannot be a PNG")
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    else:  # run lengths alone: grey photographs and masks come out smaller than with full matching, in half the time
        options += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    return cv2.imencode(".png", pixels, options)[1].tobytes()


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Grey (1) or RGB (3): grey is repeated, RGB is weighed as in ITU-R BT.601. Shape (H, W) or (H, W, 3)."""
    have = 1 if pixels.ndim == 2 else pixels.shape[2]
    if have == channels:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if channels == 3 else cv2.COLOR_RGB2GRAY)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """For showing only: 16-bit images are stretched from their own minimum to maximum."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = int(pixels.min()), int(pixels.max())
    return ((pixels.astype(np.float32) - low) * (255.0 / max(high - low, 1))).round().astype(np.uint8)


def image_files(folder: Path) -> list[Path]:
    """Image files under `folder`, by suffix, sorted; hidden files and folders are left out.

    Raises `DataError` for a folder that cannot be listed: what it holds must not be passed over.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be listed: {error.strerror}") from error

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        pixels = cv2.transpose(pixels)
    # after the transpose of 5..8: (flip across x, flip across y)
    across, down = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(orientation, (0, 0))
    if across:
        pixels = cv2.flip(pixels, 1)
    return cv2.flip(pixels, 0) if down else pixels


def _channels(pixels: np.ndarray, header: Header, data: bytes, name: str) -> np.ndarray:
    if pixels.ndim == 2:
        return ~pixels if header.white_is_zero and pixels.dtype == np.uint16 else pixels
    if pixels.shape[2] in (1, 2) or header.grey_alpha:
        return np.ascontiguousarray(pixels[:, :, 0])
    if pixels.shape[2] == 4:
        if header.straight_alpha and pixels.dtype == np.uint8:
            return _unmultiplied(data, name)
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    raise ImageFormatError(f"{name}: {pixels.shape[2]} channels; wanted grey or RGB")


def _unmultiplied(data: bytes, name: str) -> np.ndarray:
    """An 8-bit TIFF with alpha by Pillow, since OpenCV darkens its colours by it."""
    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageCorruptError(f"{name}: TIFF data cannot be decoded ({error}); export the image again") from error
