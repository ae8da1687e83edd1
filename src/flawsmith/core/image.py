"""The one decode function, for training and for serving, and the one lossless encoder.

An image is (H, W) grey or (H, W, 3) RGB, uint8 or uint16. Nothing else leaves this module.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from flawsmith.core.errors import DataError, ImageCorruptError, ImageFormatError, ImageTooLargeError

MAX_PIXELS = 50_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_ORIENTATION_TAG = 0x0112
_STRIP_TAGS = ((273, 279), (324, 325))


@dataclass(frozen=True)
class Header:
    """What the first bytes say, before any pixel is decoded. Width and height are as stored, before EXIF."""

    format: str
    width: int
    height: int
    orientation: int


def decode(source: bytes | Path, name: str = "", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Bytes or a file to an image: (H, W) or (H, W, 3) RGB, uint8 or uint16, EXIF orientation applied.

    PNG, JPEG, BMP, TIFF and WebP with one page. Alpha is dropped, palettes are expanded. The header is checked
    before any pixel is touched, and truncation is found by structure (PNG checksums, JPEG's end marker, the
    sizes that BMP, TIFF and WebP announce), because decoders fill what is missing without a word.

    Raises `ImageFormatError`, `ImageCorruptError`, `ImageTooLargeError` (all `ImageError`), or `DataError` when the
    file cannot be read at all.
    """
    data, name = _bytes_of(source, name)
    header = read_header(data, name, max_pixels)
    _CHECKS[header.format](data, name)
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
    wanted = (header.height, header.width) if header.orientation < 5 else (header.width, header.height)
    if pixels.shape[:2] != wanted:
        raise ImageCorruptError(f"{name}: the header announces {wanted} pixels, decoding gave {pixels.shape[:2]}")
    return _channels(pixels, name)


def read_header(source: bytes | Path, name: str = "", max_pixels: int = MAX_PIXELS) -> Header:
    """Format, size and orientation without decoding. Raises as `decode` does."""
    data, name = _bytes_of(source, name)
    kind = _sniff(data)
    if kind is None:
        raise ImageFormatError(f"{name}: not a PNG, JPEG, BMP, TIFF or WebP image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's size warnings: the cap below is ours
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                width, height = image.size
                pages = getattr(image, "n_frames", 1)
                orientation = int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name}: {error}; cut or scale it, or raise max_pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error, EOFError, TypeError) as error:
        raise ImageCorruptError(f"{name}: the {kind} header is damaged ({error}); export the image again") from error
    if width * height > max_pixels:
        megapixels = width * height / 1e6
        raise ImageTooLargeError(
            f"{name}: {width}x{height} is {megapixels:.0f} MP, the cap is {max_pixels / 1e6:.0f} MP; cut or scale it"
        )
    if pages > 1:
        raise ImageFormatError(f"{name}: {kind} with {pages} pages; export the page you want as one image")
    return Header(kind, width, height, orientation if 1 <= orientation <= 8 else 1)


def encode_png(pixels: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) RGB, uint8 or uint16, or a bool mask (as 0/255), to PNG; the same array, the same bytes."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise DataError(f"an array of shape {pixels.shape} and type {pixels.dtype} cannot be a PNG")
    return data.tobytes()


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
    """Image files under `folder`, by suffix, sorted; hidden files and folders are left out."""
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _bytes_of(source: bytes | Path, name: str) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, name or "image"
    try:
        return source.read_bytes(), name or str(source)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from error


def _sniff(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"BM"):
        return "BMP"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def _truncated(name: str, what: str) -> ImageCorruptError:
    return ImageCorruptError(f"{name}: truncated or damaged ({what}); copy or export the image again")


def _check_png(data: bytes, name: str) -> None:
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise _truncated(name, f"checksum of PNG chunk {kind.decode('latin1')!r}")
        if kind == b"IEND":
            return
        at = end
    raise _truncated(name, "no PNG end chunk")


def _check_jpeg(data: bytes, name: str) -> None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        if data[at + 1] == 0xDA:  # start of scan: what follows is coded data, and FF D9 cannot occur inside it
            if data.find(b"\xff\xd9", at) < 0:
                raise _truncated(name, "no JPEG end marker")
            return
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    raise _truncated(name, "no JPEG scan")


def _check_bmp(data: bytes, name: str) -> None:
    offset = struct.unpack("<I", data[10:14])[0]
    width, height = struct.unpack("<ii", data[18:26])
    bits, compression = struct.unpack("<HI", data[28:34])
    if compression in (0, 3) and offset + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise _truncated(name, "fewer pixels than the BMP header announces")


def _check_tiff(data: bytes, name: str) -> None:
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]
        for offsets, counts in _STRIP_TAGS:
            for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
                if offset + count > len(data):
                    raise _truncated(name, "a TIFF strip ends past the end of the file")


def _check_webp(data: bytes, name: str) -> None:
    if struct.unpack("<I", data[4:8])[0] + 8 > len(data):
        raise _truncated(name, "shorter than its RIFF header announces")


_CHECKS = {"PNG": _check_png, "JPEG": _check_jpeg, "BMP": _check_bmp, "TIFF": _check_tiff, "WEBP": _check_webp}


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        pixels = cv2.transpose(pixels)
    # after the transpose of 5..8: (flip across x, flip across y)
    across, down = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(orientation, (0, 0))
    if across:
        pixels = cv2.flip(pixels, 1)
    return cv2.flip(pixels, 0) if down else pixels


def _channels(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if pixels.shape[2] in (1, 2):
        return np.ascontiguousarray(pixels[:, :, 0])
    raise ImageFormatError(f"{name}: {pixels.shape[2]} channels; wanted grey or RGB")
