"""Seam-free tiling: what is stitched equals what is computed whole."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage

from flawsmith.core.errors import ConfigError
from flawsmith.core.tiles import Tiling, spans, tiled, window_side

tilings = st.builds(
    lambda stride, margin, spare: Tiling(stride, margin, 2 * margin + 4 * stride + spare),
    st.sampled_from([1, 2, 3, 8, 16, 32]),
    st.integers(0, 60),
    st.integers(0, 400),
)


@given(tilings, st.integers(1, 300))
def test_windows_cover_an_axis_once_with_a_margin_on_both_sides(tiling, blocks):
    length = blocks * tiling.stride
    side = window_side(length, tiling)
    assert side <= max(tiling.max_side, tiling.stride)
    assert side % tiling.stride == 0
    kept = []
    for start, first, end in spans(length, tiling):
        assert start % tiling.stride == 0
        assert 0 <= start <= first < end <= start + side <= length
        assert first == 0 or first - start >= tiling.margin
        assert end == length or start + side - end >= tiling.margin
        kept += range(first, end)
    assert kept == list(range(length))


@given(tilings, st.integers(1, 300))
def test_a_smaller_window_needs_no_more_windows_than_the_largest(tiling, blocks):
    length, top = blocks * tiling.stride, tiling.max_side // tiling.stride * tiling.stride
    assume(length > top)
    step = top - 2 * tiling.margin - 2 * tiling.stride  # at least
    assert len(spans(length, tiling)) <= -(-(length - top) // max(step, 1)) + 1


def test_a_window_that_is_all_margin_is_refused():
    with pytest.raises(ConfigError, match="window 256 leaves nothing after a margin of 128 on both sides"):
        spans(4096, Tiling(16, 128, 256))


def network(stride: int, radius: int):
    """Like a U-Net: pools by `stride`, mixes `radius` coarse pixels around, goes back up, and adds the fine level."""

    def run(tile: np.ndarray) -> np.ndarray:
        fine = tile[..., 0].astype(np.int64)
        height, width = fine.shape
        coarse = fine.reshape(height // stride, stride, width // stride, stride).sum(axis=(1, 3))
        mixed = ndimage.convolve(coarse, np.ones((2 * radius + 1,) * 2, int), mode="constant")
        up = mixed.repeat(stride, 0).repeat(stride, 1)
        return np.stack([up + fine, ndimage.maximum_filter(fine, 2 * radius + 1, mode="constant")]).astype(np.float32)

    return run


@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from([1, 4, 8]), st.integers(0, 2), st.integers(0, 9))
def test_stitched_equals_whole(height, width, stride, radius, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 1), np.uint8)
    margin = (radius + 1) * stride  # `radius` coarse pixels, and the block a pixel sits in
    run = network(stride, radius)
    small, whole = Tiling(stride, margin, 2 * margin + 3 * stride), Tiling(stride, margin, 10_000)
    np.testing.assert_array_equal(tiled(run, image, small), tiled(run, image, whole))


def test_too_small_a_margin_shows_seams():
    image = np.random.default_rng(0).integers(0, 256, (160, 160, 1), np.uint8)
    run = network(8, 2)
    assert not np.array_equal(tiled(run, image, Tiling(8, 0, 64)), tiled(run, image, Tiling(8, 8, 10_000)))


def test_all_windows_of_an_image_have_one_size_within_the_cap():
    shapes = set()

    def run(tile: np.ndarray) -> np.ndarray:
        shapes.add(tile.shape)
        return tile.transpose(2, 0, 1)

    image = np.arange(517 * 933 * 3, dtype=np.uint8).reshape(517, 933, 3)
    np.testing.assert_array_equal(tiled(run, image, Tiling(16, 20, 200)), image.transpose(2, 0, 1))
    assert len(shapes) == 1
    height, width, channels = shapes.pop()
    assert max(height, width) <= 200
    assert channels == 3


def test_working_memory_does_not_grow_with_the_image():
    def extra_bytes(height: int) -> int:
        image = np.zeros((height, 512, 1), np.uint8)
        tracemalloc.start()
        result = tiled(lambda tile: tile.transpose(2, 0, 1).astype(np.float32), image, Tiling(16, 32, 256))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - result.nbytes

    assert extra_bytes(16_384) < extra_bytes(1024) + 100_000


def test_images_smaller_than_the_stride_are_padded():
    image = np.array([[[7], [9]]], np.uint8)
    np.testing.assert_array_equal(tiled(lambda t: t.transpose(2, 0, 1), image, Tiling(16, 8, 64)), [[[7, 9]]])
