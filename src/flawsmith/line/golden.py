"""Golden images: a few photographs in the recipe with what the trained model said of them, to be run again anywhere.

A processor that computes otherwise, a package that changed, a file that was damaged in memory: all show here, before
the first part is judged.
"""

import io
import json
from dataclasses import dataclass
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, ValidationError

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError
from flawsmith.core.geometry import Box
from flawsmith.core.image import decode
from flawsmith.core.prediction import Prediction, Status, image_score
from flawsmith.core.spec import predict_image
from flawsmith.decide.rules import decide
from flawsmith.line.recipe import FileName, Recipe, load_engine, pick_engine

GOLDEN = "golden/golden.json"
_FLOOR = 0.002  # what rounding may do on another processor, whatever was measured at export
_LEVELS = 65535


class GoldenEntry(Settings):
    """One golden image. `box` is where it was cut from the image that `id` names; `score` and `status` are the
    trained model's, with the decision as it was exported."""

    id: str
    image: FileName
    maps: FileName
    box: Box
    score: float = Field(ge=0, le=1)
    status: Status


class GoldenSet(Settings):
    """`golden/golden.json`."""

    schema_version: Literal[1] = 1
    images: tuple[GoldenEntry, ...]


@dataclass(frozen=True)
class GoldenResult:
    """One golden image run again. Differences are absolute; `problem` is empty when it agrees."""

    id: str
    expected: Status
    status: Status
    score_diff: float
    map_diff: float
    problem: str


@dataclass(frozen=True)
class GoldenReport:
    """Every golden image of a recipe on one engine."""

    engine: str
    results: tuple[GoldenResult, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{result.id}: {result.problem}" for result in self.results if result.problem)


def verify_golden(recipe: Recipe, engine: str | None = None, threads: int | None = None) -> GoldenReport:
    """Run the golden images through an engine of the recipe, on this machine.

    A verdict must be the expected one, by the decision as it is now; scores and mean maps may differ by twice what
    they did at export. Raises as `open_recipe`, `pick_engine` and `open_engine`.
    """
    name = pick_engine(recipe, engine)
    run, spec = load_engine(recipe, name, threads)
    entry = recipe.info.engines[name]
    limits = (_FLOOR + 2 * entry.score_diff, _FLOOR + 2 * entry.map_diff)
    results = []
    for golden in read_golden(recipe).images:
        image = decode(recipe.read(golden.image), golden.image)
        fresh = predict_image(run, image, spec, golden_roi(recipe.roi, golden.box))
        results.append(_compare(golden, unpack_maps(recipe.read(golden.maps), golden.maps), fresh, recipe, limits))
    return GoldenReport(name, tuple(results))


def read_golden(recipe: Recipe) -> GoldenSet:
    """Raises `DataError` when the recipe has none, or they are damaged."""
    if GOLDEN not in recipe.info.files:
        raise DataError(f"{recipe.folder} holds no golden images; export the recipe again")
    try:
        golden = GoldenSet.model_validate(json.loads(recipe.read(GOLDEN)))
    except (ValueError, ValidationError) as error:
        raise DataError(f"{recipe.folder / GOLDEN} cannot be read: {error}; export the recipe again") from error
    unlisted = {f for e in golden.images for f in (e.image, e.maps)} - set(recipe.info.files)
    if unlisted:
        raise DataError(f"{recipe.folder / GOLDEN} names {sorted(unlisted)}, which the recipe does not list")
    return golden


def golden_roi(roi: np.ndarray | None, box: Box) -> np.ndarray | None:
    """The part of the recipe's region of interest that belongs to a golden image."""
    x0, y0, x1, y1 = box
    return None if roi is None else roi[y0:y1, x0:x1]


def pack_maps(maps: np.ndarray) -> bytes:
    """Scores (K, H, W) in [0, 1] as 16-bit integers in a compressed npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, maps=np.rint(np.clip(maps, 0, 1) * _LEVELS).astype(np.uint16))
    return buffer.getvalue()


def unpack_maps(data: bytes, name: str) -> np.ndarray:
    """The inverse of `pack_maps`, float32. Raises `DataError`."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            stored = arrays["maps"]
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise DataError(f"{name} holds no score maps: {error}; export the recipe again") from error
    if stored.ndim != 3 or stored.dtype != np.uint16:
        raise DataError(f"{name} holds {stored.dtype} {stored.shape}, wanted uint16 kinds x height x width")
    return stored.astype(np.float32) / _LEVELS


def _compare(
    golden: GoldenEntry, expected: np.ndarray, fresh: Prediction, recipe: Recipe, limits: tuple[float, float]
) -> GoldenResult:
    if expected.shape != fresh.maps.shape:
        raise DataError(f"{golden.maps} is {expected.shape}, its image gives {fresh.maps.shape}; export again")
    status = decide(fresh, recipe.decision).status
    # The stored verdict belongs to the exported decision; an edited one is applied to the stored maps.
    stored = Prediction(fresh.kinds, expected, image_score(expected))
    wanted = decide(stored, recipe.decision).status if recipe.edited else golden.status
    score_diff = abs(fresh.score - golden.score)
    map_diff = float(np.abs(fresh.maps - expected).mean())
    problem = ""
    if status != wanted:
        problem = f"the verdict is {status}, expected {wanted}"
    elif score_diff > limits[0] or map_diff > limits[1]:
        problem = f"the score differs by {score_diff:.4f} and the map by {map_diff:.4f} on average"
    return GoldenResult(golden.id, wanted, status, score_diff, map_diff, problem)
