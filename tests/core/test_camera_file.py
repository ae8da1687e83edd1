"""camera.json: what is a camera, and what is not."""

import json
from pathlib import Path

import numpy as np
import pytest

from flawsmith.core.camera import load_camera
from flawsmith.core.errors import ConfigError

GOOD = {
    "k": [[1200, 0, 640], [0, 1200, 480], [0, 0, 1]],
    "distortion": [-0.1, 0.02, 0, 0, 0],
    "camera_from_world": [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 600], [0, 0, 0, 1]],
}


def written(folder: Path, **changed: object) -> Path:
    path = folder / "camera.json"
    path.write_text(json.dumps(GOOD | changed))
    return path


def test_a_camera_is_read_as_it_is_written(tmp_path: Path):
    camera = load_camera(written(tmp_path))
    assert np.array_equal(camera.k, GOOD["k"])
    assert camera.distortion.tolist() == GOOD["distortion"]
    assert np.array_equal(camera.camera_from_world, GOOD["camera_from_world"])


MIRRORED = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 600], [0, 0, 0, 1]]
STRETCHED = [[2, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 600], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"k": [[0, 0, 640], [0, 1200, 480], [0, 0, 1]]}, "no camera matrix"),
        ({"k": [[1200, 0], [0, 1200]]}, "k"),
        ({"distortion": [0.1]}, "distortion"),
        ({"camera_from_world": MIRRORED}, "no rigid move"),
        ({"camera_from_world": STRETCHED}, "no rigid move"),
        ({"kk": 1}, "unknown key 'kk'"),
    ],
)
def test_what_is_no_camera_is_refused_by_name(tmp_path: Path, changed: dict, said: str):
    with pytest.raises(ConfigError, match=said):
        load_camera(written(tmp_path, **changed))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_camera(tmp_path / "none.json")
