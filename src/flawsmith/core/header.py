"""What an image file says of itself before any pixel is decoded: format, size, orientation, pages, completeness.

Decoders fill what is missing without a word, so completeness is read from the structure: PNG checksums, JPEG's end
marker, the sizes that BMP, TIFF and WebP announce. PNG and WebP are walked here, chunk by chunk, because Pillow
decodes pixels of both before it tells the orientation; the other three headers are Pillow's.
"""

import io
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from flawsmith.core.errors import DataError, ImageCorruptError, ImageFormatError, ImageTooLargeError

MAX_PIXELS = 50_000_000
_ORIENTATION_TAG = 0x0112
_TILE_SIZE_TAGS = (322, 323)
_STRIP_TAGS = ((273, 279), (324, 325))  # (offsets, byte counts) of strips and of tiles
_EXTRA_SAMPLES, _PHOTOMETRIC = 338, 262
_PARSE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, EOFError)
_PILLOW = threading.Lock()  # warnings.catch_warnings changes the whole process, and images are decoded in threads


@dataclass(frozen=True)
class Header:
    """Width and height are those of the upright image; `orientation` is EXIF's 1 to 8."""

    format: str
    width: int
    height: int
    orientation: int = 1
    pages: int = 1
    grey_alpha: bool = False  # one colour channel and alpha, which OpenCV makes RGB
    straight_alpha: bool = False  # TIFF with unassociated alpha, by which OpenCV multiplies 8-bit colours
    white_is_zero: bool = False  # TIFF with photometric 0, which OpenCV heeds in 8-bit images only
    tile_pixels: int = 0  # TIFF's tiles are decoded whole, however small the image


class _DamageError(ValueError):
    """What is missing or wrong, for the reader of the message."""


def read_header(source: bytes | Path, name: str = "", max_pixels: int = MAX_PIXELS) -> Header:
    """Format, size and orientation of a complete file, without decoding.

    Raises `ImageFormatError`, `ImageCorruptError`, `ImageTooLargeError` (all `ImageError`), or `DataError` when the
    file cannot be read at all.
    """
    data, name = bytes_of(source, name)
    if not data:
        raise ImageCorruptError(f"{name}: the file is empty; copy or export the image again")
    kind = _sniff(data)
    if kind is None:
        raise ImageFormatError(f"{name}: not a PNG, JPEG, BMP, TIFF or WebP image; save it as one of these")
    try:
        header = _READERS[kind](data)
    except _DamageError as error:
        raise ImageCorruptError(f"{name}: truncated or damaged ({error}); copy or export the image again") from None
    except Image.DecompressionBombError:
        cap = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # Pillow refuses beyond twice its own limit
        raise ImageTooLargeError(f"{name}: over the cap of {cap / 1e6:.0f} MP; cut or scale it") from None
    except _PARSE_ERRORS as error:
        raise ImageCorruptError(
            f"{name}: the {kind} header is damaged or of a variant that is not read ({error}); export the image again"
        ) from error
    _check_size(header, name, max_pixels)
    return header


def bytes_of(source: bytes | Path, name: str) -> tuple[bytes, str]:
    """Content and name for messages. Raises `DataError` when the file cannot be read."""
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
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):  # + is BigTIFF
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def _check_size(header: Header, name: str, max_pixels: int) -> None:
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise ImageCorruptError(f"{name}: the header announces {width}x{height} pixels; export the image again")
    pixels = max(width * height, header.tile_pixels)
    if pixels > max_pixels:
        raise ImageTooLargeError(
            f"{name}: {width}x{height}, to be decoded as {pixels / 1e6:.0f} MP, is over the cap of "
            f"{max_pixels / 1e6:.0f} MP; cut or scale it"
        )
    if header.pages > 1:
        raise ImageFormatError(f"{name}: {header.format} with {header.pages} pages; export the page you want alone")


def _upright(header: Header) -> Header:
    """Stored sizes to upright ones."""
    if not 1 <= header.orientation <= 8:
        return replace(header, orientation=1)
    if header.orientation >= 5:
        return replace(header, width=header.height, height=header.width)
    return header


def _orientation(exif: bytes) -> int:
    tags = Image.Exif()
    with _PILLOW, warnings.catch_warnings(action="ignore"):
        tags.load(exif)
        return int(tags.get(_ORIENTATION_TAG, 1))


def _png(data: bytes) -> Header:
    chunks = _png_chunks(data)
    kind, start, _ = next(chunks)
    if kind != b"IHDR":
        raise _DamageError("no PNG header chunk")
    width, height, _, colour = struct.unpack(">IIBB", data[start : start + 10])
    pages = orientation = 1
    for kind, start, end in chunks:
        if kind == b"acTL":
            pages = struct.unpack(">I", data[start : start + 4])[0]
        elif kind == b"eXIf":
            orientation = _orientation(data[start:end])
    return _upright(Header("PNG", width, height, orientation, pages, grey_alpha=colour == 4))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk's content, its checksum verified; the end chunk must be there."""
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", view[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != struct.unpack(">I", view[end : end + 4])[0]:
            raise _DamageError(f"checksum of PNG chunk {kind.decode('latin1')!r}")
        yield kind, at + 8, end
        if kind == b"IEND":
            return
        at = end + 4
    raise _DamageError("no PNG end chunk")


def _jpeg(data: bytes) -> Header:
    _check_jpeg(data)
    with _PILLOW, warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        # Phones append further pictures (previews, gain maps) to the first, which is the photograph: one page.
        return _upright(Header("JPEG", *image.size, int(image.getexif().get(_ORIENTATION_TAG, 1))))


def _check_jpeg(data: bytes) -> None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        if data[at + 1] == 0xDA:  # start of scan: what follows is coded data, and FF D9 cannot occur inside it
            if data.find(b"\xff\xd9", at) < 0:
                raise _DamageError("no JPEG end marker")
            return
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    raise _DamageError("no JPEG scan")


def _bmp(data: bytes) -> Header:
    offset, header_size = struct.unpack("<II", data[10:18])
    if header_size == 12:  # OS/2
        (width, height, _, bits), compression = struct.unpack("<HHHH", data[18:26]), 0
    else:
        width, height, _, bits, compression = struct.unpack("<iiHHI", data[18:34])
    if compression in (0, 3) and offset + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise _DamageError("fewer pixels than the BMP header announces")
    if compression in (1, 2) and struct.unpack("<I", data[2:6])[0] > len(data):
        raise _DamageError("shorter than its BMP header announces")
    return Header("BMP", width, abs(height))


def _tiff(data: bytes) -> Header:
    if _tiff_directory_end(data) > len(data):
        raise _DamageError("the TIFF directory ends past the end of the file")
    with _PILLOW, warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]  # TiffImageFile's
        for offsets, counts in _STRIP_TAGS:
            for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
                if offset + count > len(data):
                    raise _DamageError("a TIFF strip ends past the end of the file")
        orientation = tags.get(_ORIENTATION_TAG, 1)
        header = Header(
            "TIFF",
            *image.size,  # upright already
            orientation if orientation in range(1, 9) else 1,
            straight_alpha=2 in tags.get(_EXTRA_SAMPLES, ()),
            white_is_zero=tags.get(_PHOTOMETRIC) == 0,
            tile_pixels=math.prod(tags.get(tag, 0) for tag in _TILE_SIZE_TAGS),
        )
        return replace(header, pages=image.n_frames)  # type: ignore[attr-defined]


def _tiff_directory_end(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        (start,) = struct.unpack(order + "Q", data[8:16])
        return start + 16 + 20 * struct.unpack(order + "Q", data[start : start + 8])[0]
    (start,) = struct.unpack(order + "I", data[4:8])
    return start + 6 + 12 * struct.unpack(order + "H", data[start : start + 2])[0]


def _webp(data: bytes) -> Header:
    announced = struct.unpack("<I", data[4:8])[0] + 8
    if announced > len(data):
        raise _DamageError("shorter than its RIFF header announces")
    size, orientation, frames, at = None, 1, 0, 12
    while at + 8 <= announced:
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            raise _DamageError(f"WebP chunk {kind.decode('latin1')!r} ends past the end of the file")
        if kind == b"EXIF":
            orientation = _orientation(body)
        frames += kind == b"ANMF"
        size = size or _webp_size(kind, body)
        at += 8 + length + length % 2
    if size is None:
        raise _DamageError("no WebP image chunk")
    return _upright(Header("WEBP", *size, orientation, max(frames, 1)))


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int] | None:
    """Source: RFC 9649, sections 2.5 to 2.7."""
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f":
        bits = struct.unpack("<I", body[1:5])[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


_READERS = {"PNG": _png, "JPEG": _jpeg, "BMP": _bmp, "TIFF": _tiff, "WEBP": _webp}
