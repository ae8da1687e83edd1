"""Metals as they leave the machine: brushed, machined, cast, sand-blasted, rusty, anodised, ground, zinc-plated.

What makes them look real rather than computed is unevenness: reflectance clouds, streaks in the relief, a film of oil.
"""

import math
from typing import Literal

import numpy as np

from flawsmith.synth.distribution import Choice, Draw, NotNegative, Positive, Share
from flawsmith.synth.material.finish import Colored, Textures, Triplet, tinted
from flawsmith.synth.material.noise import SIDE, clouds, fractal, grain, mix, step, streaks
from flawsmith.synth.scene import Material

UM = 1e-3
RUST = np.array([0.20, 0.075, 0.025], np.float32)
STAIN = np.array([0.24, 0.13, 0.06], np.float32)
RUST_DARK = np.array([0.065, 0.028, 0.015], np.float32)


class Brushed(Colored):
    """Fine parallel lines along v, highlights drawn out across them."""

    finish: Literal["brushed"]
    roughness: Share = 0.45
    anisotropy: Share = 0.7
    relief_um: NotNegative = 0.8
    oil: Share = 0.2

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        lines = streaks(rng, 0.003, 0.35) + 0.5 * streaks(rng, 0.001, 0.15)
        oil = _film(rng) * draw.number(self.oil, f"{name}.oil")
        color = tinted(self.base(draw, name), 1 + 0.03 * clouds(rng, 0.2) + 0.035 * lines)
        color = mix(color, np.array([0.20, 0.165, 0.13], np.float32), oil)
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.06 * clouds(rng, 0.12) + 0.05 * lines)
        color, rough = self.dirtied(color, np.clip(rough, 0.05, 1).astype(np.float32), draw, name)
        return Material(
            name=name,
            metallic=1.0,
            anisotropy=draw.number(self.anisotropy, f"{name}.anisotropy"),
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            height_map_mm=lines * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM),
        )


class Machined(Colored):
    """Feed marks of a turning or milling tool: even grooves of `pitch_mm`, each pass a little different."""

    finish: Literal["machined"]
    roughness: Share = 0.34
    pitch_mm: Positive = 0.25
    relief_um: NotNegative = 1.5
    anisotropy: Share = 0.45

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        period = draw.number(self.period_mm, f"{name}.period_mm")
        count = max(1, min(round(period / draw.number(self.pitch_mm, f"{name}.pitch_mm")), SIDE // 6))
        u = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
        wander = 0.25 * streaks(rng, 0.05, 0.6)
        grooves = np.abs(np.sin(math.pi * (count * u[None, :] + wander)))
        passes = np.repeat(rng.standard_normal(count), -(-SIDE // count))[:SIDE].astype(np.float32)
        lines = 0.6 * grooves + 0.12 * passes[None, :] + 0.15 * streaks(rng, 0.002, 0.2)
        shade = 1 + 0.03 * clouds(rng, 0.25) + 0.025 * passes[None, :] + 0.02 * streaks(rng, 0.004, 0.4)
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.08 * clouds(rng, 0.2))
        color, rough = self.dirtied(tinted(self.base(draw, name), shade), np.clip(rough, 0.05, 1), draw, name)
        return Material(
            name=name,
            metallic=1.0,
            anisotropy=draw.number(self.anisotropy, f"{name}.anisotropy"),
            period_mm=period,
            color_map=color,
            roughness_map=rough.astype(np.float32),
            height_map_mm=lines * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM),
        )


class Grainy(Colored):
    """Base of the two finishes whose skin is grain: part of it shines, part of it is dull oxide."""

    grain_mm: Positive = 0.5
    relief_um: NotNegative = 20.0
    metallic: Share = 0.55

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        period = draw.number(self.period_mm, f"{name}.period_mm")
        size = max(draw.number(self.grain_mm, f"{name}.grain_mm") / period, 2 / SIDE)
        skin = grain(rng, size) + 0.5 * grain(rng, size / 2.5) + 0.5 * clouds(rng, 4 * size)
        shade = 1 + 0.07 * clouds(rng, 0.2) + 0.07 * skin
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.06 * skin + 0.05 * clouds(rng, 0.15))
        color, rough = self.dirtied(tinted(self.base(draw, name), shade), np.clip(rough, 0.1, 1), draw, name)
        return Material(
            name=name,
            metallic=draw.number(self.metallic, f"{name}.metallic"),
            period_mm=period,
            color_map=color,
            roughness_map=rough.astype(np.float32),
            height_map_mm=skin * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM / 2),
        )


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

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        lines = streaks(rng, 0.002, 0.3)
        smear = _film(rng)
        color = tinted(self.base(draw, name), 1 + 0.02 * clouds(rng, 0.3) - 0.06 * smear + 0.012 * lines)
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.25 * smear + 0.05 * lines)
        color, rough = self.dirtied(color, np.clip(rough, 0.05, 1), draw, name)
        wave = lines + 3 * clouds(rng, 0.25)
        return Material(
            name=name,
            metallic=1.0,
            anisotropy=0.3,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough.astype(np.float32),
            height_map_mm=wave * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM),
        )


class ZincPlated(Colored):
    """Bright zinc with clouds; `chromate` is the yellow or blue of its passivation."""

    finish: Literal["zinc_plated"]
    color: str | Triplet | Choice = "zinc"
    roughness: Share = 0.42
    chromate: Share = 0.15

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        chromate = draw.number(self.chromate, f"{name}.chromate") * np.clip(0.6 + 0.35 * clouds(rng, 0.3), 0, 1)
        shade = 1 + 0.05 * clouds(rng, 0.15) + 0.03 * grain(rng, 0.01)
        film = np.array([[0.95, 0.82, 0.45], [0.85, 0.92, 1.0]], np.float32)[int(rng.integers(2))]
        color = tinted(self.base(draw, name), shade)
        color = mix(color, color * film, chromate)
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.12 * clouds(rng, 0.12))
        color, rough = self.dirtied(color, np.clip(rough, 0.08, 1), draw, name)
        return Material(
            name=name,
            metallic=0.92,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough.astype(np.float32),
            height_map_mm=(grain(rng, 0.012) * np.float32(0.6 * UM)),
        )


class Rusty(Colored):
    """Steel that rusts over a share `rust` of its surface: a stain spreads first, then a crust grows in it."""

    finish: Literal["rusty"]
    rust: Share = 0.6
    roughness: Share = 0.45
    relief_um: NotNegative = 30.0

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        stain, crust = _rusting(rng, draw.number(self.rust, f"{name}.rust"))
        mottle, fine = fractal(rng, 1.1, 0.12), grain(rng, 0.012) + grain(rng, 0.005)
        brown = tinted(mix(RUST, RUST_DARK, np.clip(0.45 + 0.4 * mottle, 0, 1)), 1 + 0.18 * fine)
        tarnish = 0.62 + 0.08 * clouds(rng, 0.2) + 0.05 * fractal(rng, 1.2, 0.3)
        steel = mix(tinted(self.base(draw, name), tarnish), STAIN, 0.75 * stain)
        rough = draw.number(self.roughness, f"{name}.roughness")
        dull = mix(np.clip(rough + 0.3 * stain, 0, 1).astype(np.float32), np.float32(0.9), crust)
        color, roughness = self.dirtied(mix(steel, brown, crust), dull, draw, name)
        height = crust * (1 + 0.35 * mottle + 0.3 * fine) + 0.1 * stain * fine
        return Material(
            name=name,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=roughness,
            metallic_map=(0.95 * (1 - 0.75 * stain) * (1 - crust)).astype(np.float32),
            height_map_mm=(height * draw.number(self.relief_um, f"{name}.relief_um") * UM).astype(np.float32),
        )


class Anodised(Colored):
    """Dyed oxide on aluminium: coloured metal under a thin clear layer, finely matt."""

    finish: Literal["anodised"]
    color: str | Triplet | Choice = Choice(choice=("black", "red", "blue", "aluminium"))
    roughness: Share = 0.42

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        color = tinted(self.base(draw, name), 1 + 0.03 * clouds(rng, 0.25) + 0.06 * grain(rng, 0.006))
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.05 * clouds(rng, 0.1))
        color, rough = self.dirtied(color, np.clip(rough, 0.08, 1), draw, name)
        return Material(
            name=name,
            metallic=0.75,
            ior=1.7,
            clearcoat=0.25,
            clearcoat_roughness=0.25,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough.astype(np.float32),
            height_map_mm=grain(rng, 0.006) * np.float32(0.6 * UM),
        )


def _film(rng: np.random.Generator) -> np.ndarray:
    """Where oil or fingers have been: soft patches, 0 … 1."""
    return np.clip(0.4 + 0.5 * (clouds(rng, 0.22) + 0.5 * fractal(rng, 1.5, 0.3)), 0, 1).astype(np.float32)


def _rusting(rng: np.random.Generator, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Where it is stained, soft, over somewhat more than `share`, and where a crust has grown, ragged, within that."""
    field = clouds(rng, 0.14) + 0.7 * fractal(rng, 1.2, 0.2)
    level = float(np.quantile(field, 1 - min(share, 0.999)))
    return step(field, level - 0.9, 1.5), step(field + 0.25 * grain(rng, 0.01), level + 0.1, 0.6)
