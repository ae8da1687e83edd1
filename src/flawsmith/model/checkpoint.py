"""Training state as safetensors + JSON in one atomic file: no pickle, and a kill leaves the previous one whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from flawsmith.core.errors import DataError
from flawsmith.core.files import write_atomic
from flawsmith.core.spec import ModelSpec


def save_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """`meta` must be JSON; it travels in the file's header."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(plain, metadata={"flawsmith": json.dumps(meta, allow_nan=False)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Raises `DataError` naming the file when it is missing, damaged or not ours."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})["flawsmith"])
            return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is missing, damaged or not a flawsmith file: {error}") from error


def identity_of(tensors: dict[str, Tensor], spec: ModelSpec, roi: np.ndarray | None) -> str:
    """Hex SHA-256 of weights, spec and region of interest: what a calibration holds for."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    digest = hashlib.sha256(save(plain))
    digest.update(spec.model_dump_json().encode())
    digest.update(b"" if roi is None else np.packbits(roi).tobytes() + str(roi.shape).encode())
    return digest.hexdigest()


def named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies under `prefix.`; safetensors refuses tensors that share memory."""
    return {f"{prefix}.{name}": tensor.clone() for name, tensor in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `named`."""
    return {name[len(prefix) + 1 :]: t for name, t in tensors.items() if name.startswith(prefix + ".")}


def optimizer_tensors(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, Tensor]:
    """An optimizer's per-parameter state, flat, by parameter name."""
    return {
        f"{name}:{key}": value
        for name, parameter in net.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    for name, parameter in net.named_parameters():
        state = {key.rpartition(":")[2]: v for key, v in tensors.items() if key.rpartition(":")[0] == name}
        if state:
            optimizer.state[parameter] = {
                key: v.clone() if key == "step" else v.to(parameter.device, memory_format=torch.preserve_format)
                for key, v in state.items()
            }
