"""Images to distances: cut into crops on a grid, each re-created, what differs put back and blurred."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flawsmith.core.errors import ConfigError
from flawsmith.core.spec import ModelSpec, predict_image
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.anomaly.dcgan.crops import HealthyCrops, centred, held_images
from flawsmith.model.anomaly.dcgan.encoder import train_encoder
from flawsmith.model.anomaly.dcgan.look import Looks
from flawsmith.model.anomaly.dcgan.nets import Nets
from flawsmith.model.anomaly.dcgan.search import search
from flawsmith.model.anomaly.dcgan.settings import DcganSettings
from flawsmith.model.anomaly.dcgan.train import train_gan
from flawsmith.model.anomaly.distance import Blur
from flawsmith.model.run import torch_run
from flawsmith.model.segment import WINDOW, bit_depth, measure
from flawsmith.model.train import State, pick_device

_HELD_OUT = 5  # each fifth image, where no others tell how far healthy ones are from their re-creation
_LOOKED_AT, _NO_STEP = 256, 2_000_000_000  # real crops for comparison, and the step that they are of
_WINDOWS = 6  # sides of a crop that a window must have: margins on both sides, and something between them


class Residuals(nn.Module):
    """Integer pixels (N, H, W, C), H and W multiples of the side, to blurred residuals (N, 1, H, W).

    In search mode "encoder" one graph of plain layers; else each call descends, with gradients, in torch only.
    """

    def __init__(self, nets: Nets, settings: DcganSettings, depth: int, seed: int) -> None:
        super().__init__()
        self.nets, self.blur = nets, Blur(settings.smooth_px)
        self.settings, self.depth, self.seed = settings, depth, seed
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        crops, shape = cut(centred(pixels, self.depth), self.settings.side)
        if self.settings.search.mode == "encoder":
            residual = (crops - self.nets.generator(self.nets.encoder(crops))).abs().mean(1, keepdim=True)
        else:
            residual = self._searched(crops)
        return self.blur(put_back(residual, shape))

    def _searched(self, crops: Tensor) -> Tensor:
        with torch.inference_mode(False):  # its tensors know no gradients
            own, chosen = crops.clone(), self.settings
            found = search(self.nets, own, chosen.search, chosen.stabilisers.truncated, self.seed)
            return found.residual[:, None].detach()

    def check_exportable(self) -> None:
        """Raise `ConfigError` for a search that no engine can do."""
        if self.settings.search.mode != "encoder":
            raise ConfigError(
                f"dcgan.search.mode {self.settings.search.mode} descends with gradients, which no exported network "
                "does: train with --set dcgan.search.mode=encoder, and calibrate that run"
            )


def cut(x: Tensor, side: int) -> tuple[Tensor, tuple[int, int, int]]:
    """(N, C, H, W) to crops (N h w, C, side, side), row by row, and (N, h, w)."""
    n, c, height, width = x.shape
    h, w = height // side, width // side
    crops = x.reshape(n, c, h, side, w, side).permute(0, 2, 4, 1, 3, 5)
    return crops.reshape(n * h * w, c, side, side), (n, h, w)


def put_back(crops: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The reverse of `cut`."""
    (n, h, w), (_, c, side, _) = shape, crops.shape
    return crops.reshape(n, h, w, c, side, side).permute(0, 3, 1, 4, 2, 5).reshape(n, c, h * side, w * side)


def dcgan_spec(healthy: Dataset, settings: DcganSettings, size: int | None) -> ModelSpec:
    """size: longest side that the network sees of the largest image; None: their own.

    What a pixel's score hangs on is its own crop, and through the blur those beside it.
    """
    sides = (*healthy.column("width"), *healthy.column("height"))
    channels, _ = measure(healthy, "auto")
    side = settings.side
    return ModelSpec(
        task="anomaly",
        kinds=("anomaly",),
        channels=channels,
        bit_depth=bit_depth(healthy),
        stride=side,
        margin=side + Blur(settings.smooth_px).radius,
        max_side=max(WINDOW, _WINDOWS * side),
        sides=(min(sides), max(sides)),
        scale=min(1.0, size / max(sides)) if size else 1.0,
    )


@dataclass(frozen=True, eq=False)
class Learnt:
    """residuals: on the device; apart: (n,) each held-out healthy image's largest distance, of training images only
    and empty where none was held out; state: the history of the training"""

    residuals: Residuals
    apart: np.ndarray
    state: State


def learn_dcgan(
    healthy: Dataset,
    spec: ModelSpec,
    settings: DcganSettings,
    seed: int = 0,
    max_ram_mb: int = 512,
    groups: np.ndarray | None = None,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> Learnt:
    """Generator, discriminator and encoder from healthy images.

    groups: int (N,), images of one number are of one part: each fifth part, one at least, is kept from training, to
            tell how far healthy ones lie apart; None: all are learnt from

    Raises as `train_gan`.
    """
    held = np.zeros(len(healthy), bool) if groups is None else _held_out(groups)
    learnt_from = healthy.where(~held)
    crops = HealthyCrops(held_images(learnt_from, spec, max_ram_mb), settings.side, settings.turned, seed)
    nets = Nets(settings, spec.channels, seed).to(pick_device())
    looks = Looks(crops.batch(_NO_STEP, _LOOKED_AT).to(pick_device())) if settings.work else None
    state = train_gan(nets, crops, settings, _identity(healthy, settings, seed), on_step, looks)
    train_encoder(nets, crops, settings, on_step)
    residuals = Residuals(nets, settings, spec.bit_depth, seed).to(pick_device())
    apart = [distance_of(residuals, s.image(), spec) for s in healthy.where(held)]
    return Learnt(residuals, np.array(apart, np.float64), state)


def distance_of(residuals: Residuals, image: np.ndarray, spec: ModelSpec) -> float:
    """The largest blurred residual of an image."""
    return float(predict_image(torch_run(residuals), image, spec).map.max())


def _held_out(groups: np.ndarray) -> np.ndarray:
    numbers = np.unique(groups, return_inverse=True)[1]
    return (numbers % _HELD_OUT == _HELD_OUT - 1) | (numbers == numbers.max())


def load_residuals(tensors: Mapping[str, Tensor], settings: DcganSettings, spec: ModelSpec, seed: int) -> Residuals:
    """From the state of another one."""
    residuals = Residuals(Nets(settings, spec.channels, seed), settings, spec.bit_depth, seed)
    residuals.load_state_dict(dict(tensors))
    return residuals


def _identity(healthy: Dataset, settings: DcganSettings, seed: int) -> dict[str, Any]:
    """What must be equal for a checkpoint to be gone on from; what comes after it may change."""
    after = {"search", "encoder_steps", "encoder_rate", "smooth_px", "look_every"}
    return {"settings": settings.model_dump(mode="json", exclude=after), "data": healthy.content_hash, "seed": seed}
