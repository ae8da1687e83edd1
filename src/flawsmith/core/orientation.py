"""How a part lies: stable pose, angle and centre, from the planes of a network to what a robot is told.

The stage's frame is the world's: mm, z up, the stage's surface at z = 0. The camera's is OpenCV's: x right, y down, z
forward; the middle of its first pixel is (0.5, 0.5). An angle is counter-clockwise as seen from above, about the
stage's vertical: in the picture from the direction of the camera's x axis, on the stage from that of the stage's. Thus
it means the same under a tilted camera, where angles between lines of the picture do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError

CENTRE = ("x", "y")
REACH = 3  # bins to either side of the best that its angle is the mean of
_ROUNDS = 40  # each leaves a share of the rest that is the lens's own distortion
_LEVEL = 1e-3  # what a ray falls towards the stage, at least, for each mm of its way


class RestingPose(Settings):
    """One way that the part lies on the stage.

    number:    of the stable pose, most likely first (see `flawsmith part info`)
    symmetry:  so many turns about the vertical look alike: 1 for none but the whole one; 0: any turn does
    bins:      equal shares of one period, 360° / symmetry, that the network tells apart; bin i is about i / bins of it
    middle_mm: height above the stage of the middle of its bounding box. That point's picture is the part's centre
    stage_from_part: 4 x 4, row by row, with the part's middle above the origin and at an angle of 0
    """

    number: int = Field(ge=0)
    symmetry: int = Field(ge=0)
    bins: int = Field(ge=1)
    middle_mm: float = Field(ge=0)
    stage_from_part: tuple[float, ...] = Field(min_length=16, max_length=16)

    @property
    def period_deg(self) -> float:
        """Angles are known modulo this; 0 where any turn looks alike."""
        return 360 / self.symmetry if self.symmetry else 0.0

    @property
    def matrix(self) -> np.ndarray:
        return np.array(self.stage_from_part).reshape(4, 4)


@dataclass(frozen=True, eq=False)
class CameraPose:
    """A calibrated camera over the stage: 3 x 3 `k`, OpenCV's k1, k2, p1, p2, k3, and 4 x 4 `camera_from_world`."""

    k: np.ndarray
    distortion: np.ndarray
    camera_from_world: np.ndarray


@dataclass(frozen=True, eq=False)
class Orientation:
    """How a part lies, in the picture and, where the camera is known, on its stage.

    pose:        number of the stable pose
    angle_deg:   0 … 360 / symmetry; None where any turn looks alike
    centre_px:   x and y in the image
    probability: of this pose at this angle, to within three and a half bins
    unknown:     how sure it is that the image shows no such part, 0 … 1
    stage_xy_mm, stage_angle_deg: the middle of the part on the stage, and its turn there, modulo its symmetry too
    camera_from_part: 4 x 4, mm; one of those that look alike
    """

    pose: int
    angle_deg: float | None
    centre_px: tuple[float, float]
    probability: float
    unknown: float = 0.0
    stage_xy_mm: tuple[float, float] | None = None
    stage_angle_deg: float | None = None
    camera_from_part: np.ndarray | None = None

    def as_json(self) -> dict[str, Any]:
        """What is known, rounded to what is worth telling: thousandths, and millionths of a matrix."""
        told = {key: value for key, value in vars(self).items() if value is not None and key != "camera_from_part"}
        plain = {k: np.round(v, 3).tolist() if isinstance(v, float | tuple) else v for k, v in told.items()}
        if self.camera_from_part is not None:
            plain["camera_from_part"] = np.round(self.camera_from_part, 6).tolist()
        return {"angle_deg": None, **plain}


def kinds_of(poses: Sequence[RestingPose]) -> tuple[str, ...]:
    """Names of a network's planes: each pose at each of its bins, in degrees, then `CENTRE`."""
    named = []
    for pose in poses:
        steps = [pose.period_deg / pose.bins * i for i in range(pose.bins)]
        named += [f"pose {pose.number} at {step:.4g}" for step in steps] if pose.symmetry else [f"pose {pose.number}"]
    return (*named, *CENTRE)


def read_planes(
    planes: np.ndarray, poses: Sequence[RestingPose], size: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> Orientation:
    """What the planes say.

    planes: (K,) scores in the order of `kinds_of`, then "unknown"
    size, corner: width and height of what the network was shown, and where in the image it begins, in pixels
    """
    ends = np.cumsum([pose.bins for pose in poses])
    shares = np.split(planes[: ends[-1]].astype(float), ends[:-1])
    which = int(np.argmax([share.sum() for share in shares]))
    angle, probability = fine_angle(shares[which], poses[which].period_deg)
    x, y = (float(planes[ends[-1] + axis]) * size[axis] + corner[axis] for axis in (0, 1))
    return Orientation(poses[which].number, angle, (x, y), probability, unknown=float(planes[-1]))


def fine_angle(shares: np.ndarray, period_deg: float) -> tuple[float | None, float]:
    """Angle in degrees between the bins, by the circular mean round the best one, and how probable that is.

    shares: (bins,) probabilities of a pose at each of its bins; period_deg 0: it has no angle
    """
    if not period_deg:
        return None, float(shares.sum())
    count, best = len(shares), int(shares.argmax())
    near = np.unique((best + np.arange(-REACH, REACH + 1)) % count)
    # fewer bins than the reach goes round: then the mean is over the whole circle
    mean = (shares[near] * np.exp(2j * np.pi * near / count)).sum()
    turn = np.angle(mean) / (2 * np.pi) if abs(mean) > 1e-12 else best / count
    return float(turn % 1.0 * period_deg) % period_deg, float(min(shares[near].sum(), 1.0))


def angle_apart(a_deg: float | None, b_deg: float | None, period_deg: float) -> float:
    """How far two angles differ, 0 … period / 2, in degrees. Without a period nothing differs."""
    if not period_deg or a_deg is None or b_deg is None:
        return 0.0
    return abs((a_deg - b_deg + period_deg / 2) % period_deg - period_deg / 2)


def camera_turn_deg(camera_from_world: np.ndarray) -> float:
    """Angle on the stage of the camera's x axis: what an angle in the picture is counted from."""
    x_axis = camera_from_world[0, :3]
    return float(np.degrees(np.arctan2(x_axis[1], x_axis[0])))


def project(camera: CameraPose, points_mm: np.ndarray) -> np.ndarray:
    """(N, 3) points of the world to (N, 2) pixels, through the lens. What is behind the camera has no picture: NaN."""
    local = points_mm @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    pixels, _ = cv2.projectPoints(local.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), camera.k, camera.distortion)
    return np.where(local[:, 2:] > 0, pixels.reshape(-1, 2), np.nan)


def on_stage(camera: CameraPose, pixel: tuple[float, float], height_mm: float) -> tuple[float, float]:
    """x and y, mm, of what a pixel shows at `height_mm` above the stage. Raises `DataError` where it looks past it."""
    flat = _undistorted(camera, np.array(pixel, float))
    turn, shift = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    eye, ray = -turn.T @ shift, turn.T @ np.array([flat[0], flat[1], 1.0])
    if (height_mm - eye[2]) * ray[2] <= 0 or abs(ray[2]) < _LEVEL * np.linalg.norm(ray):
        raise DataError(
            f"the pixel {pixel[0]:.1f}, {pixel[1]:.1f} does not look at the stage: is camera_from_world in mm, z up?"
        )
    found = eye + ray * (height_mm - eye[2]) / ray[2]
    return float(found[0]), float(found[1])


def _undistorted(camera: CameraPose, pixel: np.ndarray) -> np.ndarray:
    """x / z and y / z of the ray of a pixel: OpenCV's own stops after five rounds, a tenth of a pixel early."""
    focal, middle = camera.k[[0, 1], [0, 1]], camera.k[:2, 2]
    flat = (pixel - middle) / focal
    for _ in range(_ROUNDS):
        ray = np.append(flat, 1.0).reshape(1, 1, 3)
        shown, _ = cv2.projectPoints(ray, np.zeros(3), np.zeros(3), camera.k, camera.distortion)
        flat = flat + (pixel - shown.ravel()) / focal
    return flat


def placed(seen: Orientation, poses: Sequence[RestingPose], camera: CameraPose) -> Orientation:
    """The same with its place on the stage and its full pose in the camera's frame."""
    pose = next(p for p in poses if p.number == seen.pose)
    x, y = on_stage(camera, seen.centre_px, pose.middle_mm)
    yaw = None if seen.angle_deg is None else seen.angle_deg + camera_turn_deg(camera.camera_from_world)
    world_from_part = turned(np.radians(yaw or 0.0), x, y) @ pose.matrix
    return replace(
        seen,
        stage_xy_mm=(x, y),
        stage_angle_deg=None if yaw is None else yaw % pose.period_deg,
        camera_from_part=camera.camera_from_world @ world_from_part,
    )


def turned(yaw_rad: float, x_mm: float = 0.0, y_mm: float = 0.0) -> np.ndarray:
    """4 x 4: a turn about the vertical, then a move on the stage."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cos, -sin, 0, x_mm], [sin, cos, 0, y_mm], [0, 0, 1.0, 0], [0, 0, 0, 1]])
