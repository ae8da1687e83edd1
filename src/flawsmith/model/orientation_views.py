"""Images and targets that a model of orientation learns from: the camera rolled, shifted and zoomed, the label with it.

A turn of the picture about the principal point is a roll of the camera, whatever its tilt, so its label is exact. A
small shift is a small turn of a long lens, which is why it must stay small. A mirrored or sheared picture shows
another part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor
from torch.nn import functional

from flawsmith.core.errors import ConfigError
from flawsmith.core.orientation import RestingPose, camera_turn_deg, turned
from flawsmith.dataset.augment import AugmentSettings, cutout, relight
from flawsmith.model.features import Views
from flawsmith.model.orientation_data import Truths
from flawsmith.model.train import Batch

CELLS = 32  # along each axis, for the centre
_SOFT_CELLS = 1.0  # standard deviation of the target
_CENTRE_SHARE = 0.5  # of the loss of each axis, where pose and angle count 1
_RIM = 0.06  # of the side: a part whose centre is nearer to the border may not be seen
_TRIES = 10
_EMPTY = 0.1  # of a batch
_LEAST = 0.15  # of the image's sides, that a view beside the part must have


@dataclass(frozen=True)
class Marks:
    """Where a part is in a square picture: angle in degrees modulo its period, x and y in shares of the sides."""

    pose: int
    angle_deg: float
    x: float
    y: float


def check_honest(augment: AugmentSettings) -> None:
    """Raise `ConfigError` for disturbances that a label cannot follow."""
    if augment.flip or augment.shear_deg:
        raise ConfigError(
            "augment.flip and augment.shear_deg show another part, whose pose is not known: set them to 0"
        )


def marks_of(truth: Truths, row: int, size: tuple[int, int]) -> Marks:
    """size: width and height of the image"""
    x, y = truth.centre_px[row] / size
    return Marks(int(truth.pose[row]), float(truth.angle_deg[row]), float(x), float(y))


def disturbed(
    rng: np.random.Generator,
    square: np.ndarray,
    truth: Truths,
    row: int,
    size: tuple[int, int],
    chosen: AugmentSettings,
) -> tuple[np.ndarray, Marks]:
    """float32 (side, side, C), as another roll of the camera, another place and another light would show it.

    size: width and height of the image that the square was made of
    """
    side = square.shape[0]
    before = marks_of(truth, row, size)
    for _ in range(_TRIES):
        roll_rad = np.radians(rng.uniform(-1, 1) * chosen.rotate_deg)
        zoom = np.exp(rng.uniform(-1, 1) * np.log1p(chosen.zoom))
        matrix = _rolled(truth, row, size, roll_rad, zoom, rng.uniform(-1, 1, 2) * chosen.translate * np.array(size))
        x, y = matrix[:, :2] @ (before.x, before.y) + matrix[:, 2]
        if min(x, y) > _RIM and max(x, y) < 1 - _RIM:
            break
    else:
        roll_rad, matrix, (x, y) = 0.0, np.eye(2, 3), (before.x, before.y)
    pixels = matrix * [1, 1, side]
    pixels[:, 2] += pixels[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from the middle of the first pixel
    image = cv2.warpAffine(square, pixels, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    image = image.astype(np.float32).reshape(square.shape)
    image = relight(rng, image, float(np.iinfo(square.dtype).max), chosen)
    image = cutout(rng, image, np.zeros((1, side, side), np.uint8), chosen)[0]
    turn_deg = camera_turn_deg(turned(roll_rad) @ truth.cameras[row].camera_from_world)
    period_deg = truth.poses[before.pose].period_deg
    angle_deg = (truth.stage_deg[row] - turn_deg) % period_deg if period_deg else 0.0
    return image, Marks(before.pose, float(angle_deg), float(x), float(y))


def _rolled(
    truth: Truths, row: int, size: tuple[int, int], roll_rad: float, zoom: float, shift_px: np.ndarray
) -> np.ndarray:
    """2 x 3 from shares of the image's width and height to those of the disturbed one."""
    scale = np.diag(np.array(size, float))
    linear = np.linalg.inv(scale) @ (zoom * turned(roll_rad)[:2, :2]) @ scale
    pivot = truth.cameras[row].k[:2, 2] / size
    return np.column_stack([linear, pivot - linear @ pivot + shift_px / size])


def beside(
    rng: np.random.Generator,
    square: np.ndarray,
    truth: Truths,
    row: int,
    size: tuple[int, int],
    chosen: AugmentSettings,
) -> np.ndarray | None:
    """float32 (side, side, C): the stage without its part, cut from beside it, enlarged; None where there is no room.

    By such views the network learns what an empty stage looks like.
    """
    side, (x0, y0, x1, y1) = square.shape[0], truth.box_px[row] / np.tile(size, 2)
    rooms = [(0, 0, x0, 1), (x1, 0, 1, 1), (0, 0, 1, y0), (0, y1, 1, 1)]
    rooms = [room for room in rooms if min(room[2] - room[0], room[3] - room[1]) > _LEAST]
    if not rooms:
        return None
    left, top, right, bottom = rooms[int(rng.integers(len(rooms)))]
    edge = rng.uniform(_LEAST, min(right - left, bottom - top))
    corner = np.array([rng.uniform(left, right - edge), rng.uniform(top, bottom - edge)])
    matrix = np.array([[edge, 0, corner[0] * side], [0, edge, corner[1] * side]])
    matrix[:, 2] += edge / 2 - 0.5  # OpenCV counts from the middle of the first pixel
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(square, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    image = image.astype(np.float32).reshape(square.shape)
    return relight(rng, image, float(np.iinfo(square.dtype).max), chosen)


def target(marks: Marks | None, poses: Sequence[RestingPose], soft_bins: float) -> np.ndarray:
    """float32 (bins of all poses + 1 + 2 `CELLS`): three distributions, each adding up to 1: pose and angle, or last
    that there is no part; x; y.

    marks:     None: there is no part, and its centre is not asked
    soft_bins: standard deviation of the angle's, in bins
    """
    shares = [np.zeros(pose.bins) for pose in poses]
    if marks is None:
        return np.concatenate([*shares, [1.0], np.zeros(2 * CELLS)]).astype(np.float32)
    pose = poses[marks.pose]
    at = marks.angle_deg / pose.period_deg * pose.bins if pose.symmetry else 0.0
    apart = (np.arange(pose.bins) - at + pose.bins / 2) % pose.bins - pose.bins / 2
    shares[marks.pose] = _bell(apart, soft_bins)
    axes = [_bell(np.arange(CELLS) + 0.5 - CELLS * np.clip(v, 0, 1), _SOFT_CELLS) for v in (marks.x, marks.y)]
    return np.concatenate([*shares, [0.0], *axes]).astype(np.float32)


def _bell(apart: np.ndarray, deviation: float) -> np.ndarray:
    weights = np.exp(-0.5 * (apart / deviation) ** 2)
    return weights / weights.sum()


def likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the three distributions of `target`, scalar."""
    joint = logits.shape[1] - 2 * CELLS
    terms = zip(logits.split([joint, CELLS, CELLS], 1), targets.split([joint, CELLS, CELLS], 1), strict=True)
    angle, x, y = (functional.cross_entropy(said, true) for said, true in terms)
    return angle + _CENTRE_SHARE * (x + y)


def batches(views: Views, truth: Truths, size: int, soft_bins: float) -> Batch:
    """Batch i of training: images (N, C, side, side) and targets (N, K); poses come equally often."""
    assert views.augment is not None
    chosen = views.augment
    sizes = list(zip(views.dataset.column("width"), views.dataset.column("height"), strict=True))
    rows = [np.flatnonzero(truth.pose == k) for k in np.unique(truth.pose)]

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([views.seed, step])
        images, targets = [], []
        for k in rng.integers(len(rows), size=size):
            row = int(rng.choice(rows[k]))
            image, marks = None, None
            if rng.random() < _EMPTY:
                image = beside(rng, views.square(row), truth, row, sizes[row], chosen)
            if image is None:
                image, marks = disturbed(rng, views.square(row), truth, row, sizes[row], chosen)
            images.append(image.transpose(2, 0, 1))
            targets.append(target(marks, truth.poses, soft_bins))
        return np.ascontiguousarray(np.stack(images)), np.stack(targets)

    return batch
