"""Lens distortion, by OpenCV's model: the pinhole camera to render with, and its image as the lens shows it."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.synth.scene import Camera, Rendering

_MOST_GROWTH = 1.6


def ideal(camera: Camera) -> Camera:
    """The pinhole camera to render with: without distortion, its pixels square, and larger, so that no border is empty.

    `distort` brings its rendering back to `camera`. A camera that is ideal already is given back as it is.
    Raises `DataError` for a distortion that folds the image over itself or more than doubles its area.
    """
    if is_ideal(camera):
        return camera
    border = pinhole_points(camera, _border(camera))
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
    if rendered is camera or is_ideal(camera):
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
    points = pinhole_points(camera, np.stack([column.ravel(), row.ravel()], axis=1))
    image = points @ rendered.k[:2, :2].T + rendered.k[:2, 2] - 0.5
    x, y = image.T.reshape(2, camera.height, camera.width).astype(np.float32)
    return x, y


def is_ideal(camera: Camera) -> bool:
    """No distortion, square pixels, no skew: it can be rendered with."""
    return not any(camera.distortion) and np.isclose(camera.k[0, 0], camera.k[1, 1], rtol=1e-6) and camera.k[0, 1] == 0


def pinhole_points(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Points (N, 2) at distance 1 from the eye that are seen at image points (N, 2)."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-10)
    distortion = np.asarray(camera.distortion, np.float64)
    return cv2.undistortPoints(pixels[:, None], camera.k, distortion, criteria=stop)[:, 0]


def image_points(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Where points (N, 2) at distance 1 are in the image: the opposite of `pinhole_points`.

    Only within the frame of `ideal(camera)`: far outside, the polynomial may fold points back into the image.
    """
    solid = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    distortion = np.asarray(camera.distortion, np.float64)
    return cv2.projectPoints(solid, np.zeros(3), np.zeros(3), camera.k, distortion)[0][:, 0]


def _border(camera: Camera) -> np.ndarray:
    """(N, 2) points along the edge of the image."""
    t = np.linspace(0, 1, 65)
    sides = [(t, 0 * t), (t, 0 * t + 1), (0 * t, t), (0 * t + 1, t)]
    return np.concatenate([np.stack(side, axis=1) for side in sides]) * (camera.width, camera.height)


def _check_fold(camera: Camera) -> None:
    """Distorting what was undistorted must give the same point again, all over the image."""
    t = np.linspace(0, 1, 17)
    grid = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2) * (camera.width, camera.height)
    points = pinhole_points(camera, grid)
    back = image_points(camera, points)
    if not np.isfinite(back).all() or np.abs(back - grid).max() > 0.01:
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
