"""From radiance to an image: lens distortion, then exposure and noise in the terms of EMVA 1288 (release 4.0)."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.synth.scene import Camera, Rendering, Sensor

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709, linear
_MOST_GROWTH = 1.6


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


def ideal(camera: Camera) -> Camera:
    """The pinhole camera to render with: without distortion, its pixels square, and larger, so that no border is empty.

    `distort` brings its rendering back to `camera`. A camera that is ideal already is given back as it is.
    Raises `DataError` for a distortion that folds the image over itself or more than doubles its area.
    """
    if _is_ideal(camera):
        return camera
    border = _pinhole_points(camera, _border(camera))
    _check_fold(camera)
    focal = max(camera.k[0, 0], camera.k[1, 1])
    low, high = border.min(0) * focal - 2, border.max(0) * focal + 2
    width, height = (int(n) for n in np.ceil(high - low))
    if width > _MOST_GROWTH * camera.width or height > _MOST_GROWTH * camera.height:
        raise DataError(
            f"camera {camera.name!r}: distortion {list(camera.distortion)} would need {width} × {height} pixels to be "
            f"rendered for an image of {camera.width} × {camera.height}; choose smaller coefficients"
        )
    k = np.array([[focal, 0, -low[0]], [0, focal, -low[1]], [0, 0, 1.0]])
    return replace(camera, width=width, height=height, k=k, distortion=(0.0, 0.0, 0.0, 0.0, 0.0))


def distort(rendering: Rendering, rendered: Camera, camera: Camera) -> Rendering:
    """The rendering of `rendered = ideal(camera)` as `camera` sees it.

    The image is resampled by Lanczos interpolation without over- and undershoot, coverage linearly; instance, depth and
    normal are taken from the nearest pixel, since a mean of two parts is neither. Depth stays along the optical axis.
    """
    if rendered is camera or _is_ideal(camera):
        return rendering
    x, y = sample_map(rendered, camera)
    near, linear = _resampler(x, y, cv2.INTER_NEAREST), _resampler(x, y, cv2.INTER_LINEAR)
    coverage = [linear(plane) for plane in rendering.coverage]
    return replace(
        rendering,
        rgb=_sharp(rendering.rgb, x, y),
        coverage=np.stack(coverage) if coverage else np.zeros((0, camera.height, camera.width), np.float32),
        instance=near(rendering.instance.astype(np.float32)).astype(np.int32),
        depth_mm=near(rendering.depth_mm),
        normal=near(rendering.normal),
    )


def sample_map(rendered: Camera, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where in the `rendered` image each pixel of `camera` is: x and y (H, W) float32, in OpenCV's pixel places."""
    row, column = np.mgrid[: camera.height, : camera.width].astype(np.float64) + 0.5
    points = _pinhole_points(camera, np.stack([column.ravel(), row.ravel()], axis=1))
    image = points @ rendered.k[:2, :2].T + rendered.k[:2, 2] - 0.5
    x, y = image.T.reshape(2, camera.height, camera.width).astype(np.float32)
    return x, y


def _is_ideal(camera: Camera) -> bool:
    return not any(camera.distortion) and np.isclose(camera.k[0, 0], camera.k[1, 1], rtol=1e-6) and camera.k[0, 1] == 0


def _pinhole_points(camera: Camera, image_points: np.ndarray) -> np.ndarray:
    """(N, 2) points at distance 1 of an undistorted camera."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-10)
    distortion = np.asarray(camera.distortion, np.float64)
    return cv2.undistortPoints(image_points[:, None], camera.k, distortion, criteria=stop)[:, 0]


def _border(camera: Camera) -> np.ndarray:
    """(N, 2) points along the edge of the image."""
    t = np.linspace(0, 1, 65)
    sides = [(t, 0 * t), (t, 0 * t + 1), (0 * t, t), (0 * t + 1, t)]
    return np.concatenate([np.stack(side, axis=1) for side in sides]) * (camera.width, camera.height)


def _check_fold(camera: Camera) -> None:
    """Distorting what was undistorted must give the same point again, all over the image."""
    t = np.linspace(0, 1, 17)
    grid = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2) * (camera.width, camera.height)
    points = _pinhole_points(camera, grid)
    solid = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    back = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), camera.k, np.asarray(camera.distortion, np.float64))[0]
    if not np.isfinite(back).all() or np.abs(back[:, 0] - grid).max() > 0.01:
        raise DataError(
            f"camera {camera.name!r}: distortion {list(camera.distortion)} folds the image over itself; choose smaller "
            "coefficients"
        )


def _resampler(x: np.ndarray, y: np.ndarray, how: int) -> Callable[[np.ndarray], np.ndarray]:
    def resample(values: np.ndarray) -> np.ndarray:
        return cv2.remap(np.ascontiguousarray(values), x, y, how, borderMode=cv2.BORDER_REPLICATE)

    return resample


def _sharp(rgb: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lanczos, held between the least and the greatest of the nearest pixels: highlights cast no dark rings."""
    sharp = _resampler(x, y, cv2.INTER_LANCZOS4)(rgb)
    around = np.ones((3, 3), np.uint8)
    near = _resampler(x, y, cv2.INTER_NEAREST)
    return np.clip(sharp, near(cv2.erode(rgb, around)), near(cv2.dilate(rgb, around)))
