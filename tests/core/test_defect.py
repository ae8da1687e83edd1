"""Defect and sample: the nouns check what they are given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from flawsmith.core.defect import Defect, class_masks
from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png
from flawsmith.core.prediction import Prediction, image_score
from flawsmith.core.sample import Sample


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_a_mask_survives_cropping(mask):
    if not mask.any():
        with pytest.raises(DataError, match="'scratch': the mask is empty"):
            Defect.from_mask("scratch", mask)
        return
    defect = Defect.from_mask("scratch", mask)
    np.testing.assert_array_equal(defect.full_mask(mask.shape), mask)
    assert defect.area_px == mask.sum()
    assert defect.area_mm2(0.5) == mask.sum() / 4


def test_a_defect_does_not_share_memory_with_its_source():
    mask = np.ones((3, 3), bool)
    defect = Defect.from_mask("dent", mask)
    mask[:] = False
    assert defect.area_px == 9


def test_a_box_without_mask_is_filled():
    defect = Defect("dent", (1, 2, 4, 6))
    assert defect.area_px == 12
    assert defect.full_mask((8, 8)).sum() == 12
    assert defect.full_mask((3, 3)).sum() == 2


@pytest.mark.parametrize("box", [(3, 0, 3, 5), (0, 5, 4, 5), (4, 0, 2, 5)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(DataError, match="is empty; wanted x0 < x1 and y0 < y1"):
        Defect("dent", box)


def test_a_mask_that_does_not_fit_its_box_is_refused():
    with pytest.raises(DataError, match=r"mask \(3, 2\) does not fit its box \(0, 0, 3, 2\)"):
        Defect("dent", (0, 0, 3, 2), np.ones((3, 2), bool))


def test_class_masks_overlap_and_leave_out_other_kinds():
    defects = (
        Defect("a", (0, 0, 2, 2)),
        Defect("b", (1, 1, 3, 3)),
        Defect("a", (3, 3, 4, 4)),
        Defect("c", (0, 0, 4, 4)),
    )
    planes = class_masks(defects, ("b", "a"), (4, 4))
    assert planes.shape == (2, 4, 4)
    assert planes.sum(axis=(1, 2)).tolist() == [4, 5]
    assert (planes[0] & planes[1]).sum() == 1


def test_a_sample_reads_its_image_when_asked(tmp_path):
    sample = Sample("a", tmp_path / "a.png", healthy=True)
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    np.testing.assert_array_equal(sample.image(), pixels)
    assert Sample("b", pixels, healthy=True).image() is pixels
    assert sample.masks(("dent",), (3, 4)).shape == (1, 3, 4)


def test_the_strongest_kind_makes_the_map():
    maps = np.zeros((2, 20, 20), np.float32)
    maps[0, 4, 4], maps[1, 12, 12] = 1, 0.5
    prediction = Prediction(("a", "b"), maps, image_score(maps))
    assert prediction.map[4, 4] == 1
    assert prediction.map[12, 12] == 0.5
    assert prediction.score == pytest.approx(1 / 25)


def test_the_image_score_is_the_largest_local_mean():
    maps = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    padded = np.pad(maps, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    assert image_score(maps) == pytest.approx(windows.mean(axis=(3, 4)).max(), abs=1e-6)
