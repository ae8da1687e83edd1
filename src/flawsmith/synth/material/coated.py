"""What is no bare metal: paint, plastic, rubber, glass."""

from typing import Literal

import numpy as np

from flawsmith.synth.distribution import Choice, Draw, NotNegative, Number, Share
from flawsmith.synth.material.finish import COLORS, Colored, Textures, Triplet, tinted
from flawsmith.synth.material.metal import UM
from flawsmith.synth.material.noise import clouds, fractal, grain, mix, spots
from flawsmith.synth.scene import Material


class Painted(Colored):
    """Lacquer with orange peel, dust in it, and chips down to the metal."""

    finish: Literal["painted"]
    color: str | Triplet | Choice = Choice(choice=("grey", "blue", "green", "orange", "black"))
    color_jitter: Share = 0.08
    roughness: Share = 0.36
    orange_peel_um: NotNegative = 4.0
    chips: Share = 0.004
    dirt: Share = 0.15

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        chip = spots(rng, draw.number(self.chips, f"{name}.chips"), 0.025)
        dust = spots(rng, 0.01, 0.004) * 0.35
        paint = tinted(self.base(draw, name), 1 + 0.05 * clouds(rng, 0.25) + 0.02 * grain(rng, 0.01))
        color = mix(mix(paint, np.array([0.32, 0.29, 0.25], np.float32), dust), _primer(rng), chip)
        level = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.1 * clouds(rng, 0.15))
        rough = mix(np.clip(level, 0.05, 1) + 0.3 * dust, np.float32(0.6), chip)
        color, rough = self.dirtied(color, rough, draw, name)
        peel = draw.number(self.orange_peel_um, f"{name}.orange_peel_um") * UM
        return Material(
            name=name,
            clearcoat=0.4,
            clearcoat_roughness=0.2,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            metallic_map=(0.6 * chip).astype(np.float32),
            height_map_mm=(grain(rng, 0.035) * np.float32(peel) - chip * np.float32(40 * UM)).astype(np.float32),
        )


class Plastic(Colored):
    """Injection-moulded: a faint grain from the mould, and rubbed spots."""

    finish: Literal["plastic"]
    color: str | Triplet | Choice = Choice(choice=("black", "dark grey", "white", "blue", "red"))
    color_jitter: Share = 0.06
    roughness: Share = 0.42
    relief_um: NotNegative = 5.0

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        rubbed = np.clip(0.5 * fractal(rng, 1.6, 0.4), 0, 1)
        color = tinted(self.base(draw, name), 1 + 0.03 * clouds(rng, 0.3) + 0.06 * rubbed)
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 - 0.2 * rubbed)
        color, rough = self.dirtied(color, np.clip(rough, 0.05, 1).astype(np.float32), draw, name)
        return Material(
            name=name,
            ior=1.5,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            height_map_mm=grain(rng, 0.012) * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM),
        )


class Rubber(Colored):
    """Dull, dark, dusty where it is touched; also the top of a conveyor belt."""

    finish: Literal["rubber"]
    color: str | Triplet | Choice = Choice(choice=("black", "dark grey"))
    color_jitter: Share = 0.15
    roughness: Share = 0.75
    relief_um: NotNegative = 25.0
    dirt: Share = 0.3

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        skin = grain(rng, 0.008) + 0.6 * grain(rng, 0.02)
        dust = spots(rng, 0.02, 0.006) * 0.5 + np.clip(0.12 * fractal(rng, 1.4, 0.4), 0, 0.3)
        color = tinted(self.base(draw, name), 1 + 0.1 * clouds(rng, 0.2) + 0.12 * skin)
        color = mix(color, np.array(COLORS["light grey"], np.float32) * 0.7, dust.astype(np.float32))
        rough = draw.number(self.roughness, f"{name}.roughness") * (1 + 0.06 * clouds(rng, 0.15))
        color, rough = self.dirtied(color, np.clip(rough, 0.2, 1).astype(np.float32), draw, name)
        return Material(
            name=name,
            ior=1.5,
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            color_map=color,
            roughness_map=rough,
            height_map_mm=(skin * np.float32(draw.number(self.relief_um, f"{name}.relief_um") * UM / 2)),
        )


class Glass(Colored):
    """Clear or tinted, with smears; light passes through, so the part must be a closed mesh."""

    finish: Literal["glass"]
    color: str | Triplet | Choice = (0.92, 0.95, 0.94)
    color_jitter: Share = 0.02
    roughness: Share = 0.05
    ior: Number = 1.52
    transmission: Share = 0.95

    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        rng = draw.rng(f"{name}.texture")
        smear = np.clip(fractal(rng, 1.6, 0.4) - 0.6, 0, 2)
        rough = draw.number(self.roughness, f"{name}.roughness") + 0.06 * smear
        r, g, b = (float(v) for v in self.base(draw, name))
        return Material(
            name=name,
            base_color=(r, g, b),
            ior=min(max(draw.number(self.ior, f"{name}.ior"), 1.05), 3.0),
            transmission=draw.number(self.transmission, f"{name}.transmission"),
            period_mm=draw.number(self.period_mm, f"{name}.period_mm"),
            roughness_map=np.clip(rough, 0.02, 1).astype(np.float32),
        )


def _primer(rng: np.random.Generator) -> np.ndarray:
    """What a chip lays bare: grey primer, here and there metal."""
    return tinted(np.array([0.34, 0.33, 0.32]), 1 + 0.15 * fractal(rng, 1.2, 0.2))
