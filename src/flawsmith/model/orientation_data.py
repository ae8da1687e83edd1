"""What a model of orientation learns from: poses, cameras and parts of rendered images, from the files beside them.

`renders.parquet` has the camera and the parts of each image, `scene.resolved.yaml` names the part; both are written by
`flawsmith generate`. How many turns look alike, and how high the part's middle is, comes from its CAD file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from flawsmith.core.config import read_yaml
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.orientation import CameraPose, RestingPose, camera_turn_deg, project
from flawsmith.dataset.manifest import Dataset
from flawsmith.part import Part, make_part, read_part, stable_poses

RENDERS, SCENE = "renders.parquet", "scene.resolved.yaml"
FEWEST_BINS = 8  # of a period, however short
_COLUMNS = ("id", "k", "distortion", "camera_from_world", "parts")
_RENDER = "render images with flawsmith generate: one part, placement.mode apart, pose stable or numbers of poses"
_LEANS = 1e-3  # of a rotation's entries: a part that leans by more is in another pose than it says


@dataclass(frozen=True, eq=False)
class Truths:
    """The truth of each image, in the order of a data set's rows.

    pose:      (N,) the place of its pose among `poses`
    angle_deg: (N,) in the picture, modulo the pose's period; 0 where any turn looks alike
    centre_px: (N, 2) x, y
    stage_deg: (N,) as angle_deg, on the stage; stage_xy_mm: (N, 2)
    box_px:    (N, 4) x0, y0, x1, y1 of what is seen of it
    cameras:   of each image
    """

    poses: tuple[RestingPose, ...]
    pose: np.ndarray
    angle_deg: np.ndarray
    centre_px: np.ndarray
    stage_deg: np.ndarray
    stage_xy_mm: np.ndarray
    box_px: np.ndarray
    cameras: tuple[CameraPose, ...]


def resting_poses(part: Part, numbers: Sequence[int] | None = None, bins_per_turn: int = 72) -> tuple[RestingPose, ...]:
    """The stable poses of a part that a network is to tell apart; None: all.

    Raises `DataError` for a number that the part has not.
    """
    stable = stable_poses(part)
    numbers = range(len(stable)) if numbers is None else numbers
    if beyond := [n for n in numbers if n >= len(stable)]:
        raise DataError(f"part {part.name!r} has {len(stable)} stable poses, the images show pose {beyond[0]} of it")
    found = []
    for number in numbers:
        pose = stable[number]
        vertices = part.vertices[np.unique(part.faces)] @ pose.stage_from_part[2, :3] + pose.stage_from_part[2, 3]
        bins = max(ceil(bins_per_turn / pose.symmetry), FEWEST_BINS) if pose.symmetry else 1
        flat = tuple(map(float, pose.stage_from_part.ravel()))
        middle = float(max(vertices.max(), 0) / 2)
        found.append(
            RestingPose(
                number=number, symmetry=pose.symmetry, bins=bins, middle_mm=round(middle, 4), stage_from_part=flat
            )
        )
    return tuple(found)


def part_of(dataset: Dataset) -> Part:
    """The part that the images of `dataset` were rendered of.

    Raises `DataError` where they are no renders, of several parts, or of a file that is not here any more.
    """
    path = dataset.root / SCENE
    if not path.is_file():
        raise DataError(f"{dataset.root} has no {SCENE}, so nothing says which part lies there: {_RENDER}; or --part")
    parts = read_yaml(path).get("parts") or []
    if len(parts) != 1:
        raise DataError(f"{path} has {len(parts)} kinds of part; a model of orientation learns one: {_RENDER}")
    told = parts[0]
    if told.get("standard"):
        return make_part(*told["standard"].split(), threaded=told.get("threaded", True))
    if not told.get("file"):
        raise DataError(f"{path}: a plate has no CAD file; {_RENDER}")
    file = Path(told["file"])
    if not file.is_file():
        raise DataError(f"{file}, the part of {path}, is not here: name its CAD file with --part")
    return read_part(file, unit=told.get("unit"), tolerance_mm=told.get("tolerance_mm"))


def named_part(name: str, unit: str | None = None) -> Part:
    """A CAD file by its path and its unit, where it states none, or a standard part as "hex-screw M8x25"."""
    if Path(name).is_file():
        return read_part(Path(name), unit=unit)
    if len(words := name.split()) != 2:
        raise ConfigError(f"--part {name!r} is neither a file nor a standard part, as 'hex-screw M8x25'")
    return make_part(*words)


def shown_poses(dataset: Dataset) -> list[int]:
    """Numbers of the stable poses that occur. Raises as `truths`."""
    return sorted({_only(row)["pose"] for row in _rows(dataset)})


def truths(dataset: Dataset, poses: Sequence[RestingPose]) -> Truths:
    """The truth of every image of `dataset`.

    Raises `DataError` where the data set has no poses, an image shows no part or several, or a pose that is not among
    `poses` or is not one of this part.
    """
    at = {pose.number: place for place, pose in enumerate(poses)}
    which, angles, centres, yaws, spots, boxes, cameras = [], [], [], [], [], [], []
    for row in _rows(dataset):
        found = _only(row)
        if found["pose"] not in at:
            raise DataError(
                f"image {row['id']} shows pose {found['pose']}; the model knows {sorted(at)}: train it on all"
            )
        pose = poses[at[found["pose"]]]
        camera = CameraPose(
            np.array(row["k"]).reshape(3, 3),
            np.array(row["distortion"]),
            np.array(row["camera_from_world"]).reshape(4, 4),
        )
        yaw_deg, middle = _lies(np.array(found["world_from_part"]).reshape(4, 4), pose, row["id"])
        turn = camera_turn_deg(camera.camera_from_world)
        which.append(at[pose.number])
        yaws.append(yaw_deg % pose.period_deg if pose.symmetry else 0.0)
        angles.append((yaw_deg - turn) % pose.period_deg if pose.symmetry else 0.0)
        centres.append(project(camera, middle[None])[0])
        spots.append(middle[:2])
        boxes.append(found["box"])
        cameras.append(camera)
    angle, centre, yaw, spot, box = (np.array(column, float) for column in (angles, centres, yaws, spots, boxes))
    return Truths(tuple(poses), np.array(which, np.int64), angle, centre, yaw, spot, box, tuple(cameras))


def _lies(world_from_part: np.ndarray, pose: RestingPose, name: str) -> tuple[float, np.ndarray]:
    """Turn on the stage in degrees, and the middle of the part in the world."""
    step = world_from_part @ np.linalg.inv(pose.matrix)
    if abs(step[2, :3] - (0, 0, 1)).max() > _LEANS or abs(step[2, 3]) > 0.05:
        raise DataError(
            f"image {name}: the part does not lie in pose {pose.number} of this CAD file: was it rendered from another "
            "one? Name the right one with --part"
        )
    yaw_deg = float(np.degrees(np.arctan2(step[1, 0], step[0, 0])))
    return yaw_deg, np.array([step[0, 3], step[1, 3], pose.middle_mm])


def _rows(dataset: Dataset) -> list[dict[str, Any]]:
    """What `generate` wrote of each image, in the order of the data set."""
    path = dataset.root / RENDERS
    if not path.is_file():
        raise DataError(f"{dataset.root} does not know how its parts lie (no {RENDERS}): {_RENDER}")
    told = {row["id"]: row for row in pq.read_table(path, columns=list(_COLUMNS)).to_pylist()}
    if missing := [name for name in dataset.column("id") if name not in told]:
        raise DataError(f"{path} says nothing of image {missing[0]!r} and {len(missing) - 1} more: {_RENDER}")
    return [told[name] for name in dataset.column("id")]


def _only(row: dict[str, Any]) -> dict[str, Any]:
    """The one part of an image."""
    seen = [part for part in row["parts"] if part["area_px"]]
    if len(seen) != 1:
        raise DataError(f"image {row['id']} shows {len(seen)} parts, wanted one: {_RENDER}")
    if seen[0]["pose"] < 0:
        raise DataError(f"image {row['id']}: the part is in no stable pose (a pile?): {_RENDER}")
    return seen[0]
