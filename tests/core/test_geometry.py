"""Masks, boxes and regions against brute force and SciPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from flawsmith.core.geometry import box_area, box_iou, box_mask, components, mask_box, outline

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
sides = st.tuples(st.integers(-3, 12), st.integers(0, 9))
boxes = st.tuples(sides, sides).map(lambda s: (s[0][0], s[1][0], s[0][0] + s[0][1], s[1][0] + s[1][1]))


@given(masks)
def test_mask_box_is_the_smallest_that_holds_every_pixel(mask):
    box = mask_box(mask)
    if box is None:
        assert not mask.any()
        return
    ys, xs = np.nonzero(mask)
    assert box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert all(type(v) is int for v in box)


@given(boxes)
def test_box_mask_is_the_box_cut_to_the_image(box):
    x0, y0, x1, y1 = box
    wanted = [[x0 <= x < x1 and y0 <= y < y1 for x in range(8)] for y in range(6)]
    np.testing.assert_array_equal(box_mask(box, (6, 8)), wanted)


@given(boxes, boxes)
def test_box_iou_counts_pixels(a, b):
    def pixels(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    union = pixels(a) | pixels(b)
    assert box_area(a) == len(pixels(a))
    assert box_iou(a, b) == box_iou(b, a)
    assert abs(box_iou(a, b) - (len(pixels(a) & pixels(b)) / len(union) if union else 0)) < 1e-12


def test_the_area_of_an_inverted_box_is_0():
    assert box_area((5, 5, 2, 9)) == 0
    assert box_iou((5, 5, 2, 9), (0, 0, 9, 9)) == 0


@given(masks)
def test_components_are_scipys_8_connected_regions(mask):
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    regions = components(mask)
    assert len(regions) == count
    whole = np.zeros(mask.shape, int)
    for (x0, y0, x1, y1), region in regions:
        assert mask_box(region) == (0, 0, x1 - x0, y1 - y0)
        numbers = labels[y0:y1, x0:x1][region]
        assert len(set(numbers)) == 1
        whole[y0:y1, x0:x1] += region
    np.testing.assert_array_equal(whole, mask)


@given(masks, st.integers(1, 3))
def test_an_outline_lies_just_outside(mask, thickness):
    ring = outline(mask, thickness)
    assert not (ring & mask).any()
    distance = ndimage.distance_transform_cdt(~mask, "chessboard") if mask.any() else np.full(mask.shape, 99)
    np.testing.assert_array_equal(ring, (distance > 0) & (distance <= thickness))
