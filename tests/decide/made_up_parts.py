"""Made-up parts for the tests of calibration: a sample, and a prediction with one square region."""

import numpy as np

from flawsmith.core import Prediction, Sample

KINDS = ("scratch", "pit")
PIXELS = np.zeros((24, 24), np.uint8)


def part(name: str, score: float, side: int = 6, healthy: bool = False, plane: int = 0, **facts) -> tuple:
    """A pair for `calibrate`: the model sees a square of `side`² px at `score` in one kind's map."""
    maps = np.zeros((2, 24, 24), np.float32)
    maps[plane, 2 : 2 + side, 3 : 3 + side] = score
    label = "good" if healthy else facts.pop("label", "scratch")
    facts.setdefault("split", "val")
    sample = Sample(id=name, pixels=PIXELS, healthy=healthy, label=label, **facts)
    return sample, Prediction(KINDS, maps, float(maps.max()))


def good(name: str, score: float, side: int = 6, **facts) -> tuple:
    return part(name, score, side, healthy=True, **facts)


def easy(defective: int, healthy: int, **facts) -> list[tuple]:
    """Parts that any threshold between 0.2 and 0.8 separates."""
    bad = [part(f"bad{i}", 0.8 + 0.001 * (i % 100), **facts) for i in range(defective)]
    return bad + [good(f"good{i}", 0.2 - 0.001 * (i % 100), **facts) for i in range(healthy)]
