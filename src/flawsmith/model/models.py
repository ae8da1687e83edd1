"""All sorts of model, and opening a run folder without knowing which one it holds."""

from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.model.anomaly import AnomalyDetector
from flawsmith.model.checkpoint import load_tensors
from flawsmith.model.classify import Classifier
from flawsmith.model.ensemble import Ensemble
from flawsmith.model.orientation import Orienter
from flawsmith.model.segment import WEIGHTS, Segmenter
from flawsmith.model.wear.mark import holds_wear

Model = Segmenter | Classifier | Orienter | AnomalyDetector
MODELS: dict[str, type[Segmenter] | type[Classifier] | type[Orienter] | type[AnomalyDetector]] = {
    "segment": Segmenter,
    "classify": Classifier,
    "orient": Orienter,
    "anomaly": AnomalyDetector,
}


def load_model(folder: Path) -> Model:
    """Raises `DataError` when the folder holds no model, or one of a newer flawsmith."""
    if holds_wear(folder):
        raise DataError(f"{folder} is a run of train wear: only evaluate and inspect know what to do with it")
    _, meta = load_tensors(folder / WEIGHTS)
    task = meta.get("spec", {}).get("task")
    if task not in MODELS:
        raise DataError(f"{folder} holds a model for {task!r}; this flawsmith knows {', '.join(MODELS)}")
    return Ensemble.load(folder) if "members" in meta else MODELS[task].load(folder)
