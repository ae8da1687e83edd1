"""From radiance to an image: exposure and noise in the terms of EMVA 1288 (release 4.0)."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from flawsmith.synth.scene import Camera, Sensor

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709, linear


def expose(rgb: np.ndarray, camera: Camera, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """What the sensor makes of radiance (H, W, 3): (H, W) or (H, W, 3), uint8 to 8 bits, uint16 above.

    radiance × exposure = 1 fills the wells. Light: motion blur, photo response (PRNU), shot noise, saturation. Dark:
    offset (DSNU), read noise. Then black level, gamma and quantisation. A 12-bit image holds 0 … 4095, as cameras give.
    One channel is one pixel with its own noise: colour filters are not simulated. What is drawn does not depend on the
    light: two images of one size by like generators have the same noise, pixel by pixel.
    """
    light = np.maximum(rgb @ _LUMINANCE if sensor.mono else rgb, 0) * np.float32(camera.exposure)
    light = blur(light, sensor.motion_px)
    response, offset_e = _pattern(sensor, light.shape)
    full_e, black = np.float32(sensor.full_well_e), np.float32(sensor.black_level)
    shot, read = (rng.standard_normal(light.shape, np.float32) for _ in range(2))
    electrons = np.minimum(counted(np.minimum(light * response, 2) * full_e, shot), full_e)
    electrons += offset_e
    electrons += read * np.float32(sensor.read_noise_e)
    code = np.clip(black + (1 - black) / full_e * electrons, 0, 1)
    code = code if sensor.gamma == 1 else code ** np.float32(1 / sensor.gamma)
    return np.rint(code * (2**sensor.bit_depth - 1)).astype(np.uint8 if sensor.bit_depth <= 8 else np.uint16)


def counted(mean_e: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Electrons of a Poisson process with these means, from standard normal deviates; not rounded.

    Mean, variance and skewness are Poisson's (Cornish and Fisher, 1938); below about three electrons the mean is up to
    a twentieth of an electron too high, as none is less than 0.
    """
    bent = np.square(normal)
    bent -= 1
    bent *= np.minimum(mean_e, 1) / np.float32(6)
    bent += mean_e
    bent += np.sqrt(mean_e) * normal
    return np.maximum(bent, 0, out=bent)


def gain_dn_per_e(sensor: Sensor) -> float:
    """EMVA 1288's overall system gain K, digital numbers per electron, of a linear sensor (gamma 1)."""
    return (1 - sensor.black_level) * (2**sensor.bit_depth - 1) / sensor.full_well_e


def blur(light: np.ndarray, motion_px: tuple[float, float]) -> np.ndarray:
    """An even motion by `motion_px` (x, y) during exposure, its middle where the sharp image is."""
    length = float(np.hypot(*motion_px))
    if length == 0:
        return light
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    steps = (np.arange(64 * half) + 0.5) / (64 * half) - 0.5
    x, y = half + steps * motion_px[0], half + steps * motion_px[1]
    for dx in (0, 1):
        for dy in (0, 1):
            near = np.abs(1 - dx - x % 1) * np.abs(1 - dy - y % 1)
            np.add.at(kernel, (y.astype(int) + dy, x.astype(int) + dx), near)
    kernel /= kernel.sum()
    return cv2.filter2D(light, -1, kernel[::-1, ::-1].astype(np.float32), borderType=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=4)
def _fixed_pattern(sensor: Sensor, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([sensor.pattern_seed, 1288])
    response = np.maximum(1 + sensor.prnu * rng.standard_normal(shape, np.float32), 0)
    return response, sensor.dsnu_e * rng.standard_normal(shape, np.float32)


def _pattern(sensor: Sensor, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Response (mean 1) and dark offset (electrons) of each pixel: the same in every image of one camera."""
    return _fixed_pattern(replace(sensor, motion_px=(0.0, 0.0)), shape)
