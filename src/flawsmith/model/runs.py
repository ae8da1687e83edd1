"""The run folder of a training: settings before it begins, checkpoint and logs while it runs, the model at its end."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, FlawsmithError
from flawsmith.core.files import check_free, staged_folder, write_atomic
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.classify import Classifier
from flawsmith.model.orientation import Orienter
from flawsmith.model.segment import WEIGHTS, Segmenter
from flawsmith.model.train import CHECKPOINT, Progress

SETTINGS = "settings.yaml"
Trained = TypeVar("Trained", Segmenter, Classifier, Orienter)


def train_into(
    run: Path,
    model: Trained,
    train: Dataset,
    val: Dataset | None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    also: Mapping[str, Settings] | None = None,
) -> Trained:
    """Fit the model and keep it in `run`. also: settings to keep there by file name, besides the model's own.

    Raises `ConfigError` when the folder is in the way, and as `fit`.
    """
    if run.is_dir() and any(run.iterdir()) and not (resume or overwrite):
        raise ConfigError(f"{run} is not empty: add --resume to go on, --overwrite to start anew, or choose another")
    if resume and (run / WEIGHTS).exists() and not (run / CHECKPOINT).exists():
        raise ConfigError(f"{run} holds a finished model and no checkpoint to resume; choose another folder")
    names = {SETTINGS: model.settings, **(also or {})}
    fresh = not (resume and (run / SETTINGS).exists())
    if fresh:
        check_free(run, overwrite or resume, "run")
        with staged_folder(run, overwrite or resume, "run") as stage:
            for name, settings in names.items():
                keep_settings(stage / name, settings)
    try:
        model.fit(train, val, run, resume, on_step)
    except FlawsmithError:
        if fresh and {path.name for path in run.iterdir() if not path.name.startswith(".")} <= names.keys():
            shutil.rmtree(run)  # nothing was learnt: a corrected command must not find it in its way
        raise
    model.save(run)
    keep_settings(run / SETTINGS, model.settings)  # as they were resolved
    return model


def keep_settings(path: Path, settings: Settings) -> None:
    write_atomic(path, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).encode())
