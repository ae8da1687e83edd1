"""Any image model of timm by its name, where timm is installed."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flawsmith.core.errors import ConfigError, DataError, EnvironmentFault, nearest
from flawsmith.model.weights import fill, read_safetensors


class TimmModel(nn.Module):
    """A timm model without its classifier. `dim` and `map_dim` are read off one pass of an empty image."""

    def __init__(self, net: Any, name: str) -> None:
        super().__init__()
        self.net, self.name = net.eval(), name
        self.config: dict[str, Any] = net.pretrained_cfg
        with torch.inference_mode():
            empty = torch.zeros(1, *self.config["input_size"])
            self.map_dim, self.dim = self.feature_map(empty).shape[1], self.forward(empty).shape[1]

    def blocks(self) -> list[nn.Module]:
        """The model's members that hold weights, in its order; lists of blocks one by one.

        Weights that belong to no member, such as a class token, go with the first.
        """
        members: list[nn.Module] = []
        for child in self.net.children():
            one_by_one = isinstance(child, nn.Sequential | nn.ModuleList)
            members += [m for m in (child.children() if one_by_one else [child]) if any(True for _ in m.parameters())]
        loose = list(self.net.parameters(recurse=False))
        return [nn.ModuleList([nn.ParameterList(loose), members[0]]), *members[1:]] if loose else members

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, map_dim, h, w). Raises `ConfigError` for a model whose features are no map."""
        features, channels = self.net.forward_features(x), self.net.num_features
        if features.ndim == 4 and features.shape[1] == channels:
            return features
        if features.ndim == 4 and features.shape[3] == channels:
            return features.permute(0, 3, 1, 2)
        tokens = features[:, getattr(self.net, "num_prefix_tokens", 0) :]
        side = round(tokens.shape[1] ** 0.5)
        if features.ndim != 3 or x.shape[2] != x.shape[3] or side * side != tokens.shape[1]:
            raise ConfigError(f"timm:{self.name} gives {tuple(features.shape)} for {tuple(x.shape)}, which is no map")
        return tokens.transpose(1, 2).reshape(-1, tokens.shape[2], side, side)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, dim), pooled the way the model itself does."""
        return self.net(x)


def open_timm(name: str, weights: Path | None, hub: bool) -> TimmModel:
    """weights: a safetensors file of timm's; hub: fetch timm's own; neither leaves the weights random.

    Raises `EnvironmentFault` without a timm that works, `ConfigError` for a name it does not have, `DataError` when
    the file does not fit.
    """
    timm = _timm()
    known = timm.list_models() + timm.list_models(pretrained=True)
    if name not in known:
        raise ConfigError(f"timm has no model {name!r}.{nearest(name, known)}")
    try:
        model = timm.create_model(name, pretrained=hub, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise DataError(f"timm cannot open {name!r}: {str(error).splitlines()[0]}") from error
    if weights is not None:
        heads = model.pretrained_cfg.get("classifier") or ()
        left_out = (heads,) if isinstance(heads, str) else tuple(heads)
        fill(model, read_safetensors(weights), weights, tuple(f"{head}." for head in left_out))
    return TimmModel(model, name)


def _timm() -> Any:
    if find_spec("timm") is None:
        raise EnvironmentFault("timm is not installed: pip install timm, with the torchvision that fits your torch")
    try:
        return import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision made for another torch
        raise EnvironmentFault(f"timm does not import ({error}): install the torchvision that fits torch") from error
