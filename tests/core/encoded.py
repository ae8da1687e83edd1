"""Image files made in memory, byte by byte where no library writes them."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

TRANSFORMS = {  # EXIF orientation: how the stored image is made upright
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: a[::-1, ::-1],
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def picture(channels: int = 1, depth: int = 8, height: int = 23, width: int = 41) -> np.ndarray:
    """A smooth image without any symmetry, so that a flip or a swap of channels shows."""
    coarse = np.random.default_rng(3).random((4, 6, 3)).astype(np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)[..., :channels].squeeze()
    return (fine * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)


def by_pillow(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(out, kind, **options)
    return out.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str) -> bytes:
    bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr)[1].tobytes()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """`rows` are the filtered scan lines; `extra` goes before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + pixels + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff(pixels: np.ndarray, *, sample_format: int = 1, pages: int = 1, **tags: int) -> bytes:
    """Uncompressed, one strip, directory first. `tags` overrides or adds tags, as t274=6 for the orientation."""
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    data = pixels.tobytes()
    entries = {256: [width], 257: [height], 258: [8 * pixels.itemsize] * samples, 259: [1]}
    entries |= {262: [1 if samples < 3 else 2], 273: [0], 277: [samples], 278: [height], 279: [len(data)]}
    entries |= {339: [sample_format] * samples} | {int(key[1:]): [value] for key, value in tags.items()}
    out = struct.pack("<2sHI", b"II", 42, 8)
    for page in range(pages):
        out += _directory(dict(sorted(entries.items())), len(out), data, last=page == pages - 1)
    return out


def _directory(entries: dict[int, list[int]], at: int, data: bytes, last: bool) -> bytes:
    spill_at = at + 2 + 12 * len(entries) + 4
    data_at = spill_at + sum(4 * len(values) for values in entries.values() if len(values) > 1)
    entries = entries | {273: [data_at]}
    records, spill = b"", b""
    for tag, values in entries.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            spill, packed = spill + packed, struct.pack("<I", spill_at + len(spill))
        records += struct.pack("<HHI", tag, 4, len(values)) + packed
    following = 0 if last else data_at + len(data)
    return struct.pack("<H", len(entries)) + records + struct.pack("<I", following) + spill + data


def with_orientation(kind: str, orientation: int, pixels: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    return by_pillow(pixels, kind, exif=exif, **lossless)
