"""What all finishes share: a colour, how far it wanders, how rough, and how large the texture lies on the part."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from pydantic import Field, field_validator

from flawsmith.core.config import Settings
from flawsmith.core.errors import nearest
from flawsmith.synth.distribution import Choice, Draw, Positive, Share
from flawsmith.synth.material.noise import clouds, fractal, step
from flawsmith.synth.scene import Color, Material

# Linear RGB. Metals: reflectance at normal incidence; the rest: diffuse albedo.
COLORS: dict[str, Color] = {
    "steel": (0.56, 0.55, 0.53),
    "stainless": (0.60, 0.58, 0.55),
    "aluminium": (0.80, 0.81, 0.82),
    "zinc": (0.66, 0.68, 0.70),
    "iron": (0.30, 0.28, 0.26),
    "brass": (0.75, 0.55, 0.25),
    "copper": (0.80, 0.47, 0.34),
    "titanium": (0.46, 0.43, 0.39),
    "white": (0.72, 0.72, 0.70),
    "grey": (0.20, 0.20, 0.20),
    "light grey": (0.42, 0.42, 0.41),
    "dark grey": (0.06, 0.06, 0.065),
    "black": (0.022, 0.022, 0.023),
    "red": (0.36, 0.035, 0.028),
    "orange": (0.55, 0.16, 0.02),
    "yellow": (0.62, 0.40, 0.03),
    "green": (0.035, 0.16, 0.06),
    "blue": (0.03, 0.09, 0.26),
    "beige": (0.55, 0.46, 0.33),
    "rust": (0.20, 0.075, 0.025),
}
DARKEST = 0.05  # of a map of lightness: the tail of a noise must not turn a colour negative
Triplet = tuple[Share, Share, Share]
Textures = Mapping[str, np.ndarray]


class Finish(Settings, ABC):
    """`color_jitter`: how far lightness and, less, tint wander, relative."""

    color_jitter: Share = 0.04
    period_mm: Positive = Field(default=25.0, description="edge of the square that one tile of the texture covers")
    dirt: Share = Field(default=0.0, description="share of the surface under a film of dust and grease")

    @abstractmethod
    def material(self, draw: Draw, name: str, textures: Textures) -> Material:
        """One draw; `textures` are the image set of a `pbr` finish."""

    def jittered(self, rgb: np.ndarray, draw: Draw, name: str) -> np.ndarray:
        """(3,) the colour, off by what is drawn."""
        sd = draw.number(self.color_jitter, f"{name}.color_jitter")
        rng = draw.rng(f"{name}.color_jitter")
        return np.clip(rgb * (1 + sd * rng.standard_normal()) * (1 + 0.4 * sd * rng.standard_normal(3)), 0.005, 0.98)

    def dirtied(self, color: np.ndarray, rough: np.ndarray, draw: Draw, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Colour and roughness maps under the drawn film of dirt: darker, browner, duller."""
        share = draw.number(self.dirt, f"{name}.dirt")
        if share <= 0:
            return color, rough
        film = 0.5 * soft_film(draw.rng(f"{name}.dirt.map"), share)
        mixed = color * (1 - film[..., None]) + np.array([0.11, 0.09, 0.07], np.float32) * film[..., None]
        return mixed.astype(np.float32), (rough * (1 - film) + 0.75 * film).astype(np.float32)


class Colored(Finish):
    """A finish made by us. `color` is a name, linear RGB (each a number), or a choice of names."""

    color: str | Triplet | Choice = "steel"
    roughness: Share = 0.4

    @field_validator("color")
    @classmethod
    def _known(cls, color: str | Triplet | Choice) -> str | Triplet | Choice:
        names = color.choice if isinstance(color, Choice) else [color] if isinstance(color, str) else []
        for name in names:
            if name not in COLORS:
                raise ValueError(f"colour {name!r} is not known.{nearest(str(name), list(COLORS))}")
        return color

    def base(self, draw: Draw, name: str) -> np.ndarray:
        """(3,) the colour drawn, and jittered."""
        chosen = self.color
        if isinstance(chosen, str | Choice):
            rgb = np.array(COLORS[str(draw.choice(chosen, f"{name}.color"))])
        else:
            rgb = np.array([draw.number(v, f"{name}.color.{c}") for c, v in zip("rgb", chosen, strict=True)])
        return self.jittered(rgb, draw, name)


def soft_film(rng: np.random.Generator, share: float) -> np.ndarray:
    """A film over about `share` of the tile, 0 … 1, without a rim."""
    field = clouds(rng, 0.3) + 0.5 * fractal(rng, 1.1, 0.3)
    return step(field, float(np.quantile(field, 1 - share)) - 1.2, 2.8)


def shifted(material: Material, shift: np.ndarray) -> Material:
    """The same material with its tile moved by `shift` (2,) periods; it still closes."""
    maps = {}
    for field in ("color_map", "roughness_map", "metallic_map", "height_map_mm"):
        values = getattr(material, field)
        if values is not None:
            rows, cols = (int(s * n) for s, n in zip(shift, values.shape[:2], strict=True))
            maps[field] = np.roll(values, (rows, cols), axis=(0, 1))
    return replace(material, **maps)


def tinted(color: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """float32 (H, W, 3): the colour times a map of relative lightness, kept in [0, 1]."""
    return np.clip(color * np.maximum(shade, DARKEST)[..., None], 0, 1).astype(np.float32)
