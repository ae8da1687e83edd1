"""What parts lie on: woven and rubber belts, concrete, paper."""

import math
from typing import Literal

import cv2
import numpy as np

from flawsmith.synth.distribution import Choice, Draw, NotNegative, Positive, Share
from flawsmith.synth.material.finish import Colored, Textures, Triplet, soft_film, tinted
from flawsmith.synth.material.metal import UM
from flawsmith.synth.material.noise import cells, clouds, fractal, grain, mix, spots, step, streaks
from flawsmith.synth.scene import Material

BELT_SIDE = 1024


class WovenBelt(Colored):
    """Plain weave: warp over weft and under again, threads uneven, lint and grease in it."""

    finish: Literal["woven_belt"]
    color: str | Triplet | Choice = Choice(choice=("dark grey", "green", "light grey", "black"))
    color_jitter: Share = 0.12
    roughness: Share = 0.7
    period_mm: Positive = 120.0
    thread_mm: Positive = 1.5
    relief_um: NotNegative = 120.0
    dirt: Share = 0.3

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        period = draw.number(self.period_mm, f"{name}.period_mm")
        threads = 2 * max(1, round(period / draw.number(self.thread_mm, f"{name}.thread_mm") / 2))
        height, warp = _weave(rng, min(threads, BELT_SIDE // 8))
        uneven = _large(0.06 * clouds(rng, 0.3) + 0.05 * grain(rng, 0.006) + 0.06 * streaks(rng, 0.004, 0.5))
        shade = (0.62 + 0.45 * height) * (1 + 0.05 * (2 * warp - 1)) + uneven
        color = tinted(self.base(draw, name), np.clip(shade, 0.1, 2))
        lint = _large(spots(rng, 0.006, 0.006)) * 0.6
        color = mix(color, np.array([0.45, 0.43, 0.40], np.float32), lint)
        rough = np.full_like(height, draw.number(self.roughness, f"{name}.roughness"))
        small_color, small_rough = _stained(self, color, rough, draw, name)
        return Material(
            name=name,
            period_mm=period,
            color_map=small_color,
            roughness_map=small_rough,
            height_map_mm=height * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM),
        )


class RubberBelt(Colored):
    """Smooth black rubber with the scuffs of what has passed over it, chalky dust along the way it runs."""

    finish: Literal["rubber_belt"]
    color: str | Triplet | Choice = Choice(choice=("black", "dark grey"))
    color_jitter: Share = 0.2
    roughness: Share = 0.62
    period_mm: Positive = 150.0
    relief_um: NotNegative = 30.0
    scuffs: Share = 0.25
    dirt: Share = 0.35

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        level = draw.number(self.scuffs, f"{name}.scuffs")
        rubbed = np.clip(streaks(rng, 0.004, 0.12) - 1.2, 0, 1.5) + np.clip(streaks(rng, 0.0015, 0.3) - 1.6, 0, 1.5)
        scuff = _large(np.clip(level * rubbed, 0, 0.7) + 0.35 * spots(rng, 0.01, 0.003))
        skin = _large(grain(rng, 0.008) + grain(rng, 0.004))
        color = tinted(self.base(draw, name), 1 + 0.08 * skin + _large(0.12 * clouds(rng, 0.25)))
        color = mix(color, np.array([0.22, 0.215, 0.21], np.float32), scuff)
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.15 * scuff)
        color, rough = _stained(self, color, np.clip(rough, 0.1, 1).astype(np.float32), draw, name)
        return Material(
            name=name,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            height_map_mm=skin * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM / 2),
        )


class Concrete(Colored):
    """Trowelled floor: cloudy, pitted, with sand in it and a crack or two."""

    finish: Literal["concrete"]
    color: str | Triplet | Choice = (0.30, 0.29, 0.275)
    color_jitter: Share = 0.15
    roughness: Share = 0.8
    period_mm: Positive = 300.0
    cracks: Share = 0.3
    dirt: Share = 0.2

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        pits = spots(rng, 0.012, 0.006)
        crack = draw.number(self.cracks, f"{name}.cracks") * _cracks(rng)
        sand = grain(rng, 0.004)
        shade = 1 + 0.14 * fractal(rng, 1.3, 0.5) + 0.07 * sand - 0.4 * pits - 0.6 * crack
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.05 * clouds(rng, 0.2))
        color = tinted(self.base(draw, name), np.clip(shade, 0.1, 2))
        color, rough = self.dirtied(color, np.clip(rough, 0.2, 1).astype(np.float32), draw, name)
        return Material(
            name=name,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            height_map_mm=(0.06 * sand - 0.5 * pits - 0.4 * crack).astype(np.float32),
        )


class Paper(Colored):
    """Matt, bright, with fibres one only sees up close: light boxes and turntables."""

    finish: Literal["paper"]
    color: str | Triplet | Choice = "white"
    color_jitter: Share = 0.05
    roughness: Share = 0.9
    period_mm: Positive = 60.0

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        fibres = streaks(rng, 0.002, 0.02) + streaks(rng, 0.02, 0.002)
        color = tinted(self.base(draw, name), 1 + 0.008 * fibres + 0.006 * clouds(rng, 0.3))
        rough = np.full(fibres.shape, draw.number(self.roughness, f"{name}.roughness"), np.float32)
        color, rough = self.dirtied(color, rough, draw, name)
        return Material(
            name=name,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            height_map_mm=fibres * np.float32(1.2 * UM),
        )


def _weave(rng: np.random.Generator, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Height 0 … 1 of a plain weave, and where the warp is on top; `threads` must be even to close the tile."""
    ticks = (np.arange(BELT_SIDE, dtype=np.float32) + 0.5) / BELT_SIDE * threads
    wobble = _large(0.07 * clouds(rng, 0.05)), _large(0.07 * clouds(rng, 0.05))
    u, v = ticks[None, :] + wobble[0], ticks[:, None] + wobble[1]
    over = np.cos(math.pi * u) * np.cos(math.pi * v)
    warp = np.abs(np.sin(math.pi * (u + 0.5))) ** 0.7 * (0.55 + 0.45 * over)
    weft = np.abs(np.sin(math.pi * (v + 0.5))) ** 0.7 * (0.55 - 0.45 * over)
    return np.maximum(warp, weft).astype(np.float32), (warp > weft).astype(np.float32)


def _cracks(rng: np.random.Generator) -> np.ndarray:
    """Some borders of a few large cells, frayed."""
    _, border = cells(rng, 5)
    frayed = border + 0.02 * fractal(rng, 1.2, 0.2)
    return (1 - step(frayed, 0.0, 0.02)) * step(clouds(rng, 0.4), 0.0, 0.6)


def _large(field: np.ndarray) -> np.ndarray:
    """A tile at the belts' resolution; padded round itself first, so that it still closes."""
    wrapped = np.pad(field, 4, mode="wrap")
    scale = BELT_SIDE // field.shape[0]
    grown = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return grown[4 * scale : -4 * scale, 4 * scale : -4 * scale]


def _stained(
    finish: Colored, color: np.ndarray, rough: np.ndarray, draw: Draw, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """`dirtied` at the belts' resolution."""
    share = draw.number(finish.dirt, f"{name}.dirt")
    if share <= 0:
        return color, rough
    film = 0.4 * _large(soft_film(draw.rng(f"{name}.dirt.map"), share))
    return mix(color, np.array([0.09, 0.078, 0.065], np.float32), film), mix(rough, np.float32(0.8), film)
