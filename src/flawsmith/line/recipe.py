"""The recipe folder: the versioned inspection program that goes to the line. Opening it verifies every byte."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from flawsmith.core.config import Settings, validate
from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, GateError
from flawsmith.core.files import read_json, sha256_of
from flawsmith.core.image import decode, to_channels
from flawsmith.core.spec import ModelSpec
from flawsmith.decide.rules import Decision, check_kinds, load_decision
from flawsmith.line.engine import ENGINES, Engine, Precision, engine_kind, engine_spec, open_engine

RECIPE = "recipe.json"
DECISION = "decision.json"
PARITY = "parity.json"
CARD = "MODEL_CARD.md"
ROI = "roi.png"
SCHEMA_VERSION = 1

# No segment may begin with a dot, so neither "..", nor an absolute or hidden path can be written.
FileName = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_][\w.\-]*(/[A-Za-z0-9_][\w.\-]*)*\z")]
Sha256 = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]


class EngineEntry(Settings):
    """An engine that passed the parity gate.

    ms:         one image on the machine that exported, in milliseconds; the default is the fastest
    score_diff: largest difference of the image score from the trained model's, over the gate's images
    map_diff:   largest mean difference of the maps
    """

    precision: Precision
    files: tuple[FileName, ...] = Field(min_length=1)
    ms: float = Field(ge=0)
    score_diff: float = Field(ge=0)
    map_diff: float = Field(ge=0)


class DatasetEntry(Settings):
    """What the model was trained on."""

    name: str
    content_hash: str


class RecipeInfo(Settings):
    """`recipe.json`. `files` holds the SHA-256 of every file but this one and `decision.json`, which may be edited."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    created: str
    flawsmith: str
    spec: ModelSpec
    pixel_mm: float | None = Field(None, gt=0)
    dataset: DatasetEntry | None = None
    opset: int = Field(ge=1)
    engines: dict[str, EngineEntry] = Field(min_length=1)
    files: dict[FileName, Sha256]
    decision_sha256: Sha256
    roi: FileName | None = None

    @model_validator(mode="after")
    def _complete(self) -> "RecipeInfo":
        for name, entry in self.engines.items():
            if name not in ENGINES:
                raise ValueError(f"engine {name!r} is not known to this flawsmith; known: {', '.join(ENGINES)}")
            if set(entry.files) != set(ENGINES[name].files):
                raise ValueError(f"engine {name!r} names the files {list(entry.files)}, wanted {ENGINES[name].files}")
        named = [file for entry in self.engines.values() for file in entry.files] + [self.roi] * bool(self.roi)
        missing = sorted({file for file in named if file and file not in self.files})
        if missing:
            raise ValueError(f"'files' has no SHA-256 of {missing}")
        return self


@dataclass(frozen=True, eq=False)
class Recipe:
    """An opened recipe.

    digest:          hex SHA-256 of `recipe.json`, and through it of every file but the decision
    decision_sha256: of `decision.json` as it is now; `edited` when that is not what was exported
    roi:             bool (H, W) or None
    """

    folder: Path
    info: RecipeInfo
    digest: str
    decision: Decision
    decision_sha256: str
    roi: np.ndarray | None

    @property
    def edited(self) -> bool:
        return self.decision_sha256 != self.info.decision_sha256

    def read(self, name: str) -> bytes:
        """A file's bytes, checked again as they are read. Raises `DataError`."""
        return _verified(self.folder, name, self.info.files)


def open_recipe(folder: Path | str) -> Recipe:
    """Open a recipe folder and verify every file in it.

    Files that `recipe.json` does not name are left alone and never read.

    Raises `DataError` for a folder that is no recipe, one of a newer version, and a file that is missing, changed or
    outside the folder; `ConfigError` for a wrong key in `recipe.json` or `decision.json`, and rules that do not fit
    the model's kinds.
    """
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder} is not a recipe (no {RECIPE}); make one: flawsmith export")
    info = _read_info(folder / RECIPE)
    for name in info.files:
        _verified(folder, name, info.files)
    decision_path = _inside(folder, DECISION)
    decision = load_decision(decision_path)
    try:
        check_kinds(decision, info.spec.kinds, info.spec.healthy)
    except ConfigError as error:
        raise ConfigError(f"{decision_path}: {error}") from None
    roi = read_roi(_verified(folder, info.roi, info.files), str(folder / info.roi)) if info.roi else None
    return Recipe(folder, info, sha256_of(folder / RECIPE), decision, sha256_of(decision_path), roi)


def _read_info(path: Path) -> RecipeInfo:
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path}: schema_version {version!r}, this flawsmith reads {SCHEMA_VERSION}")
    return validate(RecipeInfo, raw, str(path))


def _inside(folder: Path, name: str) -> Path:
    """The path of a file of the recipe. Raises `DataError` when a link leads out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path} leads out of the recipe; copy the recipe again, with its files and not links to them")
    return path


def _verified(folder: Path, name: str, files: dict[str, Any]) -> bytes:
    path = _inside(folder, name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); copy the recipe again") from error
    if sha256_of(data) != files[name]:
        raise DataError(f"{path} is not the file that was exported (SHA-256 differs); copy or export the recipe again")
    return data


def read_roi(source: bytes | Path, name: str = "") -> np.ndarray:
    """A region of interest from a mask image: bool (H, W), true where it is bright. Raises `DataError` when empty."""
    pixels = to_channels(decode(source, name), 1)
    inside = pixels > np.iinfo(pixels.dtype).max // 2
    if not inside.any():
        raise DataError(f"{name or source}: the region of interest is empty; paint what is to be inspected white")
    return inside


def pick_engine(recipe: Recipe, wanted: str | None = None) -> str:
    """The engine to use: the one that is wanted, else the fastest at export of those installed here.

    Raises `ConfigError` for an unknown name, `GateError` for one that did not pass this recipe's parity gate,
    `EnvironmentFault` when none is installed.
    """
    passed = recipe.info.engines
    if wanted is not None:
        engine_kind(wanted)
        if wanted not in passed:
            raise GateError(f"{wanted} is not in {recipe.folder}: see {PARITY}; take one of {', '.join(passed)}")
        return wanted
    installed = [name for name in passed if ENGINES[name].installed]
    if not installed:
        raise EnvironmentFault(f"{recipe.folder} needs one of {', '.join(passed)}: pip install onnxruntime")
    return min(installed, key=lambda name: passed[name].ms)


def load_engine(recipe: Recipe, name: str, threads: int | None = None) -> tuple[Engine, ModelSpec]:
    """An engine of the recipe, and the spec with its window size. Raises as `open_engine`."""
    files = {file: recipe.read(file) for file in recipe.info.engines[name].files}
    return open_engine(name, files, recipe.info.spec, threads), engine_spec(name, recipe.info.spec)
