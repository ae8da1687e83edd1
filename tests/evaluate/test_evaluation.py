"""The whole of `evaluate`: against loops, invariances, and every awkward data set."""

import gc
import json
import random
import weakref
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scored_images import Pair, flat, known, leaves, relabelled, scored_images
from sklearn.metrics import average_precision_score

from flawsmith.core import ConfigError, DataError, Defect, Prediction, Sample
from flawsmith.evaluate import DatasetFacts, Evaluation, evaluate

KINDS = ("crack", "pit")


def run(pairs: Iterable[Pair], kinds: tuple[str, ...] = KINDS, **options: Any) -> Evaluation:
    settings: dict[str, Any] = {"resamples": 0, "pictures": 0}
    return evaluate(pairs, kinds, **(settings | options))


def same(a: object, b: object) -> None:
    """Equal figures; floats up to the order of summation."""
    left, right = dict(leaves(a)), dict(leaves(b))
    assert left.keys() == right.keys()
    for path, value in left.items():
        wanted = pytest.approx(right[path], abs=1e-12) if isinstance(value, float) else right[path]
        assert value == wanted, path


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_pixel_figures_equal_a_loop_over_raw_pixels():
    pairs = scored_images(0, 16)
    main = run(pairs, threshold=0.4).main
    for index, kind in enumerate(KINDS):
        marked = [(s.masks(KINDS, p.map.shape)[index], p.maps[index] >= 0.4) for s, p in pairs if not s.healthy]
        truth, found = (np.concatenate([m[i].ravel() for m in marked]) for i in (0, 1))
        ours = main.kinds[index].pixels
        assert main.kinds[index].kind == kind
        assert ours.dice.value == pytest.approx(dice(truth, found))
        assert ours.iou.value == pytest.approx((truth & found).sum() / (truth | found).sum())
        assert ours.precision.value == pytest.approx((truth & found).sum() / found.sum())
        assert ours.recall.value == pytest.approx((truth & found).sum() / truth.sum())
        assert ours.dice_mean_per_image.value == pytest.approx(np.mean([dice(*m) for m in marked if m[0].any()]))
        everything = [(s.masks(KINDS, p.map.shape)[index].ravel(), p.maps[index].ravel()) for s, p in pairs]
        labels, scores = (np.concatenate([e[i] for e in everything]) for i in (0, 1))
        assert ours.average_precision.value == pytest.approx(average_precision_score(labels, scores), abs=1e-4)
        assert ours.dice_with_healthy.value == pytest.approx(dice(labels > 0, scores >= 0.4))


def test_the_best_dice_is_reached_at_its_threshold():
    pairs = scored_images(1, 12)
    best = run(pairs).main.pixels
    again = run(pairs, threshold=best.best_dice_threshold).main.pixels
    assert again.dice.value == pytest.approx(best.best_dice.value)
    assert known(best.best_dice.value) >= known(best.dice.value)
    assert "these very images" in str(best.best_dice.reason)


def test_means_over_kinds_are_the_mean_of_the_kinds():
    main = run(scored_images(2, 20)).main
    assert main.means.dice.value == pytest.approx(np.mean([known(k.pixels.dice.value) for k in main.kinds]))
    assert main.means.aupro_30.value == pytest.approx(np.mean([known(k.pixels.aupro_30.value) for k in main.kinds]))
    assert main.means.kinds == 2


def test_healthy_images_are_counted_in_pixels_and_regions():
    pairs = [flat(0.9, "a"), flat(0.1, "b"), flat(0.1, "c", healthy=False)]
    pairs[1][1].maps[0, 2:4, 3] = 0.8
    pairs[1][1].maps[0, 8, 8] = 0.8
    healthy = run(pairs, ("crack",)).main.healthy_images
    assert (healthy.with_alarm.k, healthy.with_alarm.n) == (2, 2)
    assert (healthy.alarm_px, healthy.alarm_px_most, healthy.alarm_px_per_image.value) == (195, 192, 97.5)
    assert (healthy.alarm_regions, healthy.alarm_regions_most) == (3, 2)
    larger = run(pairs, ("crack",), min_area_px=2).main.healthy_images
    assert (larger.alarm_px, larger.alarm_regions) == (194, 2)


def test_a_healthy_image_never_changes_the_dice():
    defective = [pair for pair in scored_images(3, 12) if not pair[0].healthy]
    alone, among = run(defective).main.pixels, run([*defective, *scored_images(9, 1)]).main.pixels
    assert alone.dice == among.dice
    assert alone.dice_mean_per_image == among.dice_mean_per_image


def test_figures_do_not_depend_on_the_order_of_the_images():
    pairs = scored_images(4, 24)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    first, second = (run(p, resamples=40, pictures=3) for p in (pairs, shuffled))
    same(first.to_json(), second.to_json())
    assert [c.detail_png for c in first.main.worst_defective] == [c.detail_png for c in second.main.worst_defective]


def test_raising_the_threshold_never_adds_a_reject_or_an_alarm_pixel():
    pairs = scored_images(5, 20)
    rows = [run(pairs, threshold=t).main for t in (0.2, 0.5, 0.8, 1.0)]
    for low, high in pairwise(rows):
        assert high.operating.false_rejects <= low.operating.false_rejects
        assert high.operating.correct_rejects <= low.operating.correct_rejects
        assert high.healthy_images.alarm_px <= low.healthy_images.alarm_px


def test_counts_add_up():
    evaluation = run(scored_images(6, 25))
    main = evaluation.main
    assert main.defective + main.healthy == main.images == 25
    assert sum(main.splits.values()) == 25
    assert sum(size.defects for size in main.sizes) == main.defects == sum(kind.defects for kind in main.kinds)
    assert sum(size.escapes.n for size in main.sizes) == main.defective
    assert sum(size.escapes.k for size in main.sizes) == main.operating.escapes
    assert sum(size.found.k for size in main.sizes) == sum(kind.found.k for kind in main.kinds)
    for row in (*main.image.sweep, main.operating):
        assert row.correct_passes + row.false_rejects == main.healthy
        assert row.escapes + row.correct_rejects == main.defective


def test_real_and_synthetic_images_are_never_pooled():
    real, rendered = scored_images(7, 10), scored_images(8, 10)
    rendered = [relabelled(p, id=f"render-{p[0].id}", provenance="render") for p in rendered]
    both = run([*rendered, *real])
    assert [p.provenance for p in both.provenances] == ["real", "render"]
    assert both.headline_provenance == "real"
    assert both.main == run(real).main
    assert both.provenances[1] == run(rendered).main
    assert run(rendered).headline.startswith("Synthetic images (rendered), no real ones:")


def test_the_headline_is_for_a_quality_engineer():
    pairs = [flat(0.9, "a", healthy=False), flat(0.2, "b", healthy=False), flat(0.1, "c"), flat(0.6, "d")]
    headline = run(pairs, ("crack",)).headline
    assert headline == (
        "Real photographs: 1 of 2 defective parts would escape (95 % interval 1.3 to 98.7 %); "
        "1 of 2 good parts would be rejected (95 % interval 1.3 to 98.7 %), at score ≥ 0.5."
    )
    one_part = [relabelled(pair, groups={"part": "p"}) for pair in pairs]
    assert "1 of 2 images with a defect would escape" in run(one_part, ("crack",)).headline
    assert "nothing is known of escapes" in run(pairs[2:], ("crack",)).headline
    assert "nothing is known of false rejects" in run(pairs[:2], ("crack",)).headline


def test_a_decision_can_judge_instead_of_the_score():
    pairs = [flat(0.9, "a", healthy=False), flat(0.9, "b"), flat(0.2, "c")]
    judged = run(pairs, ("crack",), rejects=lambda p: p.score < 0.5, rule="the decision")
    assert judged.by_decision
    assert (judged.main.operating.escapes, judged.main.operating.false_rejects) == (1, 1)
    assert judged.headline.endswith("at the decision.")


def test_a_defective_image_without_a_region_counts_at_image_level_only():
    marked = scored_images(10, 8)
    unmarked = Sample("unmarked", np.zeros((48, 64), np.uint8), healthy=False, label="crack", split="test")
    prediction = Prediction(KINDS, np.full((2, 48, 64), 0.9, np.float32), 0.9)
    without, with_it = run(marked).main, run([*marked, (unmarked, prediction)]).main
    assert with_it.unmarked == 1
    assert with_it.defective == without.defective + 1
    assert with_it.operating.correct_rejects == without.operating.correct_rejects + 1
    assert with_it.pixels == without.pixels
    assert (with_it.masks, with_it.boxes, with_it.sizes) == (without.masks, without.boxes, without.sizes)
    assert with_it.kinds[0].images == without.kinds[0].images + 1
    assert any("no marked region" in line for line in with_it.remarks)


def test_boxes_as_truth_are_marked_and_have_no_mask_iou():
    pairs = scored_images(11, 10)
    boxed = [relabelled(p, defects=tuple(replace(d, mask=None) for d in p[0].defects)) for p in pairs]
    masks, boxes = run(pairs).main, run(boxed).main
    assert boxes.boxes_as_truth == boxes.defects > 0
    assert boxes.remarks[0].startswith("Boxes as truth")
    assert boxes.boxes == masks.boxes
    assert boxes.masks.ap_coco_50.value is None
    assert "see the box figures" in str(boxes.masks.coco_50.recall.reason)
    assert boxes.pixels.truth_px > masks.pixels.truth_px
    assert boxes.masks.any_overlap.recall.n == masks.masks.any_overlap.recall.n


def test_kinds_that_the_model_does_not_know_count_as_defects():
    pairs = scored_images(12, 12)
    two = [(s, Prediction(("crack",), p.maps[:1], float(p.maps[0].max()))) for s, p in pairs]
    main = run(two, ("crack",)).main
    assert [u.kind for u in main.unknown_kinds] == ["pit"]
    assert main.unknown_kinds[0].defects + main.kinds[0].defects == main.defects
    assert main.pixels.truth_px > main.kinds[0].pixels.truth_px
    assert any("does not know" in line and "pit" in line for line in main.remarks)


def test_a_kind_without_any_truth_has_no_figures_and_is_no_part_of_the_means():
    pairs = scored_images(13, 10, ("crack",))
    three = [(s, Prediction(("crack", "rust"), np.repeat(p.maps, 2, axis=0), p.score)) for s, p in pairs]
    main = run(three, ("crack", "rust")).main
    rust = main.kinds[1]
    assert (rust.images, rust.defects, rust.pixels.dice.value) == (0, 0, None)
    assert "no labelled pixel" in str(rust.pixels.dice.reason)
    assert rust.boxes.ap_coco_50.value is None
    assert rust.healthy.images == main.healthy
    assert main.means.kinds == 1
    assert main.means.dice.value == main.kinds[0].pixels.dice.value


def test_a_region_of_interest_is_the_same_as_cropping():
    pairs = scored_images(14, 10)
    roi = np.zeros((48, 64), bool)
    roi[10:40, 12:50] = True
    cropped = []
    for sample, prediction in pairs:
        kept = [
            Defect.from_mask(d.kind, cut) for d in sample.defects if (cut := d.full_mask((48, 64))[10:40, 12:50]).any()
        ]
        if sample.defects and not kept:
            continue
        small = Prediction(KINDS, np.ascontiguousarray(prediction.maps[:, 10:40, 12:50]), prediction.score)
        cropped.append((replace(sample, defects=tuple(kept)), small))
    kept_ids = {sample.id for sample, _ in cropped}
    inside = run([p for p in pairs if p[0].id in kept_ids], roi=roi)
    # a kind whose defects all lie outside is still what the image is labelled
    left_out: Any = {"outside_roi": True, "remarks": True, "kinds": {"__all__": {"images", "escapes"}}}
    wanted, got = (e.main.model_dump(mode="json", exclude=left_out) for e in (run(cropped), inside))
    same(got, wanted)
    assert inside.roi_px == 30 * 38


def test_defects_outside_the_region_of_interest_are_left_out_and_counted():
    roi = np.zeros((12, 16), bool)
    roi[:3] = True
    main = run([flat(0.9, "a", healthy=False), flat(0.1, "b")], ("crack",), roi=roi).main
    assert (main.outside_roi, main.defects, main.defective) == (1, 0, 1)
    assert main.pixels.dice.value is None
    assert any("outside the region of interest" in line for line in main.remarks)


def test_size_bins_hold_the_right_defects():
    shape = (100, 100)
    defects = tuple(Defect("crack", (0, 0, side, side), np.ones((side, side), bool)) for side in (1, 5, 10, 80))
    maps = np.zeros((1, *shape), np.float32)
    maps[0, :10, :10] = 0.9
    sample = Sample("a", np.zeros(shape, np.uint8), False, "crack", defects, pixel_mm=0.1)
    sizes = run([(sample, Prediction(("crack",), maps, 0.9))], ("crack",)).main.sizes
    assert [(s.from_px, s.to_px, s.defects) for s in sizes] == [
        (0, 25, 1), (25, 100, 1), (100, 400, 1), (400, 1600, 0), (1600, 6400, 0), (6400, None, 1)
    ]  # fmt: skip
    assert [s.found.k for s in sizes] == [1, 1, 1, 0, 0, 1]
    assert sizes[5].coverage.value == pytest.approx(100 / 6400)
    assert sizes[2].found_iou_50.k == 1
    assert (sizes[1].from_mm2, sizes[1].to_mm2) == pytest.approx((0.25, 1.0))
    assert (sizes[1].smallest_mm2, sizes[1].largest_mm2) == pytest.approx((0.25, 0.25))
    assert sizes[3].found.reason == "no defect of this size"
    assert [s.escapes.n for s in sizes] == [0, 0, 0, 0, 0, 1]


def test_areas_in_mm_need_a_pixel_size():
    assert all(s.to_mm2 is None and s.smallest_mm2 is None for s in run(scored_images(15, 4)).main.sizes)
    mixed = [relabelled(p, pixel_mm=0.1 * (1 + i // 2)) for i, p in enumerate(scored_images(15, 4))]
    sizes = run(mixed).main.sizes
    assert all(s.to_mm2 is None for s in sizes)
    assert any(s.smallest_mm2 is not None for s in sizes)


AWKWARD = {
    "one healthy image": [flat(0.2)],
    "one defective image": [flat(0.2, healthy=False)],
    "no healthy": [flat(0.2, "a", healthy=False), flat(0.9, "b", healthy=False)],
    "no defective": [flat(0.2, "a"), flat(0.9, "b")],
    "constant scores": [flat(0.5, str(i), healthy=i % 2 == 0) for i in range(6)],
    "all zero": [flat(0.0, str(i), healthy=i % 2 == 0) for i in range(6)],
    "all one": [flat(1.0, str(i), healthy=i % 2 == 0) for i in range(6)],
    "truth everywhere": [
        relabelled(flat(0.7, str(i), healthy=False), defects=(Defect("crack", (0, 0, 16, 12)),)) for i in range(6)
    ],
    "unmarked only": [relabelled(flat(0.2, "a", healthy=False), defects=())],
}


@pytest.mark.parametrize("pairs", AWKWARD.values(), ids=AWKWARD.keys())
def test_every_null_has_its_reason_and_nothing_is_nan(pairs: list[Pair]):
    evaluation = run(pairs, ("crack",), resamples=30)
    document = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    nulls = [
        path.removesuffix(".value") for path, value in leaves(document) if value is None and path.endswith(".value")
    ]
    reasons = dict(leaves(document))
    assert all(reasons[f"{path}.reason"] for path in nulls)
    missing = {"no healthy": "no healthy images", "no defective": "no defective images"}
    for name, reason in missing.items():
        if pairs is AWKWARD[name]:
            assert evaluation.main.image.auroc.reason == reason


def test_no_images_is_an_error_with_a_remedy():
    with pytest.raises(DataError, match="no images to evaluate: choose a split"):
        run([])


def test_metrics_can_be_read_back():
    evaluation = run(scored_images(16, 8), resamples=30, pictures=2, dataset=DatasetFacts(name="x"))
    document = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert Evaluation.model_validate(document).to_json() == evaluation.to_json()


def test_maps_and_images_are_not_kept():
    alive: list[weakref.ref] = []
    most = 0

    def stream():
        nonlocal most
        for sample, prediction in scored_images(17, 12):
            fresh = prediction.maps.copy()
            alive.append(weakref.ref(fresh))
            gc.collect()
            most = max(most, sum(ref() is not None for ref in alive))
            yield sample, Prediction(KINDS, fresh, prediction.score)
            del fresh

    run(stream(), pictures=4)
    assert most <= 2


def broken(**changes) -> list[Pair]:
    sample, prediction = flat(0.5, "part-7/shot 3", healthy=False)
    return [(replace(sample, **changes.pop("sample", {})), replace(prediction, **changes))]


MISTAKES = {
    "other kinds": (broken(kinds=("dent",)), "use one model"),
    "too few maps": (broken(maps=np.zeros((2, 4, 4), np.float32)), r"wanted float32 \(1, H, W\)"),
    "not float32": (broken(maps=np.zeros((1, 12, 16))), "wanted float32"),
    "not a number": (broken(maps=np.full((1, 12, 16), np.nan, np.float32)), "must not be used"),
    "logits": (broken(maps=np.full((1, 12, 16), 3, np.float32)), "must not be used"),
    "no score": (broken(score=float("nan")), "must not be used"),
    "healthy with defects": (broken(sample={"healthy": True}), "correct its labels"),
    "outside": (broken(sample={"defects": (Defect("crack", (10, 10, 20, 20)),)}), "predict at the image's own size"),
    "empty mask": (broken(sample={"defects": (Defect("crack", (0, 0, 2, 2), np.zeros((2, 2), bool)),)}), "empty mask"),
    "twice": ([flat(0.5, "part-7/shot 3")] * 2, "given twice"),
}


@pytest.mark.parametrize(("pairs", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_pair_is_named_with_its_remedy(pairs, message):
    with pytest.raises(DataError, match=message) as caught:
        run(pairs, ("crack",))
    assert "part-7/shot 3" in str(caught.value)


def test_an_image_of_another_size_than_its_maps_is_named():
    pairs = [relabelled(flat(0.5, "a"), pixels=np.zeros((5, 5), np.uint8))]
    with pytest.raises(DataError, match="make them equal"):
        run(pairs, ("crack",), pictures=1)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.0},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"min_area_px": 0},
        {"size_edges_px": (100, 50)},
        {"size_edges_px": (0, 50)},
        {"pictures": -1},
        {"roi": np.zeros((12, 16), bool)},
        {"roi": np.ones((12, 16), np.uint8)},
        {"kinds": ()},
        {"kinds": ("a", "a")},
    ],
)
def test_a_wrong_setting_is_refused(options):
    kinds = options.pop("kinds", ("crack",))
    with pytest.raises(ConfigError):
        run([flat(0.5)], kinds, **options)


def test_a_roi_of_another_size_is_refused():
    with pytest.raises(DataError, match="region of interest is"):
        run([flat(0.5)], ("crack",), roi=np.ones((3, 3), bool))
