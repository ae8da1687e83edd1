"""What is no bare metal: paint, plastic, rubber, glass."""

from typing import Literal

import numpy as np

from flawsmith.synth.distribution import Choice, Draw, NotNegative, Number, Share
from flawsmith.synth.material.finish import COLORS, Colored, Textures, Triplet, dirtied, dulled, tinted
from flawsmith.synth.material.metal import UM
from flawsmith.synth.material.noise import mix
from flawsmith.synth.material.pattern import Pattern
from flawsmith.synth.material.textured import Maps, Textured
from flawsmith.synth.scene import Material

DUST = np.array([0.32, 0.29, 0.25])


class Painted(Colored):
    """Lacquer with orange peel, dust in it, and chips down to the metal."""

    finish: Literal["painted"]
    color: str | Triplet | Choice = Choice(choice=("grey", "blue", "green", "orange", "black"))
    color_jitter: Share = 0.08
    roughness: Share = 0.36
    orange_peel_um: NotNegative = 4.0
    chips: Share = 0.004
    dirt: Share = 0.15

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        keys = ("period_mm", "roughness", "orange_peel_um", "chips", "dirt")
        period, level, peel, chips, dirt = self.numbers(draw, name, *keys)
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            chip, dust = pattern.spots(chips, 0.025), 0.35 * pattern.spots(0.01, 0.004)
            paint = tinted(base, 1 + 0.05 * pattern.clouds(0.25) + 0.02 * pattern.grain(0.01))
            color = mix(mix(paint, DUST, dust), _primer(pattern), chip)
            rough = mix(dulled(level, 1 + 0.1 * pattern.clouds(0.15)) + 0.3 * dust, np.float32(0.6), chip)
            color, rough = dirtied(color, rough, pattern, dirt)
            return {
                "color_map": color,
                "roughness_map": rough,
                "metallic_map": 0.6 * chip,
                "height_map_mm": pattern.grain(0.035) * np.float32(peel * UM) - 40 * UM * chip,
            }

        return Textured(maps, name=name, clearcoat=0.4, clearcoat_roughness=0.2, period_mm=period)


class Plastic(Colored):
    """Injection-moulded: a faint grain from the mould, and rubbed spots."""

    finish: Literal["plastic"]
    color: str | Triplet | Choice = Choice(choice=("black", "dark grey", "white", "blue", "red"))
    color_jitter: Share = 0.06
    roughness: Share = 0.42
    relief_um: NotNegative = 5.0

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, relief, dirt = self.numbers(draw, name, "period_mm", "roughness", "relief_um", "dirt")
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            rubbed = np.clip(0.5 * pattern.fractal(1.6, 0.4), 0, 1)
            color = tinted(base, 1 + 0.03 * pattern.clouds(0.3) + 0.06 * rubbed)
            color, rough = dirtied(color, dulled(level, 1 - 0.2 * rubbed), pattern, dirt)
            height = pattern.grain(0.012) * np.float32(relief * UM)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": height}

        return Textured(maps, name=name, ior=1.5, period_mm=period)


class Rubber(Colored):
    """Dull, dark, dusty where it is touched; also the top of a conveyor belt."""

    finish: Literal["rubber"]
    color: str | Triplet | Choice = Choice(choice=("black", "dark grey"))
    color_jitter: Share = 0.15
    roughness: Share = 0.75
    relief_um: NotNegative = 25.0
    dirt: Share = 0.3

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, relief, dirt = self.numbers(draw, name, "period_mm", "roughness", "relief_um", "dirt")
        base, pattern = self.base(draw, name), self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            skin = pattern.grain(0.008) + 0.6 * pattern.grain(0.02)
            dust = 0.5 * pattern.spots(0.02, 0.006) + np.clip(0.12 * pattern.fractal(1.4, 0.4), 0, 0.3)
            color = tinted(base, 1 + 0.1 * pattern.clouds(0.2) + 0.12 * skin)
            color = mix(color, np.array(COLORS["light grey"]) * 0.7, dust)
            rough = dulled(level, 1 + 0.06 * pattern.clouds(0.15), 0.2)
            color, rough = dirtied(color, rough, pattern, dirt)
            return {"color_map": color, "roughness_map": rough, "height_map_mm": skin * np.float32(relief * UM / 2)}

        return Textured(maps, name=name, ior=1.5, period_mm=period)


class Glass(Colored):
    """Clear or tinted, with smears; light passes through, so the part must be a closed mesh."""

    finish: Literal["glass"]
    color: str | Triplet | Choice = (0.92, 0.95, 0.94)
    color_jitter: Share = 0.02
    roughness: Share = 0.05
    ior: Number = 1.52
    transmission: Share = 0.95

    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        period, level, ior, clear = self.numbers(draw, name, "period_mm", "roughness", "ior", "transmission")
        r, g, b = (float(v) for v in self.base(draw, name))
        pattern = self.pattern(draw, name, period, texel_mm)

        def maps() -> Maps:
            smear = np.clip(pattern.fractal(1.6, 0.4) - 0.6, 0, 2)
            return {"roughness_map": np.clip(np.float32(level) + 0.06 * smear, 0.02, 1)}

        ior = min(max(ior, 1.05), 3.0)
        return Textured(maps, name=name, base_color=(r, g, b), ior=ior, transmission=clear, period_mm=period)


def _primer(pattern: Pattern) -> np.ndarray:
    """What a chip lays bare: grey primer, here and there metal."""
    return tinted(np.array([0.34, 0.33, 0.32]), 1 + 0.15 * pattern.fractal(1.2, 0.2))
