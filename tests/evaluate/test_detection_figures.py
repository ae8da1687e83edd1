"""Regions, matches and average precision against pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage
from scored_images import Pair, scored_images

from flawsmith.core import Defect
from flawsmith.core.geometry import box_iou
from flawsmith.evaluate import evaluate
from flawsmith.evaluate.detection import MatchTally, detection_figures
from flawsmith.evaluate.regions import RULES, average_precisions, box_ious, find_regions, mask_overlaps, match

KINDS = ("crack", "pit")
THRESHOLD = 0.5


def connected(mask: np.ndarray) -> list[np.ndarray]:
    """Bool masks of the 8-connected regions, by SciPy."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)), output=labels)
    return [labels == i for i in range(1, int(labels.max()) + 1)]


def entry(mask: np.ndarray, image: int, kind: int, number: int) -> dict:
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    box = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
    return {
        "id": number,
        "image_id": image,
        "category_id": kind,
        "bbox": box,
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))),
    }


def coco_precision(pairs: list[Pair], style: Any, ious: np.ndarray, classes: bool = True) -> np.ndarray:
    """AP by pycocotools over images in order of their names: (IoUs, kinds)."""
    truths, found = [], []
    for image, (sample, prediction) in enumerate(pairs, start=1):
        for kind, name in enumerate(KINDS):
            for defect in sample.defects:
                if defect.kind == name:
                    mask = defect.full_mask(prediction.maps.shape[1:])
                    truths.append(entry(mask, image, kind + 1, len(truths) + 1))
            for mask in connected(prediction.maps[kind] >= THRESHOLD):
                region = entry(mask, image, kind + 1, 0)
                found.append(region | {"score": float(prediction.maps[kind][mask].max())})
    with contextlib.redirect_stdout(io.StringIO()):
        coco: Any = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i + 1, "height": 48, "width": 64} for i in range(len(pairs))],
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(KINDS)],
            "annotations": truths,
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), style)
        run.params.iouThrs = ious
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, :, 0, -1].mean(axis=1)


@pytest.mark.parametrize("seed", [0, 1])
def test_average_precision_equals_pycocotools(seed):
    pairs = scored_images(seed, 30, KINDS)
    main = evaluate(pairs, KINDS, threshold=THRESHOLD, pictures=0, resamples=0).main
    standard = np.linspace(0.5, 0.95, 10)
    for style, figures in (("bbox", "boxes"), ("segm", "masks")):
        coco = coco_precision(pairs, style, standard)
        lenient = coco_precision(pairs, style, np.array([1e-10]))
        for kind in range(2):
            ours = getattr(main.kinds[kind], figures)
            assert ours.ap_coco_50_95.value == pytest.approx(coco[:, kind].mean(), abs=1e-9)
            assert ours.ap_coco_50.value == pytest.approx(coco[0, kind], abs=1e-9)
            assert ours.ap_any_overlap.value == pytest.approx(lenient[0, kind], abs=1e-9)
        means = getattr(main.means, figures)
        assert means.coco_50_95.value == pytest.approx(coco.mean(), abs=1e-9)
        assert means.coco_50.value == pytest.approx(coco[0].mean(), abs=1e-9)
        assert means.any_overlap.value == pytest.approx(lenient.mean(), abs=1e-9)


def test_many_predictions_on_one_image_are_cut_to_the_best_hundred_as_in_coco():
    pairs = scored_images(5, 2, KINDS)
    rng = np.random.default_rng(0)
    specks = np.where(rng.random((2, 48, 64)) < 0.1, rng.uniform(0.5, 0.7, (2, 48, 64)), 0).astype(np.float32)
    for _, prediction in pairs:
        np.maximum(prediction.maps, specks, out=prediction.maps)
    main = evaluate(pairs, KINDS, threshold=THRESHOLD, pictures=0, resamples=0).main
    coco = coco_precision(pairs, "bbox", np.linspace(0.5, 0.95, 10))
    assert main.means.boxes.coco_50_95.value == pytest.approx(coco[coco > -1].mean(), abs=1e-9)
    assert main.boxes.any_overlap.precision.n > 200  # all of them count as predicted regions


@settings(max_examples=60)
@given(arrays(np.float32, (9, 11), elements=st.sampled_from([0.0, 0.3, 0.6, 0.9])), st.integers(1, 4))
def test_regions_are_scipys_connected_regions(score_map, min_area):
    regions = find_regions(score_map, 0.5, min_area)
    wanted = [mask for mask in connected(score_map >= 0.5) if mask.sum() >= min_area]
    found = [regions.labels == i + 1 for i in range(len(regions))]
    assert sorted(m.tobytes() for m in wanted) == sorted(m.tobytes() for m in found)
    assert (np.diff(regions.scores) <= 0).all()
    for mask, box, area, score in zip(found, regions.boxes, regions.areas, regions.scores, strict=True):
        cut = Defect.from_mask("any", mask)
        assert cut.box == tuple(box.tolist())
        assert cut.area_px == area
        assert score == score_map[mask].max()


def test_overlaps_of_masks_and_of_box_only_defects():
    score_map = np.zeros((10, 10), np.float32)
    score_map[2:5, 2:5] = 0.9
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    defects = (Defect("a", (2, 2, 5, 5), ring), Defect("a", (4, 4, 8, 8)), Defect("a", (7, 7, 9, 9)))
    assert mask_overlaps(find_regions(score_map, 0.5), defects).tolist() == [[8, 1, 0]]


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 6)] * 2), min_size=1, max_size=5))
def test_box_iou_equals_the_one_by_one_formula(boxes):
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes])
    table = box_ious(corners, corners)
    for i, a in enumerate(corners.tolist()):
        assert table[i] == pytest.approx([box_iou(tuple(a), tuple(b)) for b in corners.tolist()])


@given(arrays(float, (6, 4), elements=st.sampled_from([0.0, 0.2, 0.5, 0.55, 0.8, 1.0])))
def test_a_truth_is_taken_by_one_prediction_at_most(ious):
    taken = match(ious)
    for column, wanted in enumerate(RULES):
        used = taken[:, column][taken[:, column] >= 0]
        assert len(set(used.tolist())) == len(used)
        for row in np.flatnonzero(taken[:, column] >= 0):
            assert ious[row, taken[row, column]] >= wanted


def test_a_second_region_on_the_same_defect_is_a_false_alarm():
    tally = MatchTally()
    tally.add("one", "one", np.array([0.9, 0.8], np.float32), match(np.array([[0.3], [0.6]])), 1)
    figures = detection_figures(tally, tally.estimates(0, 0))
    assert (figures.any_overlap.precision.k, figures.any_overlap.precision.n) == (1, 2)
    assert figures.any_overlap.recall.k == 1
    assert figures.ap_any_overlap.value == pytest.approx(1)
    assert figures.coco_50.recall.k == 1  # the second one is good enough for COCO's rule
    assert figures.ap_coco_50.value == pytest.approx(0.5)


def test_without_truth_there_is_no_average_precision():
    assert np.isnan(average_precisions(np.zeros((3, 11), bool), np.ones(3), 0)).all()
    assert (average_precisions(np.zeros((0, 11), bool), np.ones(0), 2) == 0).all()


def test_whole_number_weights_are_repeated_images():
    """A resample that draws an image twice is the data set that holds it twice."""
    rng = np.random.default_rng(4)
    found, weights = rng.random((20, 11)) < 0.5, rng.integers(0, 3, 20)
    weighted = average_precisions(found, weights, 15)
    repeated = average_precisions(np.repeat(found, weights, axis=0), np.ones(weights.sum()), 15)
    # a hit that counts twice is one step of two, not two steps: no more than the step's height apart
    assert weighted == pytest.approx(repeated, abs=0.02)
