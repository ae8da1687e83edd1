"""Flat surfaces with scratches, pits and stains: labelled images in milliseconds, for trying things out.

A surface is a height field lit from one side plus an albedo; a flaw changes height, albedo or both, and the pixels that
it changes are its mask. Item i depends on (seed, i) alone.
"""

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.sample import Sample

Flaw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def surfaces(count: int, seed: int = 0, side: int = 256, flawed: float = 0.5, per_part: int = 2) -> Iterator[Sample]:
    """`count` grey uint8 images (side, side), a share `flawed` with one to three flaws, `per_part` images of a part."""
    for index in range(count):
        part = index // per_part
        bad = math.floor((part + 1) * flawed) > math.floor(part * flawed)
        yield surface(seed, index, part, side, bad)


def surface(seed: int, index: int, part: int, side: int = 256, flawed: bool = False) -> Sample:
    """One image of one part; all images of a part share its grain."""
    height, albedo = _grain(np.random.default_rng([seed, 0, part]), side)
    rng = np.random.default_rng([seed, 2, index])
    defects = []
    for kind in rng.choice(list(FLAWS), size=rng.integers(1, 4)) if flawed else []:
        dents, stains = FLAWS[str(kind)](rng, side)
        height, albedo = height + dents, albedo * (1 - stains)
        mask = (np.abs(dents) > 0.25) | (stains > 0.06)
        if mask.any():
            defects.append(Defect.from_mask(str(kind), mask))
    return Sample(
        id=f"surface-{index:05d}",
        pixels=_lit(rng, height, albedo),
        healthy=not defects,
        label="flawed" if defects else "good",
        defects=tuple(defects),
        groups={"part": f"part-{part:04d}"},
        provenance="relief",
        seed=seed,
    )


def _grain(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Brushed metal: noise drawn out along the brushing, over slow clouds of brightness."""
    noise = rng.standard_normal((side, side), dtype=np.float32)
    brushed = cv2.GaussianBlur(noise, (0, 0), sigmaX=12, sigmaY=0.7)
    clouds = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), side / 8)
    return brushed / brushed.std() * 0.22, 1 + 0.05 * clouds / clouds.std()


def _lit(rng: np.random.Generator, height: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """Lambert shading under a light from above, uneven and noisy as a camera sees it."""
    slope_y, slope_x = np.gradient(height)
    angle = math.radians(90 + rng.uniform(-25, 25))
    shade = 0.55 + 0.35 * (math.cos(angle) * slope_x + math.sin(angle) * slope_y)
    ramp = 1 + 0.12 * rng.uniform(-1, 1) * np.linspace(-1, 1, height.shape[1], dtype=np.float32)
    image = albedo * shade * ramp + 0.012 * rng.standard_normal(height.shape, dtype=np.float32)
    return (np.clip(image * rng.uniform(0.9, 1.1), 0, 1) * 255).round().astype(np.uint8)


def _scratch(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A thin, slightly bent groove."""
    start, angle = rng.uniform(0.15, 0.85, 2) * side, rng.uniform(0, math.pi)
    length, bend = rng.uniform(0.15, 0.5) * side, rng.uniform(-0.4, 0.4)
    steps = np.linspace(0, 1, 24)
    headings = angle + bend * steps
    points = start + np.cumsum(np.column_stack([np.cos(headings), np.sin(headings)]) * length / 24, axis=0)
    canvas = np.zeros((side, side), np.float32)
    line = (points * 16).round().astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [line], False, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA, shift=4)
    return -canvas * np.float32(rng.uniform(0.8, 1.8)), canvas * np.float32(rng.uniform(0.0, 0.25))


def _pit(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A round hole with a ragged rim."""
    radius = rng.uniform(2.5, 8)
    profile = _blob(rng, side, radius)
    return -profile * np.float32(rng.uniform(1.5, 3.0)), profile * np.float32(rng.uniform(0.2, 0.5))


def _stain(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A dark film: no change of height."""
    film = _blob(rng, side, rng.uniform(10, 28))
    return np.zeros_like(film), film * np.float32(rng.uniform(0.18, 0.4))


def _blob(rng: np.random.Generator, side: int, radius: float) -> np.ndarray:
    """A soft-edged irregular disc, 1 inside and 0 outside."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    centre = rng.uniform(0.1, 0.9, 2) * side
    angle = np.arctan2(y - centre[1], x - centre[0])
    waves = rng.uniform(-0.18, 0.18, 3)
    phases = rng.uniform(0, 2 * math.pi, 3)
    rim = radius * (
        1 + sum(w * np.sin((n + 2) * angle + p) for n, (w, p) in enumerate(zip(waves, phases, strict=True)))
    )
    distance = np.hypot(x - centre[0], y - centre[1])
    return np.clip((rim - distance) / 2 + 0.5, 0, 1).astype(np.float32)


FLAWS: dict[str, Flaw] = {"scratch": _scratch, "pit": _pit, "stain": _stain}
