"""A station's calibrated camera, from a file: `camera.json`.

The names are those of the columns that `generate` writes for each image, and of OpenCV's calibration:

    {"k": [[1200, 0, 640], [0, 1200, 480], [0, 0, 1]],
     "distortion": [-0.1, 0.02, 0, 0, 0],
     "camera_from_world": [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 600], [0, 0, 0, 1]]}
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from flawsmith.core.config import Settings, load_settings
from flawsmith.core.orientation import CameraPose

_RIGID = 1e-3
Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]


class CameraFile(Settings):
    """k: 3 x 3, pixels; distortion: OpenCV's k1, k2, p1, p2, k3; camera_from_world: 4 x 4, mm, the world being the
    stage's frame, z up."""

    k: tuple[Row3, Row3, Row3]
    distortion: Annotated[tuple[float, ...], Field(min_length=5, max_length=5)] = (0.0, 0.0, 0.0, 0.0, 0.0)
    camera_from_world: tuple[Row4, Row4, Row4, Row4]

    @model_validator(mode="after")
    def _is_a_camera(self) -> "CameraFile":
        k, pose = np.array(self.k), np.array(self.camera_from_world)
        if k[0, 0] <= 0 or k[1, 1] <= 0 or not np.allclose(k[2], (0, 0, 1)) or k[1, 0] != 0:
            raise ValueError("k is no camera matrix; wanted [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy above 0")
        turn = pose[:3, :3]
        rigid = np.allclose(turn @ turn.T, np.eye(3), atol=_RIGID) and np.linalg.det(turn) > 0
        if not rigid or not np.allclose(pose[3], (0, 0, 0, 1)):
            raise ValueError("camera_from_world is no rigid move; wanted a rotation, a shift in mm, 0 0 0 1")
        return self


def load_camera(path: Path) -> CameraPose:
    """Raises `ConfigError` naming each wrong key or value."""
    held = load_settings(CameraFile, path)
    return CameraPose(np.array(held.k), np.array(held.distortion), np.array(held.camera_from_world))
