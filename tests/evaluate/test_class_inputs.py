"""What `evaluate_classes` refuses, and how it says so."""

import numpy as np
import pytest
from scored_classes import changed, scored_classes, stub
from test_classes import AB, run

from flawsmith.core import ConfigError, DataError

BAD_SCORES = {
    "sum": ({"probabilities": np.array([0.9, 0.2], np.float32)}, "add up to 1.1"),
    "logits": ({"probabilities": np.array([3, -2], np.float32)}, "the least is -2"),
    "nan": ({"probabilities": np.array([np.nan, 1], np.float32)}, "add up to nan"),
    "wrong K": ({"probabilities": np.ones(1, np.float32)}, r"float32 \(1,\); wanted float32 \(2,\)"),
    "float64": ({"probabilities": np.array([0.5, 0.5])}, "probabilities float64"),
    "unknown": ({"unknown": 1.2}, "unknown is 1.2"),
    "unknown nan": ({"unknown": float("nan")}, "unknown is nan"),
    "features": ({"features": np.array([np.inf], np.float32)}, "all of them finite"),
    "features 2-D": ({"features": np.zeros((2, 2), np.float32)}, r"features \(2, 2\)"),
    "heat": ({"heat": np.full((2, 2), 1.5, np.float32)}, "divide it by its maximum"),
    "heat nan": ({"heat": np.full((2, 2), np.nan, np.float32)}, "divide it by its maximum"),
    "heat 3-D": ({"heat": np.zeros((2, 2, 3), np.float32)}, r"wanted float32 \(h, w\)"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_SCORES.values(), ids=BAD_SCORES.keys())
def test_outputs_that_no_sound_model_gives_are_refused_by_name(changes, message):
    pair = changed(stub("dent", [0.5, 0.5], "line3/007"), **changes)
    with pytest.raises(DataError, match=f"^line3/007: .*{message}"):
        run([stub("good", [0.5, 0.5], "a"), pair], AB)


def test_half_precision_sums_are_accepted():
    row = np.array([0.33325, 0.33325, 0.33325], np.float32)
    assert run([stub("good", row.tolist(), "a")], ("good", "b", "c")).main.known == 1


def test_no_image_and_one_image_twice_are_refused():
    with pytest.raises(DataError, match="no images to evaluate"):
        run([], AB)
    pair = stub("good", [0.9, 0.1], "a")
    with pytest.raises(DataError, match="a was given twice"):
        run([pair, pair], AB)


@pytest.mark.parametrize("other", ["real", "render"])
def test_features_of_two_models_are_refused(other):
    pairs = scored_classes(18, 12)
    longer = changed(pairs[-1], features=np.zeros(17, np.float32), provenance=other)
    with pytest.raises(DataError, match="one model"):
        run([*pairs[:-1], longer])


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ((), {}, "at least one"),
        (("a", "a"), {}, "each once"),
        (("a", "unknown"), {}, "rename it"),
        (AB, {"unknown_at": 0}, "unknown_at 0"),
        (AB, {"unknown_at": 1.5}, "unknown_at 1.5"),
        (AB, {"unknown_at": float("nan")}, "unknown_at nan"),
        (AB, {"healthy": ("god",)}, "Did you mean 'good'"),
        (AB, {"pictures": -1}, "cannot be negative"),
    ],
)
def test_settings_out_of_range_are_refused(classes, options, message):
    with pytest.raises(ConfigError, match=message):
        run([stub("good", [0.9, 0.1], "a")], classes, **options)
