"""Images of one part judged as one."""

import numpy as np
import pytest

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import Sample
from flawsmith.evaluate.class_evaluation import evaluate_classes
from flawsmith.evaluate.classes import ClassScore
from flawsmith.evaluate.views import together

CLASSES, HEALTHY = ("good", "dent", "rust"), ("good",)


def view(name: str, part: str, label: str, probabilities: tuple[float, ...], unknown: float = 0.1):
    pixels = np.zeros((8, 8), np.uint8)
    sample = Sample(name, pixels, healthy=label == "good", label=label, groups={"part": part})
    return sample, ClassScore(np.array(probabilities, np.float32), unknown)


def test_the_view_that_shows_the_fault_decides() -> None:
    pairs = [
        view("a0", "a", "good", (0.9, 0.05, 0.05)),
        view("a1", "a", "dent", (0.2, 0.7, 0.1), unknown=0.3),
        view("b0", "b", "good", (0.8, 0.1, 0.1)),
        view("b1", "b", "good", (0.7, 0.2, 0.1)),
    ]
    joined = list(together(pairs, "part", CLASSES, HEALTHY))
    assert [(s.id, s.label, s.healthy) for s, _ in joined] == [("a1", "dent", False), ("b1", "good", True)]
    assert joined[0][1].probabilities.argmax() == 1
    assert joined[0][1].unknown == pytest.approx(0.3)
    alone = evaluate_classes(pairs, CLASSES, healthy=HEALTHY, resamples=0)
    parts = evaluate_classes(joined, CLASSES, healthy=HEALTHY, resamples=0)
    assert (alone.main.images, parts.main.images) == (4, 2)
    assert parts.main.accuracy.k == 2


def test_where_no_class_is_healthy_views_are_weighed_alike() -> None:
    pairs = [view("a0", "a", "bolt", (0.6, 0.4)), view("a1", "a", "bolt", (0.2, 0.8))]
    pairs = [(Sample(s.id, s.pixels, healthy=False, label="bolt", groups=s.groups), c) for s, c in pairs]
    ((_, score),) = together(pairs, "part", ("bolt", "screw"), ())
    product = np.sqrt(np.array([0.6 * 0.2, 0.4 * 0.8]))
    np.testing.assert_allclose(score.probabilities, product / product.sum(), rtol=1e-5)


def test_views_that_cannot_be_joined_are_refused() -> None:
    two = [view("a0", "a", "rust", (0.1, 0.1, 0.8)), view("a1", "a", "dent", (0.1, 0.8, 0.1))]
    with pytest.raises(DataError, match="labelled dent, rust"):
        list(together(two, "part", CLASSES, HEALTHY))
    with pytest.raises(ConfigError, match="wanted one of part, lot"):
        list(together(two, "colour", CLASSES, HEALTHY))
    with pytest.raises(DataError, match="a0 has no lot"):
        list(together(two, "lot", CLASSES, HEALTHY))
