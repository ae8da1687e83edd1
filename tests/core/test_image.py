"""The decode function, against Pillow and against files made byte by byte."""

import contextlib
import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from encoded import TRANSFORMS, by_opencv, by_pillow, picture, png, png_chunk, tiff, with_orientation
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from flawsmith.core.errors import DataError, ImageCorruptError, ImageError, ImageFormatError, ImageTooLargeError
from flawsmith.core.header import read_header
from flawsmith.core.image import decode, encode_png, image_files, to_channels, to_uint8

GREY, RGB, GREY16, RGB16 = picture(), picture(3), picture(1, 16), picture(3, 16)
ALPHA = np.full(GREY.shape, 77, np.uint8)

LOSSLESS = {
    "PNG grey": (by_pillow(GREY, "PNG"), GREY),
    "PNG RGB": (by_pillow(RGB, "PNG"), RGB),
    "PNG grey 16": (by_pillow(GREY16, "PNG"), GREY16),
    "PNG RGB 16": (by_opencv(RGB16, ".png"), RGB16),
    "PNG RGB alpha": (by_pillow(np.dstack([RGB, ALPHA]), "PNG"), RGB),
    "PNG grey alpha": (by_pillow(np.dstack([GREY, ALPHA]), "PNG"), GREY),
    "PNG transparent colour": (by_pillow(RGB, "PNG", transparency=(1, 2, 3)), RGB),
    "PNG grey transparent": (by_pillow(GREY, "PNG", transparency=5), GREY),
    "BMP grey": (by_pillow(GREY, "BMP"), GREY),
    "BMP RGB": (by_pillow(RGB, "BMP"), RGB),
    "BMP RGB alpha": (by_pillow(np.dstack([RGB, ALPHA]), "BMP"), RGB),
    "TIFF grey": (by_pillow(GREY, "TIFF"), GREY),
    "TIFF RGB": (by_pillow(RGB, "TIFF"), RGB),
    "TIFF grey 16": (by_pillow(GREY16, "TIFF"), GREY16),
    "TIFF RGB 16": (by_opencv(RGB16, ".tiff"), RGB16),
    "TIFF big-endian 16": (
        by_pillow(Image.frombytes("I;16B", (41, 23), GREY16.astype(">u2").tobytes()), "TIFF"),
        GREY16,
    ),
    "TIFF LZW": (by_pillow(RGB, "TIFF", compression="tiff_lzw"), RGB),
    "TIFF deflate": (by_pillow(GREY16, "TIFF", compression="tiff_adobe_deflate"), GREY16),
    "TIFF packbits": (by_pillow(RGB, "TIFF", compression="packbits"), RGB),
    "TIFF alpha": (by_pillow(np.dstack([RGB, ALPHA]), "TIFF"), RGB),
    "TIFF associated alpha": (tiff(np.dstack([RGB, ALPHA]), t338=1), RGB),
    "TIFF alpha 16": (tiff(np.dstack([RGB16, GREY16]), t338=2), RGB16),
    "TIFF grey alpha": (by_pillow(np.dstack([GREY, ALPHA]), "TIFF"), GREY),
    "TIFF white is zero": (tiff(255 - GREY, t262=0), GREY),
    "TIFF white is zero 16": (tiff(65535 - GREY16, t262=0), GREY16),
    "BigTIFF": (by_pillow(RGB, "TIFF", big_tiff=True), RGB),
    "WebP": (by_pillow(RGB, "WEBP", lossless=True), RGB),
    "WebP alpha": (by_pillow(np.dstack([RGB, ALPHA]), "WEBP", lossless=True, exact=True), RGB),
    "WebP grey": (by_pillow(GREY, "WEBP", lossless=True), np.dstack([GREY] * 3)),
}
LOSSY = {
    "JPEG grey": by_pillow(GREY, "JPEG", quality=95),
    "JPEG RGB": by_pillow(RGB, "JPEG", quality=95),
    "JPEG progressive": by_pillow(RGB, "JPEG", quality=95, progressive=True),
    "JPEG CMYK": by_pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95),
    "TIFF CMYK": by_pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF"),
    "TIFF JPEG": by_pillow(RGB, "TIFF", compression="jpeg", quality=95),
    "WebP lossy": by_pillow(RGB, "WEBP", quality=95),
}
PALETTES = {
    f"{kind} {mode}": by_pillow(Image.fromarray(RGB).convert(mode), kind)
    for kind in ("PNG", "BMP", "TIFF")
    for mode in ("P", "1")
} | {
    "PNG P 16 colours": by_pillow(Image.fromarray(RGB).quantize(16), "PNG", bits=4),
    "PNG P transparent": by_pillow(Image.fromarray(RGB).convert("P"), "PNG", transparency=3),
    "TIFF group 4": by_pillow(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4"),
}
FILES = {name: data for name, (data, _) in LOSSLESS.items()} | LOSSY | PALETTES


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_back_the_array(name):
    data, wanted = LOSSLESS[name]
    pixels = decode(data)
    assert pixels.dtype == wanted.dtype
    np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_decode_as_pillow_does(name):
    with Image.open(io.BytesIO(LOSSY[name])) as image:
        wanted = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    pixels = decode(LOSSY[name])
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= 8


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_are_expanded_as_pillow_does(name):
    with Image.open(io.BytesIO(PALETTES[name])) as image:
        wanted = np.asarray(image.convert("L" if image.mode == "1" else "RGB"))
    np.testing.assert_array_equal(decode(PALETTES[name]), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "RGB"])
def test_orientation_is_applied_as_pillow_does(kind, orientation, pixels):
    data = with_orientation(kind, orientation, pixels)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    header = read_header(data)
    assert (header.height, header.width, header.orientation) == (*wanted.shape[:2], orientation)
    assert np.abs(decode(data).astype(int) - wanted).max() <= 2
    if wanted.ndim == pixels.ndim:  # Pillow's WebP is never grey
        assert np.abs(TRANSFORMS[orientation](pixels).astype(int) - wanted).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colour_tiff_is_turned_upright(orientation):
    np.testing.assert_array_equal(decode(tiff(RGB16, t274=orientation)), TRANSFORMS[orientation](RGB16))


def test_an_orientation_that_does_not_exist_is_ignored():
    np.testing.assert_array_equal(decode(tiff(RGB, t274=9)), RGB)
    np.testing.assert_array_equal(decode(with_orientation("PNG", 0, RGB)), RGB)


def test_pictures_that_a_phone_appends_to_a_jpeg_are_left_out():
    data = by_pillow(RGB, "MPO", quality=95, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    assert np.abs(decode(data).astype(int) - RGB).mean() < 3


@pytest.mark.parametrize("name", FILES)
def test_truncated_files_are_never_decoded(name):
    data = FILES[name]
    for length in [*(len(data) * percent // 100 for percent in range(0, 100, 5)), len(data) - 1]:
        with pytest.raises(ImageError, match=r"cut\.img"):
            decode(data[:length], "cut.img")


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_give_an_error_or_the_announced_shape(name):
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(FILES[name])
        for bit in rng.integers(0, 8 * len(data), 3):
            data[bit // 8] ^= 1 << (bit % 8)
        with contextlib.suppress(ImageError):
            header = read_header(bytes(data))
            pixels = decode(bytes(data))
            assert not name.startswith("PNG")
            assert pixels.shape[:2] == (header.height, header.width)
            assert pixels.dtype in (np.uint8, np.uint16)


@given(st.integers(0, 8 * len(FILES["PNG RGB"]) - 1))
def test_any_single_flipped_bit_in_a_png_is_found(bit):
    data = bytearray(FILES["PNG RGB"])
    data[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(ImageError):
        decode(bytes(data))


def small_bmp(rows: bytes, compression: int = 0, os2: bool = False) -> bytes:
    """4x1, 8 bits, palette entry i is the grey i."""
    size = 12 if os2 else 40
    palette = b"".join(bytes([i] * 3 + [0] * (not os2)) for i in range(256))
    info = (
        struct.pack("<IHHHH", 12, 4, 1, 1, 8)
        if os2
        else struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 8, compression, 0, 0, 0, 0, 0)
    )
    start = 14 + size + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + info + palette + rows


@pytest.mark.parametrize(
    "data",
    [small_bmp(bytes([7, 7, 7, 9])), small_bmp(bytes([7, 7, 7, 9]), os2=True), small_bmp(b"\x03\x07\x01\x09\0\x01", 1)],
    ids=["Windows", "OS/2", "run-length"],
)
def test_old_bitmaps_and_their_truncation(data):
    assert decode(data).tolist() == [[7, 7, 7, 9]]
    with pytest.raises(ImageCorruptError, match="BMP header announces"):
        decode(data[:-1])


def huge_files() -> dict[str, bytes]:
    """Headers that announce 144 MP or more in files of a few kB. The PNG is complete and decodes."""
    side = 12_000
    webp = struct.pack("<4sI4s4sIB3x", b"RIFF", 22, b"WEBP", b"VP8X", 10, 0) + 2 * (side - 1).to_bytes(3, "little")
    bmp = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, side, side, 1, 24, 1, 0, 0, 0, 0, 0
    )
    jpeg = bytearray(by_pillow(GREY, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return {
        "png": png(side, side, 1, 0, bytes((side // 8 + 1) * side)),
        "jpeg": bytes(jpeg),
        "bmp": bmp,
        "tiff": tiff(GREY, t256=60_000, t257=60_000),
        "tile": tiff(GREY, t322=60_000, t323=60_000, t324=8, t325=9),
        "webp": webp,
    }


@pytest.mark.parametrize("kind", huge_files())
def test_decompression_bombs_are_refused(kind):
    with pytest.raises(ImageTooLargeError, match=r"bomb\.img.*cap of 50 MP; cut or scale it"):
        decode(huge_files()[kind], "bomb.img")


PEAK_MB = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_image import decode, huge_files, ImageTooLargeError
files, cap = huge_files(), int(sys.argv[1])
def peak():  # not getrusage: that begins with the parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
for data in files.values():
    try:
        decode(data, max_pixels=cap)
    except ImageTooLargeError:
        pass
    if cap > 50_000_000:
        break
print((peak() - before) // 1024)
"""


def _peak_mb(cap: int) -> int:
    script = PEAK_MB.format(here=str(__file__.rsplit("/", 1)[0]))
    return int(subprocess.run([sys.executable, "-c", script, str(cap)], capture_output=True, check=True).stdout)


def test_refusing_a_bomb_costs_little_memory():
    assert _peak_mb(50_000_000) < 20
    assert _peak_mb(200_000_000) > 100  # the control: the same PNG, decoded


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"id;width;height\n1;2;3\n", "not a PNG, JPEG, BMP, TIFF or WebP image"),
        (by_pillow(RGB, "GIF"), "not a PNG, JPEG, BMP, TIFF or WebP image"),
        (tiff(GREY, pages=3), "TIFF with 3 pages; export the page you want"),
        (by_pillow(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]), "PNG with 2 pages"),
        (by_pillow(RGB, "WEBP", save_all=True, append_images=[Image.fromarray(255 - RGB)]), "WEBP with 2 pages"),
        (tiff(GREY.astype(np.float32), sample_format=3), "float32 pixels are not read; save it with 8 or 16 bits"),
        (tiff(GREY.astype(np.float64), sample_format=3), "of a variant that is not read"),
        (tiff(GREY16.astype(np.int16), sample_format=2), "int16 pixels are not read"),
        (by_pillow(GREY.astype(np.int32), "TIFF"), "int32 pixels are not read"),
        (png(0, 5, 8, 0, b""), "announces 0x5 pixels"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""), "no PNG header chunk"),
        (png(4, 4, 8, 0, b"\0" * 5), "PNG data cannot be decoded|decoding gave"),
    ],
)
def test_what_is_no_image_is_named(data, message):
    with pytest.raises(ImageError, match=rf"odd\.bin: .*({message})"):
        decode(data, "odd.bin")


def test_unreadable_paths_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(DataError, match=f"{path} cannot be read"):
            decode(path)
    (tmp_path / "notes.png").write_text("hello")
    with pytest.raises(ImageFormatError, match=r"notes\.png"):
        decode(tmp_path / "notes.png")


def test_threads_decode_alike_and_leave_the_warning_filters_alone(recwarn):
    names = [name for name in FILES for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for name, pixels in zip(names, pool.map(lambda n: decode(FILES[n]), names), strict=True):
            np.testing.assert_array_equal(pixels, decode(FILES[name]))
    assert not recwarn.list


@given(arrays(st.sampled_from([np.uint8, np.uint16]), st.sampled_from([(1, 1), (1, 7), (9, 2), (5, 6, 3)])))
def test_png_round_trip(pixels):
    data = encode_png(pixels)
    assert data == encode_png(pixels.copy())
    np.testing.assert_array_equal(decode(data), pixels)


def test_masks_are_written_as_0_and_255():
    mask = GREY > 99
    np.testing.assert_array_equal(decode(encode_png(mask)), mask * np.uint8(255))


@pytest.mark.parametrize("pixels", [np.zeros((3, 3), int), np.zeros((3, 0), np.uint8), np.zeros((3, 3, 4), np.uint8)])
def test_what_cannot_be_a_png_is_said(pixels):
    with pytest.raises(DataError, match="cannot be a PNG"):
        encode_png(pixels)


def test_grey_and_rgb_keep_their_depth():
    assert to_channels(GREY16, 3).dtype == np.uint16
    np.testing.assert_array_equal(to_channels(GREY16, 3)[..., 1], GREY16)
    weighed = RGB16 @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_channels(RGB16, 1) - weighed).max() < 3
    assert to_channels(RGB, 3) is RGB


def test_16_bits_are_stretched_for_showing():
    shown = to_uint8(np.array([[1000, 1500, 2000]], np.uint16))
    assert shown.tolist() == [[0, 128, 255]]
    assert to_uint8(np.full((2, 2), 9, np.uint16)).tolist() == [[0, 0], [0, 0]]
    assert to_uint8(GREY) is GREY


def test_image_files_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b/2.PNG", "a.jpg", "b/1.tif", ".hidden/3.png", ".4.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [p.relative_to(tmp_path).as_posix() for p in image_files(tmp_path)] == ["a.jpg", "b/1.tif", "b/2.PNG"]


def test_damage_in_compressed_pixels_is_a_named_error():
    data = bytearray(by_pillow(RGB, "WEBP", lossless=True))
    data[40:60] = bytes(20)
    with pytest.raises(ImageCorruptError, match=r"WEBP data cannot be decoded; export the image again"):
        decode(bytes(data), "x.webp")


def test_opencv_still_turns_only_tiff_by_itself():
    """What `decode` relies on; a release that changes it must fail here, not on a customer's photograph."""
    for kind, turned in (("JPEG", False), ("PNG", False), ("WEBP", False), ("TIFF", True)):
        data = np.frombuffer(with_orientation(kind, 6, RGB), np.uint8)
        assert (cv2.imdecode(data, cv2.IMREAD_UNCHANGED).shape[:2] == (41, 23)) is turned
