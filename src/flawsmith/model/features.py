"""Images as a classifier sees them, disturbed copies of them, and the features that a network gives of each.

Features of a network that does not learn are kept on disk: fitting another head then takes seconds.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from flawsmith.core.errors import DataError, EnvironmentFault
from flawsmith.core.files import cache_folder
from flawsmith.core.openvino import import_openvino, openvino_installed
from flawsmith.core.spec import ModelSpec, Run, fitted
from flawsmith.dataset.augment import AugmentSettings, affine, cutout, relight, warp
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.checkpoint import load_tensors, save_tensors
from flawsmith.model.train import Batch, TrainSettings

_AT_ONCE = 32
_REPAYS = 500 * 224**2  # pixels; converting costs seconds
_HELD = 2 << 30  # bytes of fitted images that are kept in memory


class Views:
    """The images of a data set as squares (side, side, C); without `augment` only as they are."""

    def __init__(
        self, dataset: Dataset, spec: ModelSpec, augment: AugmentSettings | None = None, seed: int = 0
    ) -> None:
        assert spec.side is not None
        self.dataset, self.spec, self.augment, self.seed, self.side = dataset, spec, augment, seed, spec.side
        size = spec.side**2 * spec.channels * spec.bit_depth // 8
        self._most = _HELD // size
        self._held: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def square(self, row: int) -> np.ndarray:
        """The image of a row in its own type."""
        if row not in self._held:
            square = fitted(self.dataset[row].image(), self.spec)
            if len(self._held) >= self._most:
                return square
            self._held[row] = square
        return self._held[row]

    def disturbed(self, row: int, rng: np.random.Generator) -> np.ndarray:
        """float32 (side, side, C): moved, turned, relit as `augment` says."""
        assert self.augment is not None
        square, middle = self.square(row), (self.side - 1) / 2
        matrix = affine(rng, (middle, middle), self.side, self.augment)
        nothing = np.zeros((1, self.side, self.side), np.uint8)
        image, _ = warp(square, nothing, matrix, self.side)
        image = relight(rng, image, float(np.iinfo(square.dtype).max), self.augment)
        return cutout(rng, image, nothing, self.augment)[0]

    def all(self, rounds: int) -> Iterator[np.ndarray]:
        """Every image as it is, then `rounds` times every image disturbed; float32 (side, side, C) each."""
        for row in range(len(self)):
            yield self.square(row).astype(np.float32)
        for number in range(rounds):
            for row in range(len(self)):
                yield self.disturbed(row, np.random.default_rng([self.seed, number, row]))

    def batches(self, labels: np.ndarray, classes: int, settings: TrainSettings, mixup: float, cutmix: float) -> Batch:
        """Batch i of training: images (N, C, side, side) and soft targets (N, K); classes come equally often."""
        rows = [np.flatnonzero(labels == k) for k in range(classes)]
        there = np.unique(labels)  # of combined aspects some classes have no image

        def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
            rng = np.random.default_rng([settings.seed, step])
            chosen = there[rng.integers(len(there), size=settings.batch)]
            images = np.stack([self.disturbed(int(rng.choice(rows[k])), rng) for k in chosen]).transpose(0, 3, 1, 2)
            targets = np.eye(classes, dtype=np.float32)[chosen]
            return mixed(rng, np.ascontiguousarray(images), targets, mixup, cutmix)

        return batch


def mixed(
    rng: np.random.Generator, images: np.ndarray, targets: np.ndarray, mixup: float, cutmix: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each image with another of the batch: blended (Zhang et al. 2018) or with a box of it pasted (Yun et al. 2019).

    mixup, cutmix: parameter of the beta distribution of the share; 0 is off; with both, one of them by chance
    """
    ways = [way for way, strength in (("mixup", mixup), ("cutmix", cutmix)) if strength > 0]
    if not ways:
        return images, targets
    way, partner = rng.choice(ways), rng.permutation(len(images))
    strength = mixup if way == "mixup" else cutmix
    share = float(rng.beta(strength, strength))
    if way == "mixup":
        images = share * images + (1 - share) * images[partner]
    else:
        height, width = images.shape[2:]
        high, wide = round(height * np.sqrt(1 - share)), round(width * np.sqrt(1 - share))
        y, x = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
        images = images.copy()
        images[:, :, y : y + high, x : x + wide] = images[partner, :, y : y + high, x : x + wide]
        share = 1 - high * wide / (height * width)
    return images.astype(np.float32), (share * targets + (1 - share) * targets[partner]).astype(np.float32)


@torch.inference_mode()
def features_of(
    net: nn.Module, features: Callable[[Tensor], Tensor], views: Views, rounds: int = 0, keep: bool = True
) -> np.ndarray:
    """float32 (N · (1 + rounds), D): of every image, then of every disturbed copy, in the order of `Views.all`.

    net:      the network behind `features`, to know by its weights which features are kept
    features: (N, C, side, side) raw intensities to (N, D)
    keep:     on disk, in the cache folder; nothing is lost where it cannot be written
    """
    path = _place(net, views, rounds)
    if keep and (found := _kept(path)) is not None:
        return found
    total = len(views) * (1 + rounds)
    ask = _extractor(net, features, views, total)
    found = np.concatenate([ask(np.stack(some).transpose(0, 3, 1, 2)) for some in batched(views.all(rounds), _AT_ONCE)])
    if keep:
        _put_away(path, found)
    return found


def batched(images: Iterable[np.ndarray], count: int) -> Iterator[list[np.ndarray]]:
    """Lists of `count` images, the last one shorter."""
    left = iter(images)
    while some := list(islice(left, count)):
        yield some


def _extractor(net: nn.Module, features: Callable[[Tensor], Tensor], views: Views, total: int) -> Run:
    """float32 (N, C, side, side) to (N, D), the fastest way: on a processor OpenVINO's, where converting pays off."""
    device = next(net.parameters()).device
    if device.type == "cpu" and openvino_installed() and total * views.side**2 >= _REPAYS:
        return _openvino(net, features, views)

    return _eager(net, features)


def _eager(net: nn.Module, features: Callable[[Tensor], Tensor]) -> Run:
    device = next(net.parameters()).device

    def ask(images: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(images).to(device).contiguous(memory_format=torch.channels_last)
        return features(x).float().cpu().numpy()

    return ask


class _Asked(nn.Module):
    """`features` as a module's forward, which is what can be exported."""

    def __init__(self, net: nn.Module, features: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.features = net, features

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


def _openvino(net: nn.Module, features: Callable[[Tensor], Tensor], views: Views) -> Run:
    """fp32: two and a half times as fast as eager on EfficientNet-Lite0, and equal to 5 digits."""
    openvino = import_openvino()
    example = torch.zeros(2, views.spec.channels, views.side, views.side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated calls inside torch's exporter and OpenVINO's reader of it
        program = torch.export.export(
            _Asked(net, features).eval(), (example,), dynamic_shapes=({0: torch.export.Dim("n")},)
        )
        model = openvino.convert_model(program)
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"} | settings)
    return lambda images: np.array(compiled([np.ascontiguousarray(images)])[0])


def _place(net: nn.Module, views: Views, rounds: int) -> Path:
    """A file named by all that the features depend on."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}
    digest = hashlib.sha256(save_bytes(tensors))
    digest.update("".join(views.dataset.column("sha256")).encode())
    if rounds and views.augment:
        digest.update(f"{rounds} {views.seed} {views.augment.model_dump_json()}".encode())
    spec = views.spec
    digest.update(f"{spec.side} {spec.channels} {spec.bit_depth} {torch.__version__} {cv2.__version__}".encode())
    return cache_folder() / "features" / f"{digest.hexdigest()[:32]}.safetensors"


def _kept(path: Path) -> np.ndarray | None:
    try:
        return load_tensors(path)[0]["features"].numpy()
    except (DataError, KeyError):  # none yet, or damaged: they are made again
        return None


def _put_away(path: Path, features: np.ndarray) -> None:
    try:
        save_tensors(path, {"features": torch.from_numpy(features)}, {})
    except EnvironmentFault:  # a full or read-only disk costs the next fit a minute, nothing else
        return
