"""Inspector: an opened recipe that judges images one by one. What it cannot judge is REVIEW, never OK."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawsmith.core.defect import Defect
from flawsmith.core.errors import ConfigError, DataError, FlawsmithError, ImageFormatError
from flawsmith.core.image import decode
from flawsmith.core.orientation import CameraPose, Orientation, placed
from flawsmith.core.prediction import Prediction, Status, Verdict
from flawsmith.core.spec import predict_image, shown, top_class
from flawsmith.decide.conformal import p_value
from flawsmith.decide.rules import HealthyCalibration, decide
from flawsmith.line.recipe import Recipe, load_engine, open_recipe, pick_engine


@dataclass(frozen=True, eq=False)
class Inspection:
    """One part judged.

    ms:         from the image's bytes to the verdict
    image:      the decoded pixels; None where there were none to decode
    prediction: the maps behind the verdict; None where the model gave none
    seen:       the most probable class and its probability, where the model tells classes
    lies:       pose, angle and centre in the picture, where the model tells how a part lies; with a calibrated camera
                in the stage's and the camera's frame too
    p_value:    how often a healthy part scores so high, where calibration kept the scores of healthy parts
    """

    verdict: Verdict
    ms: float
    image: np.ndarray | None = None
    prediction: Prediction | None = None
    seen: tuple[str, float] | None = None
    lies: Orientation | None = None
    p_value: float | None = None

    @property
    def status(self) -> Status:
        return self.verdict.status

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.verdict.reasons

    @property
    def score(self) -> float | None:
        return self.verdict.score

    @property
    def defects(self) -> tuple[Defect, ...]:
        return self.verdict.defects


class Inspector:
    """Holds a recipe and its engine. For use from one thread at a time.

    >>> inspector = Inspector("recipes/bolt")                      # doctest: +SKIP
    >>> inspector.inspect(Path("part.png")).status                  # doctest: +SKIP
    'OK'
    """

    def __init__(
        self,
        recipe: Recipe | Path | str,
        engine: str | None = None,
        threads: int | None = None,
        roi: np.ndarray | None = None,
        camera: CameraPose | None = None,
    ) -> None:
        """engine:  a name of `ENGINES`; None takes the fastest that passed parity
        roi:     bool (H, W), instead of the recipe's own
        camera:  the station's calibration: where a part lies is then told in mm too

        Raises as `open_recipe`, `pick_engine` and `open_engine`; `ConfigError` for a camera where the recipe does not
        tell how a part lies.
        """
        self.recipe = recipe if isinstance(recipe, Recipe) else open_recipe(recipe)
        self.camera = camera
        if camera is not None and self.recipe.info.spec.task != "orient":
            raise ConfigError("a camera's calibration is for recipes of train orientation; leave it out")
        self.engine = pick_engine(self.recipe, engine)
        self.roi = self.recipe.roi if roi is None else roi
        self._run, self._spec = load_engine(self.recipe, self.engine, threads)

    def inspect(self, source: bytes | Path | str | np.ndarray, name: str = "") -> Inspection:
        """Judge an encoded image, a file, or pixels (H, W) or (H, W, 3) RGB of uint8 or uint16. Raises nothing.

        name: how to call the image in reasons, where it is bytes
        """
        begin = time.perf_counter()
        image: np.ndarray | None = None
        prediction: Prediction | None = None
        seen: tuple[str, float] | None = None
        lies: Orientation | None = None
        try:
            image = _pixels(source, name)
            prediction = predict_image(self._run, image, self._spec, self.roi)
            verdict = decide(prediction, self.recipe.decision)
            seen = top_class(prediction, self._spec) if self._spec.task == "classify" else None
            lies = self._lies(prediction, image) if self._spec.task == "orient" else None
        except FlawsmithError as error:
            verdict = Verdict("REVIEW", (str(error),))
        except Exception as error:  # noqa: BLE001 - whatever happened, the part was not judged: a person must look
            verdict = Verdict("REVIEW", (f"the inspection failed: {type(error).__name__}: {error}",))
        rare = None if prediction is None else self._p_value(prediction)
        return Inspection(verdict, 1000 * (time.perf_counter() - begin), image, prediction, seen, lies, rare)

    def _lies(self, prediction: Prediction, image: np.ndarray) -> Orientation:
        seen = shown(prediction, image, self._spec, self.roi)
        return seen if self.camera is None else placed(seen, self._spec.poses, self.camera)

    def _p_value(self, prediction: Prediction) -> float | None:
        calibration = self.recipe.decision.calibration
        if not isinstance(calibration, HealthyCalibration):
            return None
        return p_value(prediction.score, calibration.healthy_scores)


def _pixels(source: bytes | Path | str | np.ndarray, name: str) -> np.ndarray:
    """Decode, or check an array that is already pixels."""
    if isinstance(source, np.ndarray):
        flat_or_rgb = source.ndim == 2 or (source.ndim == 3 and source.shape[2] == 3)
        if not flat_or_rgb or source.size == 0 or source.dtype not in (np.uint8, np.uint16):
            raise ImageFormatError(
                f"an array of {source.dtype} {source.shape} is no image; wanted uint8 or uint16, (H, W) or (H, W, 3)"
            )
        return source
    if isinstance(source, bytes):
        return decode(source, name)
    if isinstance(source, Path | str):
        return decode(Path(source))
    raise DataError(f"a {type(source).__name__} is no image; wanted bytes, a path or an array")
