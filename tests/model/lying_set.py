"""A made data set of one flat part that lies anywhere under a camera, drawn with OpenCV; no renderer."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import trimesh
import yaml

from flawsmith.core.orientation import CameraPose, project, turned
from flawsmith.core.sample import Sample
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.model.orientation_data import RENDERS, SCENE
from flawsmith.part import Component, Part, stable_poses
from flawsmith.synth.pose import aimed, inverse

SIDE = 48
WEDGE_MM = np.array([[-12.0, -5], [12, 0], [-12, 5]])  # points to +x


def wedge(thick_mm: float = 2.0) -> Part:
    """A thin triangular plate: it lies on either face, and no turn makes it look alike."""
    around = np.concatenate([np.c_[WEDGE_MM, np.zeros(3)], np.c_[WEDGE_MM, np.full(3, thick_mm)]])
    mesh = trimesh.Trimesh(around).convex_hull
    return Part("wedge", (Component("body", (), np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int32)),))


def camera(rng: np.random.Generator, side: int = SIDE, tilt_deg: float = 2.0) -> CameraPose:
    tilt, azimuth, roll = np.radians([rng.uniform(0, tilt_deg), rng.uniform(0, 360), rng.uniform(0, 360)])
    stand = aimed(tilt, azimuth, roll, 300.0, np.zeros(3))
    k = np.array([[5.0 * side, 0, side / 2], [0, 5.0 * side, side / 2], [0, 0, 1]])
    return CameraPose(k, np.zeros(5), inverse(stand))


def lying(folder: Path, count: int, seed: int = 0, split: str = "train", poses: tuple[int, ...] = (0,)) -> Dataset:
    """`count` images of a bright wedge in one of its poses on a dark stage, with the sidecar that `generate` writes."""
    part = wedge()
    stable, samples, rows = stable_poses(part), [], []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        number, seen = int(rng.choice(poses)), camera(rng)
        world = turned(rng.uniform(0, 2 * np.pi), *rng.uniform(-8, 8, 2)) @ stable[number].stage_from_part
        name = f"{split}-{index:03}"
        samples.append(Sample(name, picture(part, world, seen, rng), healthy=True, label="good", split=split))
        rows.append(row(name, seen, world, number))
    dataset = write_dataset(folder, samples, DatasetInfo(name="wedges"))
    pq.write_table(pa.Table.from_pylist(rows), folder / RENDERS)
    part.to_trimesh().export(folder / "wedge.stl")
    told = {"parts": [{"file": str(folder / "wedge.stl"), "unit": "mm"}]}
    (folder / SCENE).write_text(yaml.safe_dump(told))
    return dataset


def picture(part: Part, world: np.ndarray, seen: CameraPose, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    pixels = project(seen, part.vertices @ world[:3, :3].T + world[:3, 3])
    outline = cv2.convexHull(np.rint(pixels * 16 - 8).astype(np.int32))  # the first pixel's middle is (0.5, 0.5)
    image = np.full((side, side), rng.integers(20, 70), np.uint8)
    cv2.fillConvexPoly(image, outline, int(rng.integers(140, 250)), cv2.LINE_AA, 4)
    return (image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def row(name: str, seen: CameraPose, world: np.ndarray, number: int, parts: int = 1) -> dict:
    edges = project(seen, wedge().vertices @ world[:3, :3].T + world[:3, 3])
    box = [*np.floor(edges.min(0) - 1).astype(int).tolist(), *np.ceil(edges.max(0) + 1).astype(int).tolist()]
    lies = {"world_from_part": world.ravel().tolist(), "pose": number, "area_px": 200, "box": box}
    matrices = {key: np.asarray(value).ravel().tolist() for key, value in vars(seen).items()}
    return {"id": name, **matrices, "parts": [lies] * parts}
