"""All sorts of model, and opening a run folder without knowing which one it holds."""

from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.model.checkpoint import load_tensors
from flawsmith.model.classify import Classifier
from flawsmith.model.segment import WEIGHTS, Segmenter

Model = Segmenter | Classifier
MODELS: dict[str, type[Segmenter] | type[Classifier]] = {"segment": Segmenter, "classify": Classifier}


def load_model(folder: Path) -> Model:
    """Raises `DataError` when the folder holds no model, or one of a newer flawsmith."""
    _, meta = load_tensors(folder / WEIGHTS)
    task = meta.get("spec", {}).get("task")
    if task not in MODELS:
        raise DataError(f"{folder} holds a model for {task!r}; this flawsmith knows {', '.join(MODELS)}")
    return MODELS[task].load(folder)
