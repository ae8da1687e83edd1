"""Small random images with labels and predictions, for the tests of `evaluate`."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from flawsmith.core import Defect, Prediction, Sample, image_score

Pair = tuple[Sample, Prediction]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def blob(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Bool (H, W): one ragged region."""
    height, width = shape
    mask = np.zeros(shape, np.uint8)
    centre = (int(rng.integers(4, width - 4)), int(rng.integers(4, height - 4)))
    axes = (int(rng.integers(1, 9)), int(rng.integers(1, 5)))
    cv2.ellipse(mask, centre, axes, float(rng.integers(180)), 0, 360, 1, -1)
    return mask > 0


def scored_image(rng: np.random.Generator, name: str, kinds: tuple[str, ...], defects: int, side: int = 48) -> Pair:
    """An image with so many defects (none: healthy) and a prediction that is mostly right."""
    shape = (side, side + 16)
    logits = np.stack([cv2.GaussianBlur(rng.normal(-4, 5, shape), (0, 0), 1.2) for _ in kinds])
    found = []
    for _ in range(defects):
        kind = int(rng.integers(len(kinds)))
        mask = blob(rng, shape)
        found.append(Defect.from_mask(kinds[kind], mask))
        seen = np.roll(mask, rng.integers(-1, 2, 2), (0, 1)).astype(np.float32)
        logits[kind] += cv2.GaussianBlur(seen, (0, 0), 0.8) * rng.uniform(0, 16)
    maps = sigmoid(logits)
    label = found[0].kind if found else "good"
    image = rng.integers(0, 255, shape).astype(np.uint8)
    sample = Sample(name, image, healthy=not found, label=label, defects=tuple(found), split="test")
    return sample, Prediction(kinds, maps, image_score(maps))


def scored_images(seed: int, count: int, kinds: tuple[str, ...] = ("crack", "pit"), side: int = 48) -> list[Pair]:
    """Every other one healthy, the rest with one to three defects."""
    rng = np.random.default_rng(seed)
    numbers = [int(rng.integers(1, 4)) * (i % 2) for i in range(count)]
    return [scored_image(rng, f"image-{i:03}", kinds, n, side) for i, n in enumerate(numbers)]


def known(value: float | None) -> float:
    """A figure that must be there."""
    assert value is not None
    return value


def relabelled(pair: Pair, **changes: object) -> Pair:
    """The pair with fields of its sample replaced."""
    return replace(pair[0], **changes), pair[1]  # type: ignore[arg-type]


def flat(value: float, name: str = "flat", healthy: bool = True, shape: tuple[int, int] = (12, 16)) -> Pair:
    """One kind, the same score everywhere; a defective one has a defect of 2 x 3 pixels."""
    maps = np.full((1, *shape), value, np.float32)
    defects = () if healthy else (Defect("crack", (4, 4, 7, 6), np.ones((2, 3), bool)),)
    sample = Sample(name, np.zeros(shape, np.uint8), healthy, "good" if healthy else "crack", defects)
    return sample, Prediction(("crack",), maps, float(np.float32(value)))


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every plain value of nested JSON with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value
