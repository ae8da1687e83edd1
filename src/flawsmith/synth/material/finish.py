"""What all finishes share: a colour, how far it wanders, how rough, and how large the texture lies on the part."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import cv2
import numpy as np
from pydantic import Field, field_validator

from flawsmith.core.config import Settings
from flawsmith.core.errors import nearest
from flawsmith.synth.distribution import Choice, Draw, Positive, Share
from flawsmith.synth.material.noise import SIDE, channels, mix
from flawsmith.synth.material.pattern import COARSEST, Pattern
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
_FRESH = 1_000_000  # patterns from this number on belong to one scene
DARKEST = 0.05  # of a map of lightness: the tail of a noise must not turn a colour negative
Triplet = tuple[Share, Share, Share]
Textures = Mapping[str, np.ndarray]


class Finish(Settings, ABC):
    """`color_jitter`: how far lightness and, less, tint wander, relative.

    Numbers are drawn for every scene. The noise under them is one of `variants` patterns of the data set, laid another
    way each time; 0 makes a new one for every scene, and takes ten times as long.
    """

    color_jitter: Share = 0.04
    period_mm: Positive = Field(default=25.0, description="edge of the square that one tile of the texture covers")
    dirt: Share = Field(default=0.0, description="share of the surface under a film of dust and grease")
    variants: int = Field(default=6, ge=0, le=1000, description="patterns to a data set; 0: a new one for every scene")

    @abstractmethod
    def material(self, draw: Draw, name: str, textures: Textures, texel_mm: float = 0.0) -> Material:
        """One draw; its maps are made when they are looked at.

        textures: the image set of a `pbr` finish; texel_mm: texels need be no finer than this, 0 is as fine as they get
        """

    def pattern(self, draw: Draw, name: str, period_mm: float, texel_mm: float, finest: int = SIDE) -> Pattern:
        """The pattern drawn for this scene, as fine as it has to be."""
        number = int(draw.rng(f"{name}.pattern").integers(self.variants)) if self.variants else _FRESH + draw.index
        draw.values[f"{name}.pattern"] = number
        return Pattern(draw.seed, number, side_for(period_mm, texel_mm, finest))

    def numbers(self, draw: Draw, name: str, *keys: str) -> list[float]:
        """The numbers of these keys, drawn."""
        return [draw.number(getattr(self, key), f"{name}.{key}") for key in keys]

    def jittered(self, rgb: np.ndarray, draw: Draw, name: str) -> np.ndarray:
        """(3,) the colour, off by what is drawn."""
        sd = draw.number(self.color_jitter, f"{name}.color_jitter")
        rng = draw.rng(f"{name}.color_jitter")
        return np.clip(rgb * (1 + sd * rng.standard_normal()) * (1 + 0.4 * sd * rng.standard_normal(3)), 0.005, 0.98)


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


def side_for(period_mm: float, texel_mm: float, finest: int) -> int:
    """Texels a side: `finest`, or halved as often as texels stay within `texel_mm`."""
    side = finest
    while side > COARSEST and 2 * period_mm / side <= texel_mm:
        side //= 2
    return side


def dirtied(color: np.ndarray, rough: np.ndarray, pattern: Pattern, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Colour and roughness maps under a film of dirt over `share` of them: darker, browner, duller."""
    if share <= 0:
        return color, rough
    film = np.float32(0.5) * pattern.film(share)
    return mix(color, np.array([0.11, 0.09, 0.07]), film), mix(rough, np.float32(0.75), film)


def dulled(level: float, shade: np.ndarray, least: float = 0.05) -> np.ndarray:
    """A roughness map: `level` times a map of about 1, kept between `least` and 1."""
    return np.clip(np.float32(level) * shade, np.float32(least), np.float32(1))


def tinted(color: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """float32 (H, W, 3): the colour, (3,) or a tile, times a map of relative lightness, kept in [0, 1]."""
    light = np.maximum(shade, np.float32(DARKEST))
    return cv2.merge([np.minimum(light * c, np.float32(1)) for c in channels(color)])
