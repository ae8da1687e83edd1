"""Rigid poses as 4×4 `a_from_b`: rotations about z, and where a camera or light stands that is aimed at a point."""

import math

import numpy as np
from pydantic import Field

from flawsmith.core.config import Settings
from flawsmith.synth.distribution import Draw, Number, Positive

Triple = tuple[Number, Number, Number]


class Aim(Settings):
    """A stand over the stage: which way from the target, how far, turned how far about its own axis.

    tilt_deg:    from straight above; 90 is level with the stage
    azimuth_deg: to which side it tilts; 0 is +x, 90 is +y
    """

    tilt_deg: Number = 0.0
    azimuth_deg: Number = 0.0
    roll_deg: Number = 0.0
    look_at_mm: Triple = Field(default=(0.0, 0.0, 0.0), description="the point it is aimed at")


class AimAt(Aim):
    """An `Aim` with a distance of its own."""

    distance_mm: Positive = 400.0


def draw_aim(aim: Aim, distance_mm: float, draw: Draw, name: str, extra_tilt_deg: float = 0.0) -> np.ndarray:
    """`world_from_stand` for one draw."""
    tilt = draw.values[f"{name}.tilt_deg"] = draw.number(aim.tilt_deg, f"{name}.tilt_deg") + extra_tilt_deg
    azimuth = draw.number(aim.azimuth_deg, f"{name}.azimuth_deg")
    roll = draw.number(aim.roll_deg, f"{name}.roll_deg")
    target = [draw.number(v, f"{name}.look_at_mm.{a}") for a, v in zip("xyz", aim.look_at_mm, strict=True)]
    return aimed(math.radians(tilt), math.radians(azimuth), math.radians(roll), distance_mm, np.array(target))


def aimed(tilt_rad: float, azimuth_rad: float, roll_rad: float, distance_mm: float, target: np.ndarray) -> np.ndarray:
    """`world_from_stand` with the stand's z towards the target; straight above, its x is world x and its y is -y.

    >>> aimed(0, 0, 0, 100, np.zeros(3))[:3, 3].round(6).tolist()
    [0.0, 0.0, 100.0]
    """
    turn = rotation_z(azimuth_rad) @ rotation_y(tilt_rad) @ rotation_z(-azimuth_rad)
    pose = np.eye(4)
    pose[:3, :3] = turn @ np.diag([1.0, -1.0, -1.0]) @ rotation_z(roll_rad)
    pose[:3, 3] = np.asarray(target, float) + distance_mm * turn[:, 2]
    return pose


def rotation_y(angle_rad: float) -> np.ndarray:
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle_rad: float) -> np.ndarray:
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def moved(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 3) points through a 4×4 pose."""
    return points @ pose[:3, :3].T + pose[:3, 3]


def inverse(pose: np.ndarray) -> np.ndarray:
    """`b_from_a` of a rigid `a_from_b`."""
    back = np.eye(4)
    back[:3, :3] = pose[:3, :3].T
    back[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return back
