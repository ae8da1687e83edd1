"""Streamed pixel intervals against a bootstrap that holds every image."""

import numpy as np
import pytest
from scored_images import known, scored_images
from sklearn.metrics import average_precision_score

from flawsmith.evaluate import evaluate
from flawsmith.evaluate.intervals import Figure, resample_weights
from flawsmith.evaluate.pixels import PixelTally, pixel_counts
from flawsmith.evaluate.tally import union_mask

KINDS = ("crack", "pit")


def test_pixel_intervals_are_those_of_an_ordinary_bootstrap():
    pairs = scored_images(20, 60, KINDS, side=32)
    pixels = evaluate(pairs, KINDS, pictures=0, resamples=300).main.pixels
    rng = np.random.default_rng(0)
    maps = [p.map for _, p in pairs]
    truths = [union_mask(s.defects, m.shape) for (s, _), m in zip(pairs, maps, strict=True)]
    precisions, dices = [], []
    for _ in range(150):
        drawn = rng.integers(0, len(pairs), len(pairs))
        scores, labels = (np.concatenate([a[i].ravel() for i in drawn]) for a in (maps, truths))
        precisions.append(average_precision_score(labels, scores))
        marked = np.repeat([bool(pairs[i][0].defects) for i in drawn], maps[0].size)
        found = (scores >= 0.5) & marked
        dices.append(2 * (found & labels).sum() / (found.sum() + labels.sum()))
    for figure, values in ((pixels.average_precision, precisions), (pixels.dice, dices)):
        low, high = np.quantile(values, [0.025, 0.975])
        assert (figure.low, figure.high) == pytest.approx((low, high), abs=0.03)


def test_coarse_bins_do_not_shift_the_interval():
    """With every weight one, each resample is the data set itself."""
    tally = PixelTally(20)
    for sample, prediction in scored_images(21, 8, KINDS):
        counts = pixel_counts(prediction.map, union_mask(sample.defects, prediction.map.shape), 0.5)
        tally.add(counts, sample.healthy, np.ones(20, np.int64))
    for name, estimate in tally.estimates(True).items():
        assert estimate.resampled == pytest.approx(np.full(20, estimate.value)), name


def test_intervals_of_every_figure_hold_their_value():
    main = evaluate(scored_images(22, 20), KINDS, pictures=0, resamples=60).main
    figures = [main.means.dice, main.means.aupro_05, main.pixels.aupro_30, main.boxes.ap_coco_50_95]
    figures += [main.means.masks.any_overlap, main.image.auroc, main.healthy_images.alarm_px_per_image]
    for figure in figures:
        assert known(figure.low) <= known(figure.value) <= known(figure.high)


def test_seeds_change_intervals_and_nothing_else():
    pairs = scored_images(23, 12)
    one, two = (evaluate(pairs, KINDS, pictures=0, resamples=60, seed=s).main.pixels for s in (1, 2))
    again = evaluate(pairs, KINDS, pictures=0, resamples=60, seed=1).main.pixels
    assert one == again
    assert one.dice.value == two.dice.value
    assert (one.dice.low, one.dice.high) != (two.dice.low, two.dice.high)


def test_too_few_groups_have_no_interval():
    main = evaluate(scored_images(24, 4), KINDS, pictures=0, resamples=60).main
    assert main.pixels.dice == Figure(
        value=main.pixels.dice.value, reason="no interval: too few independent groups, or resamples"
    )


def test_weights_are_those_of_the_group():
    """Two images of one part get the same draw, so their sum is what is resampled."""
    pairs = scored_images(25, 12, KINDS)
    grouped = [(s.__class__(**{**vars(s), "groups": {"part": f"p{i // 2}"}}), p) for i, (s, p) in enumerate(pairs)]
    main = evaluate(grouped, KINDS, pictures=0, resamples=60).main
    assert (main.groups, main.group_unit, main.parts) == (6, "part", 6)
    draws = np.array([resample_weights(f"part:p{i // 2}", 60, 0) for i, (s, _) in enumerate(pairs) if s.healthy])
    alarms = np.array([_alarm_px(p.map) for s, p in pairs if s.healthy])
    with np.errstate(invalid="ignore"):
        means = (draws * alarms[:, None]).sum(axis=0) / draws.sum(axis=0)
    low, high = np.quantile(means[~np.isnan(means)], [0.025, 0.975])
    figure = main.healthy_images.alarm_px_per_image
    assert (figure.low, figure.high) == pytest.approx((low, high))


def _alarm_px(score_map: np.ndarray) -> int:
    return int((score_map >= 0.5).sum())
