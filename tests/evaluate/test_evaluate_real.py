"""On real photographs and masks at their real size."""

import cv2
import numpy as np
import pytest
from scored_images import Pair, known, sigmoid
from sklearn.metrics import average_precision_score

from flawsmith.core import Defect, Prediction, Sample, decode, image_score
from flawsmith.core.geometry import components
from flawsmith.core.image import to_channels
from flawsmith.evaluate import evaluate, render


@pytest.fixture
def commutators(real_data) -> list[Pair]:
    """Six photographs of kolektor-sdd with a made-up prediction: the truth, blurred, shifted and noisy."""
    folder, rng, pairs = real_data("kolektor-sdd"), np.random.default_rng(0), []
    for kind in ("defect", "good"):
        for path in sorted((folder / kind).glob("*.jpg"))[:3]:
            shape = decode(path).shape[:2]
            mask = np.zeros(shape, bool)
            if kind == "defect":
                mask = to_channels(decode(folder / "mask" / f"{path.stem}.png"), 1) > 0
            noise = cv2.GaussianBlur(rng.normal(0, 18, shape), (0, 0), 4)
            near = cv2.GaussianBlur(np.roll(mask, 2, 1).astype(float), (0, 0), 2)
            maps = sigmoid(noise - 7 + near * rng.uniform(8, 20))[None]
            defects = tuple(Defect("crack", *region) for region in components(mask))
            sample = Sample(
                path.stem, path, not defects, "crack" if defects else "good", defects, {"part": path.stem[:5]}
            )
            pairs.append((sample, Prediction(("crack",), maps, image_score(maps))))
    return pairs


def test_pixel_average_precision_of_photographs_is_scikit_learns(commutators):
    main = evaluate(commutators, ("crack",), resamples=0).main
    truth = np.concatenate([s.masks(("crack",), p.map.shape).ravel() for s, p in commutators])
    scores = np.concatenate([p.map.ravel() for _, p in commutators])
    assert main.pixels.average_precision.value == pytest.approx(average_precision_score(truth, scores), abs=1e-4)
    assert 0.3 < known(main.pixels.dice.value) < 1
    assert main.pixels.truth_px == truth.sum()


def test_photographs_are_read_only_for_the_pictures(commutators):
    evaluation = evaluate(commutators, ("crack",), resamples=0, pictures=2)
    page = render(evaluation)
    assert page.count("data:image/png;base64,") >= 4
    missing = [(s.__class__(**{**vars(s), "pixels": s.pixels / "gone"}), p) for s, p in commutators]
    assert evaluate(missing, ("crack",), resamples=0, pictures=0).headline == evaluation.headline
