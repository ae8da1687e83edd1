"""What a mask picture means: two levels, grey levels, numbers; sizes and types that do not fit."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hard_shapes import HARD
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flawsmith.core.defect import Defect
from flawsmith.core.errors import DataError
from flawsmith.core.image import encode_png
from flawsmith.dataset.formats import ReadOptions
from flawsmith.dataset.formats.loss import mask_iou, matched_iou
from flawsmith.dataset.formats.regions import binary_mask, box_defect, index_mask

SHAPE = (27, 31)
RING = HARD["ring"](SHAPE)


def saved(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(encode_png(pixels))
    return path


@pytest.mark.parametrize("level", [1, 85, 127, 128, 255])
def test_of_two_levels_the_one_that_is_not_black_is_defect(tmp_path: Path, level: int) -> None:
    path = saved(tmp_path / "m.png", RING * np.uint8(level))
    np.testing.assert_array_equal(binary_mask(path, SHAPE, ReadOptions()), RING)


def test_grey_levels_are_cut_at_the_middle_and_noted(tmp_path: Path) -> None:
    levels = np.zeros(SHAPE, np.uint8)
    levels[0, :5] = [1, 127, 128, 200, 255]
    notes: list[str] = []
    mask = binary_mask(saved(tmp_path / "m.png", levels), SHAPE, ReadOptions(note=lambda what, _: notes.append(what)))
    assert np.flatnonzero(mask[0]).tolist() == [2, 3, 4]
    assert notes == ["masks with grey levels: 128 and above is defect"]
    wide = binary_mask(saved(tmp_path / "w.png", levels.astype(np.uint16) * 257), SHAPE, ReadOptions())
    np.testing.assert_array_equal(wide, mask)


def test_black_and_white_masks(tmp_path: Path) -> None:
    assert not binary_mask(saved(tmp_path / "b.png", RING & False), SHAPE, ReadOptions()).any()
    assert binary_mask(saved(tmp_path / "w.png", RING | True), SHAPE, ReadOptions()).all()
    colour = np.repeat((RING * np.uint8(255))[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(binary_mask(saved(tmp_path / "c.png", colour), SHAPE, ReadOptions()), RING)


def test_masks_of_numbers_are_refused_where_two_levels_are_wanted(tmp_path: Path) -> None:
    numbers = RING.astype(np.uint8)
    numbers[26] = 2
    with pytest.raises(DataError, match=r"m\.png: holds the levels 0, 1, 2"):
        binary_mask(saved(tmp_path / "m.png", numbers), SHAPE, ReadOptions())
    numbers[25] = 255  # a palette's border: still numbers
    image, sink = Image.frombytes("P", SHAPE[::-1], numbers.tobytes()), io.BytesIO()
    image.putpalette(list(range(256)) * 3)
    image.save(sink, "PNG")
    (tmp_path / "p.png").write_bytes(sink.getvalue())
    with pytest.raises(DataError, match="numbers classes or objects"):
        binary_mask(tmp_path / "p.png", SHAPE, ReadOptions())
    np.testing.assert_array_equal(index_mask(tmp_path / "p.png", SHAPE), numbers)


def test_a_lossy_mask_is_cut_at_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "m.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.tile(np.arange(8, dtype=np.uint8), (8, 1)))[1].tobytes())
    assert not binary_mask(path, (8, 8), ReadOptions()).any()


def test_another_size_is_named_with_both_files(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", RING[:-1])
    with pytest.raises(DataError, match=r"m\.png is 31x26, its image 31x27"):
        binary_mask(path, SHAPE, ReadOptions())


def test_float_and_nan_masks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tiff"
    Image.fromarray(np.full(SHAPE, np.nan, np.float32)).save(path)
    with pytest.raises(DataError, match=r"m\.tiff: float32 pixels are not read"):
        binary_mask(path, SHAPE, ReadOptions())


@given(box=st.tuples(*[st.floats(-40, 40)] * 4))
def test_boxes_are_cut_to_the_image(box: tuple[float, ...]) -> None:
    x0, y0, x1, y1 = box
    ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    defect = box_defect("dent", ordered, SHAPE, "x", ReadOptions())
    if defect is None:
        assert ordered[0] >= 30.5 or ordered[1] >= 26.5 or ordered[2] < 0.5 or ordered[3] < 0.5
    else:
        a, b, c, d = defect.box
        assert 0 <= a < c <= 31
        assert 0 <= b < d <= 27
        assert abs(a - np.clip(ordered[0], 0, 31)) <= 1


@given(seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_iou_is_that_of_whole_masks(seeds: tuple[int, int]) -> None:
    a, b = (np.random.default_rng(seed).random(SHAPE) < 0.02 for seed in seeds)
    a[3, 4] = b[5, 6] = True
    expected = (a & b).sum() / (a | b).sum()
    assert mask_iou(Defect.from_mask("x", a), Defect.from_mask("x", b)) == pytest.approx(expected)


def test_matching_keeps_to_the_kind_and_finds_the_best_pairs() -> None:
    def box(kind: str, x: int) -> Defect:
        return Defect(kind, (x, 0, x + 10, 1))

    truth = (box("a", 0), box("a", 5), box("b", 0))
    assert matched_iou(truth, (box("a", 5), box("a", 0), box("c", 0))).tolist() == [1.0, 1.0, 0.0]
    # The first comes first to none: 0-10 with 3-13 (7/13) and 5-15 with 0-10 (5/15) is worse than the other way round.
    assert matched_iou(truth[:2], (box("a", 3), box("a", 0))).tolist() == pytest.approx([1.0, 8 / 12])
