"""`model.safetensors` of an anomaly model: backbone, whitening, what is normal, settings and spec, and their hash."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_bytes
from torch import Tensor

from flawsmith.core.errors import DataError
from flawsmith.core.spec import ModelSpec
from flawsmith.model.anomaly.dcgan.detect import Residuals
from flawsmith.model.anomaly.distance import Distances
from flawsmith.model.anomaly.memory import MemoryBank, packed
from flawsmith.model.anomaly.settings import AnomalySettings
from flawsmith.model.checkpoint import load_tensors, named, save_tensors, under
from flawsmith.model.segment import WEIGHTS

PARTS = ("net", "whitening", "normal")


def save_detector(
    folder: Path, distances: Distances | Residuals, settings: AnomalySettings, spec: ModelSpec, more: dict[str, Any]
) -> None:
    """more: JSON that is kept besides."""
    tensors = _tensors(distances, settings)
    meta = {"spec": spec.model_dump(mode="json"), "settings": settings.model_dump(mode="json"), **more}
    save_tensors(folder / WEIGHTS, tensors, {**meta, "sha256": _hash(tensors, meta)})


def _tensors(distances: Distances | Residuals, settings: AnomalySettings) -> dict[str, Tensor]:
    if isinstance(distances, Residuals):
        return named("normal", distances.state_dict())
    normal = distances.normal
    kept = packed(normal, settings.memory.precision) if isinstance(normal, MemoryBank) else normal.state_dict()
    return {
        **named("net", distances.net.state_dict()),
        **named("whitening", distances.whitening.state_dict()),
        **named("normal", kept),
    }


def load_detector(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors by `PARTS`, and the JSON. Raises `DataError` for a file that is not what was written."""
    tensors, meta = load_tensors(folder / WEIGHTS)
    stated = meta.pop("sha256", None)
    if stated != _hash(tensors, meta):
        raise DataError(
            f"{folder / WEIGHTS} is not what was written (its SHA-256 differs): copy the run again, or train it anew"
        )
    return {part: under(part, tensors) for part in PARTS}, meta


def _hash(tensors: dict[str, Tensor], meta: dict[str, Any]) -> str:
    plain = {name: tensors[name].detach().to("cpu").contiguous() for name in sorted(tensors)}
    digest = hashlib.sha256(save_bytes(plain))
    digest.update(json.dumps(meta, sort_keys=True).encode())
    return digest.hexdigest()
