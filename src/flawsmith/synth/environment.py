"""Light from all round: an even sky, or an HDRI brought to a stated irradiance and white balance.

Maps come in scales and tints of their own (a studio map may be ten times a hall's), so each is normalised on the card.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.synth.distribution import Draw, NotNegative, Number, Positive, Share
from flawsmith.synth.irradiance import environment_irradiance
from flawsmith.synth.light import Kelvin, kelvin_color
from flawsmith.synth.scene import Environment

WIDTH = 512


class EnvironmentSpec(Settings):
    """`files` are equirectangular maps (.hdr), one drawn per image; without any the sky is even.

    irradiance_w_m2: on the level card, whatever the map's own scale
    white_balance:   how far the map's own tint is taken out, 1 is grey on average
    clip:            the sun or a lamp in the map is cut at this many times the map's mean
    """

    files: tuple[Path, ...] = ()
    irradiance_w_m2: NotNegative = 3.0
    kelvin: Kelvin = Field(default=6500.0, description="colour of an even sky")
    white_balance: Share = 0.7
    clip: Positive = 100.0
    yaw_deg: Number = 0.0


def draw_environment(spec: EnvironmentSpec, draw: Draw, maps: Mapping[Path, np.ndarray]) -> Environment | None:
    """None where no light is to come from around. `maps` are by the path as written in the spec."""
    level = draw.number(spec.irradiance_w_m2, "environment.irradiance_w_m2")
    if level <= 0:
        return None
    yaw = np.radians(draw.number(spec.yaw_deg, "environment.yaw_deg"))
    if not spec.files:
        color = np.array(kelvin_color(draw.number(spec.kelvin, "environment.kelvin")))
        return Environment((color * level / np.pi).astype(np.float32).reshape(1, 1, 3))
    chosen = spec.files[int(draw.rng("environment.files").integers(len(spec.files)))]
    draw.values["environment.files"] = chosen.name
    radiance = maps[chosen]
    clip = draw.number(spec.clip, "environment.clip") * float(radiance.mean())
    balance = draw.number(spec.white_balance, "environment.white_balance")
    return Environment(normalised(np.minimum(radiance, clip), level, balance), float(yaw))


def normalised(radiance: np.ndarray, irradiance: float, white_balance: float) -> np.ndarray:
    """The map scaled so that the card sees `irradiance` (luminance), a share `white_balance` of its tint taken out."""
    card = environment_irradiance(radiance)
    luminance = float(card @ [0.2126, 0.7152, 0.0722])
    gain = (luminance / np.maximum(card, 1e-9)) ** white_balance
    balanced = radiance * gain
    level = float(environment_irradiance(balanced) @ [0.2126, 0.7152, 0.0722])
    return (balanced * (irradiance / level)).astype(np.float32)


def read_environment(path: Path) -> np.ndarray:
    """float32 (256, 512, 3) linear RGB, row 0 up. Raises `DataError` for what is no equirectangular HDR map."""
    if path.suffix.lower() != ".hdr":
        raise DataError(f"{path}: {path.suffix or 'no suffix'} is not read; wanted a Radiance map (.hdr): convert it")
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise DataError(f"{path} cannot be read as a Radiance map: it is damaged or no .hdr; fetch it again")
    rows, cols = pixels.shape[:2]
    if abs(cols - 2 * rows) > 2:
        raise DataError(f"{path} is {cols} × {rows} pixels; an equirectangular map is twice as wide as high")
    rgb = cv2.resize(pixels[..., 2::-1].astype(np.float32), (WIDTH, WIDTH // 2), interpolation=cv2.INTER_AREA)
    if not np.isfinite(rgb).all() or rgb.max() <= 0:
        raise DataError(f"{path} holds no finite light above 0: fetch it again")
    return np.maximum(rgb, 0)
