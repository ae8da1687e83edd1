"""Metals as they leave the machine: brushed, machined, cast, sand-blasted, rusty, anodised, ground, zinc-plated.

What makes them look real rather than computed is unevenness: reflectance clouds, streaks in the relief, a film of oil.
"""

import math
from typing import Literal

import numpy as np

from flawsmith.synth.distribution import Choice, Draw, NotNegative, Positive, Share
from flawsmith.synth.material.finish import Colored, Textures, Triplet, dirtied, dulled, tinted
from flawsmith.synth.material.noise import SIDE, mix, step
from flawsmith.synth.material.pattern import Pattern, sized
from flawsmith.synth.material.textured import Maps, Textured
from flawsmith.synth.scene import Material

UM = 1e-3
RUST = np.array([0.20, 0.075, 0.025], np.float32)
STAIN = np.array([0.24, 0.13, 0.06], np.float32)
RUST_DARK = np.array([0.065, 0.028, 0.015], np.float32)
OIL = np.array([0.20, 0.165, 0.13], np.float32)
CHROMATES = np.array([[0.95, 0.82, 0.45], [0.85, 0.92, 1.0]])


class Brushed(Colored):
    """Fine parallel lines along v, highlights drawn out across them."""

    finish: Literal["brushed"]
    roughness: Share = 0.45
    anisotropy: Share = 0.7
    relief_um: NotNegative = 0.8
    oil: Share = 0.2

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "anisotropy", "roughness", "relief_um", "oil", "dirt")
        period, anisotropy, level, relief, oil, dirt = self.numbers(draw, name, *keys)
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            lines = pattern.streaks(0.003, 0.35) + 0.5 * pattern.streaks(0.001, 0.15)
            color = tinted(base, 1 + 0.03 * pattern.clouds(0.2) + 0.035 * lines)
            color = mix(color, OIL, _film(pattern) * np.float32(oil))
            rough = dulled(level, 1 + 0.06 * pattern.clouds(0.12) + 0.05 * lines)
            color, rough = dirtied(color, rough, pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": lines * np.float32(relief * UM)}

        return Textured(maps, name=name, metallic=1.0, anisotropy=anisotropy, period_mm=period)


class Machined(Colored):
    """Feed marks of a turning or milling tool: even grooves of `pitch_mm`, each pass a little different."""

    finish: Literal["machined"]
    roughness: Share = 0.34
    pitch_mm: Positive = 0.25
    relief_um: NotNegative = 1.5
    anisotropy: Share = 0.45

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "anisotropy", "roughness", "relief_um", "pitch_mm", "dirt")
        period, anisotropy, level, relief, pitch, dirt = self.numbers(draw, name, *keys)
        count = max(1, min(round(period / pitch), SIDE // 6))
        each = draw.rng(f"{name}.passes").standard_normal(count, np.float32)
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            passes = sized(np.tile(np.repeat(each, -(-SIDE // count))[:SIDE], (SIDE, 1)), pattern.side)
            lines = 0.6 * _grooves(pattern, count) + 0.12 * passes + 0.15 * pattern.streaks(0.002, 0.2)
            shade = 1 + 0.03 * pattern.clouds(0.25) + 0.025 * passes + 0.02 * pattern.streaks(0.004, 0.4)
            rough = dulled(level, 1 + 0.08 * pattern.clouds(0.2))
            color, rough = dirtied(tinted(base, shade), rough, pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": lines * np.float32(relief * UM)}

        return Textured(maps, name=name, metallic=1.0, anisotropy=anisotropy, period_mm=period)


class Grainy(Colored):
    """Base of the two finishes whose skin is grain: part of it shines, part of it is dull oxide.

    Grains come in sizes half an octave apart; the tile is made larger or smaller until they are as large as drawn.
    """

    grain_mm: Positive = 0.5
    relief_um: NotNegative = 20.0
    metallic: Share = 0.55

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "metallic", "roughness", "relief_um", "grain_mm", "dirt")
        period, metallic, level, relief, grain, dirt = self.numbers(draw, name, *keys)
        size = max(2 ** (round(2 * math.log2(grain / period)) / 2), 2 / SIDE)
        period = grain / size
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            skin = pattern.grain(size) + 0.5 * pattern.grain(size / 2.5) + 0.5 * pattern.clouds(4 * size)
            shade = 1 + 0.07 * pattern.clouds(0.2) + 0.07 * skin
            rough = dulled(level, 1 + 0.06 * skin + 0.05 * pattern.clouds(0.15), 0.1)
            color, rough = dirtied(tinted(base, shade), rough, pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": skin * np.float32(relief * UM / 2)}

        return Textured(maps, name=name, metallic=metallic, period_mm=period)


class Cast(Grainy):
    """As it comes out of the sand mould: dark, dull, lumpy."""

    finish: Literal["cast"]
    color: str | Triplet | Choice = "iron"
    roughness: Share = 0.65


class SandBlasted(Grainy):
    """An even, fine, silky matt."""

    finish: Literal["sand_blasted"]
    color: str | Triplet | Choice = "aluminium"
    color_jitter: Share = 0.05
    roughness: Share = 0.58
    grain_mm: Positive = 0.18
    relief_um: NotNegative = 7.0
    metallic: Share = 0.85


class Ground(Colored):
    """Ground or lightly polished: nearly a mirror, with hairlines, finger marks and slow waviness."""

    finish: Literal["ground"]
    roughness: Share = 0.26
    relief_um: NotNegative = 0.3

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, relief, dirt = self.numbers(draw, name, "period_mm", "roughness", "relief_um", "dirt")
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            lines, smear = pattern.streaks(0.002, 0.3), _film(pattern)
            color = tinted(base, 1 + 0.02 * pattern.clouds(0.3) - 0.06 * smear + 0.012 * lines)
            rough = dulled(level, 1 + 0.25 * smear + 0.05 * lines)
            color, rough = dirtied(color, rough, pattern, dirt)
            wave = (lines + 3 * pattern.clouds(0.25)) * np.float32(relief * UM)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": wave}

        return Textured(maps, name=name, metallic=1.0, anisotropy=0.3, period_mm=period)


class ZincPlated(Colored):
    """Bright zinc with clouds; `chromate` is the yellow or blue of its passivation."""

    finish: Literal["zinc_plated"]
    color: str | Triplet | Choice = "zinc"
    roughness: Share = 0.42
    chromate: Share = 0.15

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, share, dirt = self.numbers(draw, name, "period_mm", "roughness", "chromate", "dirt")
        film = CHROMATES[int(draw.rng(f"{name}.film").integers(len(CHROMATES)))]
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            shade = 1 + 0.05 * pattern.clouds(0.15) + 0.03 * pattern.grain(0.01)
            chromate = np.float32(share) * np.clip(0.6 + 0.35 * pattern.clouds(0.3), 0, 1)
            color = mix(tinted(base, shade), tinted(base * film, shade), chromate)
            rough = dulled(level, 1 + 0.12 * pattern.clouds(0.12), 0.08)
            color, rough = dirtied(color, rough, pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": pattern.grain(0.012) * (0.6 * UM)}

        return Textured(maps, name=name, metallic=0.92, period_mm=period)


class Rusty(Colored):
    """Steel that rusts over a share `rust` of its surface: a stain spreads first, then a crust grows in it."""

    finish: Literal["rusty"]
    rust: Share = 0.6
    roughness: Share = 0.45
    relief_um: NotNegative = 30.0

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "roughness", "relief_um", "rust", "dirt")
        period, level, relief, rust, dirt = self.numbers(draw, name, *keys)
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            stain, crust = _rusting(pattern, rust)
            mottle, fine = pattern.fractal(1.1, 0.12), pattern.grain(0.012) + pattern.grain(0.005)
            brown = tinted(mix(RUST, RUST_DARK, np.clip(0.45 + 0.4 * mottle, 0, 1)), 1 + 0.18 * fine)
            tarnish = 0.62 + 0.08 * pattern.clouds(0.2) + 0.05 * pattern.fractal(1.2, 0.3)
            steel = mix(tinted(base, tarnish), STAIN, 0.75 * stain)
            dull = mix(np.clip(np.float32(level) + 0.3 * stain, 0, 1), np.float32(0.9), crust)
            color, rough = dirtied(mix(steel, brown, crust), dull, pattern, dirt)
            height = crust * (1 + 0.35 * mottle + 0.3 * fine) + 0.1 * stain * fine
            return {
                "color_map": color,
                "roughness_map": rough,
                "metallic_map": 0.95 * (1 - 0.75 * stain) * (1 - crust),
                "height_map_mm": height * np.float32(relief * UM),
            }

        return Textured(maps, name=name, period_mm=period)


class Anodised(Colored):
    """Dyed oxide on aluminium: coloured metal under a thin clear layer, finely matt."""

    finish: Literal["anodised"]
    color: str | Triplet | Choice = Choice(choice=("black", "red", "blue", "aluminium"))
    roughness: Share = 0.42

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, dirt = self.numbers(draw, name, "period_mm", "roughness", "dirt")
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            color = tinted(base, 1 + 0.03 * pattern.clouds(0.25) + 0.06 * pattern.grain(0.006))
            rough = dulled(level, 1 + 0.05 * pattern.clouds(0.1), 0.08)
            color, rough = dirtied(color, rough, pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": pattern.grain(0.006) * (0.6 * UM)}

        coat = {"clearcoat": 0.25, "clearcoat_roughness": 0.25}
        return Textured(maps, name=name, metallic=0.75, ior=1.7, period_mm=period, **coat)


def _film(pattern: Pattern) -> np.ndarray:
    """Where oil or fingers have been: soft patches, 0 … 1."""
    return np.clip(0.4 + 0.5 * pattern.clouds(0.22) + 0.25 * pattern.fractal(1.5, 0.3), 0, 1)


def _grooves(pattern: Pattern, count: int) -> np.ndarray:
    """`count` arches along u that wander a little; too fine for the pattern's texels, they even out."""
    fine = Pattern(pattern.seed, pattern.variant)
    u = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
    return sized(np.abs(np.sin(math.pi * (count * u + 0.25 * fine.streaks(0.05, 0.6)))), pattern.side)


def _rusting(pattern: Pattern, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Where it is stained, soft, over somewhat more than `share`, and where a crust has grown, ragged, within that."""
    field, level = pattern.patches(min(share, 0.999))
    return step(field, level - 0.9, 1.5), step(field + 0.25 * pattern.grain(0.01), level + 0.1, 0.6)
