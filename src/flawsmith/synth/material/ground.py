"""What parts lie on: woven and rubber belts, concrete, paper."""

import math
from typing import Literal

import numpy as np

from flawsmith.synth.distribution import Choice, Draw, NotNegative, Positive, Share
from flawsmith.synth.material.finish import Colored, Textures, Triplet, dirtied, dulled, tinted
from flawsmith.synth.material.metal import UM
from flawsmith.synth.material.noise import mix, step
from flawsmith.synth.material.pattern import Pattern, sized
from flawsmith.synth.material.textured import Maps, Textured
from flawsmith.synth.scene import Material

BELT_SIDE = 1024
LINT = np.array([0.45, 0.43, 0.40])
SCUFF = np.array([0.22, 0.215, 0.21])
GREASE = np.array([0.09, 0.078, 0.065])


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

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "roughness", "relief_um", "thread_mm", "dirt")
        period, level, relief, thread, dirt = self.numbers(draw, name, *keys)
        threads = min(2 * max(1, round(period / thread / 2)), BELT_SIDE // 8)
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm, BELT_SIDE)

        def maps() -> Maps:
            height, warp = _weave(pattern, threads)
            uneven = 0.06 * pattern.clouds(0.3) + 0.05 * pattern.grain(0.006) + 0.06 * pattern.streaks(0.004, 0.5)
            shade = (0.62 + 0.45 * height) * (0.95 + 0.1 * warp) + uneven
            color = mix(tinted(base, np.clip(shade, 0.1, 2)), LINT, 0.6 * pattern.spots(0.006, 0.006))
            color, rough = _greased(color, np.full_like(height, level), pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": height * np.float32(relief * UM)}

        return Textured(maps, name=name, period_mm=period)


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

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "roughness", "relief_um", "scuffs", "dirt")
        period, level, relief, scuffs, dirt = self.numbers(draw, name, *keys)
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm, BELT_SIDE)

        def maps() -> Maps:
            rubbed = np.clip(pattern.streaks(0.004, 0.12) - 1.2, 0, 1.5)
            rubbed += np.clip(pattern.streaks(0.0015, 0.3) - 1.6, 0, 1.5)
            scuff = np.clip(np.float32(scuffs) * rubbed, 0, 0.7) + 0.35 * pattern.spots(0.01, 0.003)
            skin = pattern.grain(0.008) + pattern.grain(0.004)
            color = mix(tinted(base, 1 + 0.08 * skin + 0.12 * pattern.clouds(0.25)), SCUFF, scuff)
            color, rough = _greased(color, dulled(level, 1 + 0.15 * scuff, 0.1), pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": skin * np.float32(relief * UM / 2)}

        return Textured(maps, name=name, period_mm=period)


class Concrete(Colored):
    """Trowelled floor: cloudy, pitted, with sand in it and a crack or two."""

    finish: Literal["concrete"]
    color: str | Triplet | Choice = (0.30, 0.29, 0.275)
    color_jitter: Share = 0.15
    roughness: Share = 0.8
    period_mm: Positive = 300.0
    cracks: Share = 0.3
    dirt: Share = 0.2

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, cracks, dirt = self.numbers(draw, name, "period_mm", "roughness", "cracks", "dirt")
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            pits, sand = pattern.spots(0.012, 0.006), pattern.grain(0.004)
            crack = np.float32(cracks) * _cracks(pattern)
            shade = 1 + 0.14 * pattern.fractal(1.3, 0.5) + 0.07 * sand - 0.4 * pits - 0.6 * crack
            rough = dulled(level, 1 + 0.05 * pattern.clouds(0.2), 0.2)
            color, rough = dirtied(tinted(base, np.clip(shade, 0.1, 2)), rough, pattern, dirt)
            height = 0.06 * sand - 0.5 * pits - 0.4 * crack
            return {"color_map": color, "roughness_map": rough, "height_map_mm": height}

        return Textured(maps, name=name, period_mm=period)


class Paper(Colored):
    """Matt, bright, with fibres one only sees up close: light boxes and turntables."""

    finish: Literal["paper"]
    color: str | Triplet | Choice = "white"
    color_jitter: Share = 0.05
    roughness: Share = 0.9
    period_mm: Positive = 60.0

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, dirt = self.numbers(draw, name, "period_mm", "roughness", "dirt")
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            fibres = pattern.streaks(0.002, 0.02) + pattern.streaks(0.02, 0.002)
            color = tinted(base, 1 + 0.008 * fibres + 0.006 * pattern.clouds(0.3))
            color, rough = dirtied(color, np.full_like(fibres, level), pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": fibres * (1.2 * UM)}

        return Textured(maps, name=name, period_mm=period)


def _weave(pattern: Pattern, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Height 0 … 1 of a plain weave, and where the warp is on top; `threads` must be even to close the tile."""
    side = max(pattern.side, min(BELT_SIDE, 2 ** math.ceil(math.log2(8 * threads))))  # 8 texels to a thread
    fine = Pattern(pattern.seed, pattern.variant, side)
    ticks = (np.arange(side, dtype=np.float32) + 0.5) / side * threads
    u, v = ticks[None, :] + 0.07 * fine.clouds(0.05), ticks[:, None] + 0.07 * fine.clouds(0.05)
    along, across = (np.pi * u).astype(np.float32), (np.pi * v).astype(np.float32)
    over = np.float32(0.45) * np.cos(along) * np.cos(across)
    warp = np.abs(np.cos(along)) ** np.float32(0.7) * (np.float32(0.55) + over)
    weft = np.abs(np.cos(across)) ** np.float32(0.7) * (np.float32(0.55) - over)
    return sized(np.maximum(warp, weft), pattern.side), sized((warp > weft).astype(np.float32), pattern.side)


def _cracks(pattern: Pattern) -> np.ndarray:
    """Some borders of a few large cells, frayed."""
    frayed = pattern.borders(5) + 0.02 * pattern.fractal(1.2, 0.2)
    return (1 - step(frayed, 0.0, 0.02)) * step(pattern.clouds(0.4), 0.0, 0.6)


def _greased(color: np.ndarray, rough: np.ndarray, pattern: Pattern, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A belt's own dirt: black grease rather than dust."""
    if share <= 0:
        return color, rough
    film = 0.4 * pattern.film(share)
    return mix(color, GREASE, film), mix(rough, np.float32(0.8), film)
