"""DINOv2 vision transformers by Hugging Face's transformers, from a local folder, or from the hub when asked.

Oquab et al. 2023 (arXiv:2304.07193): learnt without labels; patches of 14 px.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from flawsmith.core.errors import ConfigError, DataError, missing_package

PATCH_PX = 14


@dataclass(frozen=True)
class Dinov2Size:
    """A variant by its width and number of layers; `hub` is its name on huggingface.co."""

    hub: str
    dim: int
    layers: int
    heads: int


DINOV2 = {
    "dinov2-small": Dinov2Size("facebook/dinov2-small", 384, 12, 6),
    "dinov2-base": Dinov2Size("facebook/dinov2-base", 768, 12, 12),
    "dinov2-large": Dinov2Size("facebook/dinov2-large", 1024, 24, 16),
}


class Dinov2(nn.Module):
    """Patch tokens as a map; the class token and the mean patch token, joined, as pooled features."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.dim: int = net.config.hidden_size

    def blocks(self) -> list[nn.Module]:
        """Embeddings, then each layer, the last with the final norm."""
        *layers, last = self.net.encoder.layer
        return [self.net.embeddings, *layers, nn.ModuleList([last, self.net.layernorm])]

    def feature_map(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, dim, H / 14, W / 14). Raises `ConfigError` when a side is no multiple of 14."""
        tokens = self._tokens(x)[:, 1:]
        return tokens.transpose(1, 2).reshape(-1, self.dim, x.shape[2] // PATCH_PX, x.shape[3] // PATCH_PX)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 2 * dim): class token, then mean patch token. Raises as `feature_map`."""
        tokens = self._tokens(x)
        return torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)

    def _tokens(self, x: Tensor) -> Tensor:
        if x.shape[2] % PATCH_PX or x.shape[3] % PATCH_PX:
            raise ConfigError(f"DINOv2 takes sides that are multiples of {PATCH_PX} px, got {tuple(x.shape[2:])}")
        return self.net(x).last_hidden_state


def load_dinov2(size: Dinov2Size, folder: Path | None = None) -> Dinov2:
    """The pretrained model from a folder with `config.json` and `model.safetensors`; None fetches it from the hub.

    Raises `DataError` when the folder holds another model or not all of it, `EnvironmentFault` without transformers.
    """
    module, source = _transformers(), str(folder or size.hub)
    if folder is not None:
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise DataError(f"there is no {folder / name}; a DINOv2 folder holds config.json and model.safetensors")
    where: dict[str, Any] = {"local_files_only": folder is not None}
    try:
        config, _ = module.Dinov2Config.get_config_dict(source, **where)
        _check(config, size, source)
        net, info = module.Dinov2Model.from_pretrained(
            source, **where, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{source} cannot be read as {size.hub}: {str(error).splitlines()[0]}") from error
    misfits = sorted(map(str, (*info["missing_keys"], *info["mismatched_keys"])))  # transformers would draw them anew
    if misfits:
        raise DataError(f"{source} does not hold {misfits[0]} as the network needs it: it is not the whole model")
    return Dinov2(net)


def random_dinov2(size: Dinov2Size) -> Dinov2:
    """The architecture with random weights. Raises `EnvironmentFault` without transformers."""
    module = _transformers()
    config = module.Dinov2Config(
        hidden_size=size.dim,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        patch_size=PATCH_PX,
        image_size=518,
    )
    return Dinov2(module.Dinov2Model(config))


def _transformers() -> Any:
    if find_spec("transformers") is None:
        raise missing_package("transformers", "dinov2")
    module = import_module("transformers")
    module.utils.logging.disable_progress_bar()  # it would be drawn into log files too
    return module


def _check(config: dict[str, Any], size: Dinov2Size, source: str) -> None:
    """`config` as in config.json, where what has its default may be absent."""
    given = (config.get("model_type"), config.get("hidden_size"), config.get("num_hidden_layers"))
    wanted = ("dinov2", size.dim, size.layers)
    if given != wanted or config.get("patch_size", PATCH_PX) != PATCH_PX:
        raise DataError(
            f"{source} holds {given[0]} of width {given[1]} and {given[2]} layers with patches of "
            f"{config.get('patch_size')} px; {size.hub} is {wanted[0]} of width {wanted[1]} and {wanted[2]} layers "
            f"with patches of {PATCH_PX} px"
        )
