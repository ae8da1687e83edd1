"""Small pictures of six classes with a classifier's outputs, for the tests of `evaluate_classes`."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from flawsmith.core import Sample
from flawsmith.core.sample import Provenance
from flawsmith.evaluate import ClassScore

ClassPair = tuple[Sample, ClassScore]
CLASSES = ("good", "crack", "dent", "scratch", "rust", "stain")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def picture(rng: np.random.Generator, label: str, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 (side, side, 3) of a grey plate with a flaw of the class, and heat float32 (8, 8) on it."""
    grey = cv2.GaussianBlur(rng.normal(150, 30, (side, side)), (0, 0), 2)
    image = np.repeat(grey[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    x, y = (int(v) for v in rng.integers(side // 4, 3 * side // 4, 2))
    dx, dy = (int(v) for v in rng.integers(-side // 4, side // 4, 2))
    if label == "crack":
        cv2.line(image, (x, y), (x + dx, y + dy), (35, 35, 40), 2)
    elif label == "scratch":
        cv2.line(image, (x, y), (x + dx, y + dy), (235, 235, 240), 1)
    elif label in ("dent", "rust", "stain"):
        colour = {"dent": (100, 100, 105), "rust": (165, 85, 40), "stain": (95, 100, 60)}[label]
        cv2.ellipse(image, (x, y), (side // 8, side // 12), float(dx), 0, 360, colour, -1)
    rows, cols = np.mgrid[:8, :8] + 0.5
    heat = np.exp(-((cols - 8 * x / side) ** 2 + (rows - 8 * y / side) ** 2) / 4)
    return image, heat.astype(np.float32)


@dataclass(frozen=True)
class Maker:
    """How the pairs are made: skill is added to the logit of the truth, then sharpness multiplies all logits."""

    classes: tuple[str, ...] = CLASSES
    skill: float = 3.0
    sharpness: float = 1.0
    pictured: bool = False
    provenance: Provenance = "real"
    prefix: str = "image"

    def pair(self, rng: np.random.Generator, number: int, label: str) -> ClassPair:
        """A foreign label gets logits without any truth in them, and more `unknown` than others."""
        known = label in self.classes
        logits = rng.normal(0, 1, len(self.classes))
        if known:
            logits[self.classes.index(label)] += self.skill
        image, heat = picture(rng, label) if self.pictured else (np.full((6, 8), 90, np.uint8), None)
        centre = np.random.default_rng(sum(label.encode())).normal(0, 1, 16)
        shift = 0.0 if self.provenance == "real" else 0.7
        score = ClassScore(
            softmax(self.sharpness * logits),
            unknown=float(rng.beta(2, 8) if known else rng.beta(6, 4)),
            features=(3 * centre + rng.normal(shift, 1, 16)).astype(np.float32),
            heat=heat,
            nearest=tuple(f"train/{label}-{i:02}" for i in rng.integers(0, 40, 3)),
        )
        sample = Sample(
            f"{self.prefix}/{label}-{number:03}",
            image,
            label == "good",
            label,
            split="test",
            provenance=self.provenance,
        )
        return sample, score


def scored_classes(seed: int, count: int, foreign: int = 0, **settings: Any) -> list[ClassPair]:
    """`count` images of known classes in turn, and `foreign` ones of the label "burr"."""
    rng, maker = np.random.default_rng(seed), Maker(**settings)
    labels = [maker.classes[i % len(maker.classes)] for i in range(count)] + ["burr"] * foreign
    return [maker.pair(rng, number, label) for number, label in enumerate(labels)]


def drawn_from_probabilities(seed: int, count: int, sharpness: float = 1.0) -> list[ClassPair]:
    """Labels drawn from the probabilities themselves: calibrated at sharpness 1, too sure above it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, 3))
    honest, shown = softmax(logits), softmax(sharpness * logits)
    labels = [
        ("a", "b", "c")[int(np.searchsorted(row.cumsum()[:2], draw))]
        for row, draw in zip(honest, rng.random(count), strict=True)
    ]
    image = np.zeros((4, 4), np.uint8)
    return [(Sample(f"i{i:05}", image, False, label), ClassScore(shown[i])) for i, label in enumerate(labels)]


def changed(pair: ClassPair, **changes: Any) -> ClassPair:
    """The pair with fields of its sample or of its score replaced."""
    sample, score = pair
    own = {k: v for k, v in changes.items() if k in Sample.__dataclass_fields__}
    return replace(sample, **own), replace(score, **{k: v for k, v in changes.items() if k not in own})


def stub(label: str, probabilities: list[float], name: str, **changes: Any) -> ClassPair:
    """A plain image of a label with these probabilities."""
    sample = Sample(name, np.zeros((4, 6), np.uint8), label == "good", label)
    return changed((sample, ClassScore(np.array(probabilities, np.float32))), **changes)
