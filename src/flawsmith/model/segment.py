"""Segmenter: learns from masks where flaws are, one score map per kind."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pyarrow.compute as pc
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from flawsmith.core.config import Settings, validate
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.image import to_channels
from flawsmith.core.prediction import Prediction
from flawsmith.core.spec import ModelSpec, Run, predict_image
from flawsmith.dataset.augment import AugmentSettings
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.checkpoint import identity_of, load_tensors, save_tensors
from flawsmith.model.crops import Crops, CropSettings, usable
from flawsmith.model.efficientnet import EfficientNetLite0, load_imagenet
from flawsmith.model.run import torch_run
from flawsmith.model.train import Progress, State, TrainSettings, pick_device, train, use_bf16
from flawsmith.model.unet import UNet, narrow_margin, narrow_unet

WEIGHTS = "model.safetensors"
SEEN = "trained_on"
WINDOW = 1408  # largest window, in pixels the network sees


class NetSettings(Settings):
    """Which network. `downscale` halves or quarters the image first; "auto" keeps flaws at least 3 px wide."""

    architecture: Literal["unet", "efficientnet-lite0"] = "unet"
    filters: int = Field(default=16, ge=4)
    depth: int = Field(default=5, ge=2, le=6)
    downscale: Literal["auto", 1, 2, 4] = "auto"
    channels: Literal["auto", 1, 3] = "auto"
    pretrained: bool = True
    frozen: int = Field(default=4, ge=0, le=8)  # first stages of a pretrained encoder that keep their weights


class SegmentSettings(Settings):
    """Everything `flawsmith train segment` can be told."""

    net: NetSettings = NetSettings()
    train: TrainSettings = TrainSettings()
    augment: AugmentSettings = AugmentSettings()
    kinds: tuple[str, ...] | None = None  # defect kinds to learn; None: all of the data set


class SegmentNet(nn.Module):
    """Raw intensities in, logits out: shrink, normalise, network, back to size.

    While training, crops come already shrunk, and their logits and masks stay at that scale.
    """

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor, downscale: int) -> None:
        super().__init__()
        self.net, self.downscale = net, downscale
        self.mean = nn.Buffer(mean.reshape(1, -1, 1, 1))
        self.std = nn.Buffer(std.reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, C, H, W), 0 … 255 or 65535, to logits (N, K, H, W)."""
        scales = self.downscale > 1 and not self.training
        if scales:
            x = functional.avg_pool2d(x, self.downscale)
        logits = self.net((x - self.mean) / self.std)
        if scales:
            scale = float(self.downscale)
            logits = functional.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False)
        return logits


class Deployable(nn.Module):
    """What is exported: integer pixels (N, H, W, C) in, raw scores (N, K, H, W) in [0, 1] out."""

    def __init__(self, net: SegmentNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.sigmoid(self.net(pixels.permute(0, 3, 1, 2).to(torch.float32)))


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of raw intensities."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Segmenter:
    """`fit` learns from a data set, `predict` gives raw score maps, `save` and `load` keep it.

    >>> model = Segmenter().fit(data.split("train"), data.split("val"))       # doctest: +SKIP
    >>> next(model.predict([image])).map.shape                                 # doctest: +SKIP
    (512, 512)
    """

    def __init__(self, settings: SegmentSettings | None = None) -> None:
        self.settings = settings or SegmentSettings()

    def fit(
        self,
        dataset: Dataset,
        validation: Dataset | None = None,
        run: Path | None = None,
        resume: bool = False,
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> "Segmenter":
        """Learn from `dataset`; stop early on `validation` where there is one. See `train` for `run` and `resume`.

        Raises `DataError` when no defect is marked or bit depths are mixed, `ConfigError` for a kind it does not hold.
        """
        kinds = self._kinds(dataset)
        device = pick_device()
        chosen = self.settings.train
        identity = {"settings": self.settings.model_dump(mode="json"), "data": dataset.content_hash}
        self._settle_downscale(dataset, kinds)
        wanted = self.settings.net.channels if self.settings.net.architecture == "unet" else 3
        channels, norm = measure(usable(dataset, kinds), wanted)
        stride, margin = reach(self.settings.net)
        sizes = (*dataset.column("width"), *dataset.column("height"))
        depth = bit_depth(dataset)
        self.spec = ModelSpec(
            kinds=kinds,
            channels=channels,
            bit_depth=depth,
            stride=stride,
            margin=margin,
            sides=(min(sizes), max(sizes)),
            max_side=WINDOW * scale_of(self.settings.net),  # memory goes with what the network sees
        )
        self.norm_ = norm
        self.trained_on_ = fingerprints(dataset)
        with torch.random.fork_rng():
            torch.manual_seed(chosen.seed)
            self.net_ = build(self.settings.net, self.spec, norm, weights=True).to(device)
        crops = Crops(
            dataset,
            kinds,
            channels,
            CropSettings(
                chosen.crop, chosen.batch, chosen.defect_crops, self.settings.augment, scale_of(self.settings.net)
            ),
            chosen.seed,
            chosen.cache_mb << 20,
        )
        judge = None
        if validation is not None and any(validation.column("defects")):
            judge = _judge(usable(validation, kinds), self.spec, chosen)
        self.state_: State = train(self.net_, crops.batch, judge, chosen, run, identity, resume, on_step)
        return self

    def _kinds(self, dataset: Dataset) -> tuple[str, ...]:
        kinds = self.settings.kinds or dataset.classes
        unknown = set(kinds) - set(dataset.classes)
        if unknown:
            raise ConfigError(f"kinds {sorted(unknown)} are not in {dataset.root}; it has {list(dataset.classes)}")
        if not kinds:
            raise DataError(f"{dataset.root} has no defect kinds; a segmenter needs masks or boxes to learn from")
        return tuple(kinds)

    def _settle_downscale(self, dataset: Dataset, kinds: tuple[str, ...]) -> None:
        if self.settings.net.downscale == "auto":
            net = self.settings.net.model_copy(update={"downscale": auto_downscale(dataset, kinds)})
            self.settings = self.settings.model_copy(update={"net": net})

    def module(self) -> Deployable:
        """The network to export, on the CPU, in eval mode; see `ModelSpec` for its contract."""
        return Deployable(self.net_.to("cpu")).eval()

    def predict(self, images: Iterable[np.ndarray], roi: np.ndarray | None = None) -> Iterator[Prediction]:
        """Raw score maps, lazily, one image at a time in constant memory. Raises as `predict_image`."""
        run = runner(self.net_)
        for image in images:
            yield predict_image(run, image, self.spec, roi)

    def identity(self, roi: np.ndarray | None = None) -> str:
        """Hex SHA-256 of the weights, the spec and the region of interest: what a calibration holds for."""
        return identity_of(self.net_.state_dict(), self.spec, roi)

    def save(self, folder: Path) -> None:
        """`model.safetensors`: weights, settings and spec in one file."""
        meta = {
            "spec": self.spec.model_dump(mode="json"),
            "settings": self.settings.model_dump(mode="json"),
            "mean": self.norm_.mean,
            "std": self.norm_.std,
        }
        seen = {SEEN: torch.from_numpy(self.trained_on_)}
        save_tensors(folder / WEIGHTS, {**self.net_.state_dict(), **seen}, meta)

    @classmethod
    def load(cls, folder: Path) -> "Segmenter":
        """Raises `DataError` when the folder holds no model, or one of an earlier form."""
        tensors, meta = load_tensors(folder / WEIGHTS)
        if SEEN not in tensors:
            raise DataError(f"{folder / WEIGHTS} does not say which images it learnt from: train it again")
        seen = tensors.pop(SEEN).numpy()
        model = cls(validate(SegmentSettings, meta["settings"], str(folder)))
        model.spec = validate(ModelSpec, meta["spec"], str(folder))
        model.norm_ = Normalisation(tuple(meta["mean"]), tuple(meta["std"]))
        model.trained_on_ = seen
        model.net_ = build(model.settings.net, model.spec, model.norm_, weights=False)
        model.net_.load_state_dict(tensors)
        model.net_.to(pick_device(), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        return model


def build(settings: NetSettings, spec: ModelSpec, norm: Normalisation, weights: bool) -> SegmentNet:
    """The network of the settings; `weights` loads the pretrained ones where the architecture has them."""
    if settings.architecture == "unet":
        net: UNet = narrow_unet(spec.channels, len(spec.kinds), settings.filters, settings.depth)
    else:
        encoder = EfficientNetLite0()
        if weights and settings.pretrained:
            load_imagenet(encoder)
            encoder.freeze(settings.frozen)
        net = UNet(encoder, encoder.widths, len(spec.kinds), decoder=[24, 32, 48, 96], stem=2)
    return SegmentNet(net, torch.tensor(norm.mean), torch.tensor(norm.std), scale_of(settings))


def fingerprints(dataset: Dataset) -> np.ndarray:
    """Int64 (N,), sorted: the first eight bytes of each image's SHA-256, to know an image again."""
    return np.sort(np.array([int(sha[:16], 16) - 2**63 for sha in dataset.column("sha256")], np.int64))


def reach(settings: NetSettings) -> tuple[int, int]:
    """Stride and margin in pixels of the image."""
    scale = scale_of(settings)
    if settings.architecture == "unet":
        return 2 ** (settings.depth - 1) * scale, narrow_margin(settings.depth) * scale + scale
    # Its exact radius is larger than most images; benchmarks/margin.py measures what is left beyond this.
    return 32 * scale, 256 * scale


def scale_of(settings: NetSettings) -> int:
    """The downscale as a number; 1 where it has not been settled by a data set."""
    return 1 if settings.downscale == "auto" else settings.downscale


def auto_downscale(dataset: Dataset, kinds: tuple[str, ...], most: int = 64) -> Literal[1, 2, 4]:
    """The largest of 4, 2, 1 that keeps nine of ten flaws 3 px wide and the image's shorter side 192 px long.

    A box tells where a flaw is, not how thin; with boxes as truth nothing is shrunk.
    """
    short = min(*dataset.column("width"), *dataset.column("height"))
    marked = usable(dataset, kinds)
    rows = [i for i, defects in enumerate(marked.column("defects")) if defects][:most]
    masks = [d.mask for sample in marked.take(rows) for d in sample.defects if d.kind in kinds]
    if not masks or any(mask is None for mask in masks):
        return 1
    thin = float(np.quantile([width(mask) for mask in masks if mask is not None], 0.1))
    for scale in (4, 2):
        if thin >= 3 * scale and short >= 192 * scale:
            return scale
    return 1


def width(mask: np.ndarray) -> float:
    """Pixels across a mask at its widest: twice the largest distance to its edge."""
    return 2 * float(cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3).max()) - 1


def measure(dataset: Dataset, channels: int | str, most: int = 64) -> tuple[Literal[1, 3], Normalisation]:
    """Channels (1 when every colour image is grey in truth) and intensity statistics of up to `most` images."""
    rows = np.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().astype(int)
    coloured, sums = False, {1: np.zeros((2, 1)), 3: np.zeros((2, 3))}
    size = 0
    for sample in dataset.take(np.unique(rows)):
        image = sample.image()
        coloured |= bool(image.ndim == 3 and (np.ptp(image, axis=2) > 0).any())
        size += image.shape[0] * image.shape[1]
        for count, total in sums.items():
            pixels = to_channels(image, count).reshape(-1, count)
            total += [
                [np.square(p, dtype=np.float64).sum() if square else p.sum(dtype=np.float64) for p in pixels.T]
                for square in (False, True)
            ]
    chosen: Literal[1, 3] = 3 if (channels == 3 or (channels == "auto" and coloured)) else 1
    mean, square = sums[chosen] / size
    deviation = np.sqrt((square - mean**2).clip(0)).clip(1e-3)
    return chosen, Normalisation(tuple(mean.tolist()), tuple(deviation.tolist()))


def bit_depth(dataset: Dataset) -> Literal[8, 16]:
    depths = pc.unique(dataset.table["bit_depth"]).to_pylist()
    if len(depths) != 1 or depths[0] not in (8, 16):
        raise DataError(f"{dataset.root} mixes bit depths {depths}; a model takes one: split the data set by depth")
    return depths[0]


def runner(net: SegmentNet, precision: str = "fp32") -> Run:
    """A `Run` for `predict_image`, on whatever device the network is."""
    return torch_run(Deployable(net), use_bf16(precision, next(net.parameters()).device))


def _judge(validation: Dataset, spec: ModelSpec, settings: TrainSettings) -> Callable[[nn.Module], float]:
    """Mean over the kinds that occur of the pooled IoU at 0.5, on whole images; false alarms count against it."""
    rows = np.linspace(0, len(validation) - 1, min(len(validation), settings.validate_images)).round().astype(int)
    validation = validation.take(np.unique(rows))

    def judge(net: nn.Module) -> float:
        assert isinstance(net, SegmentNet)
        run = runner(net, settings.precision)
        overlap = np.zeros(len(spec.kinds))
        union = np.zeros(len(spec.kinds))
        present = np.zeros(len(spec.kinds), bool)
        for sample in validation:
            image = sample.image()
            found = predict_image(run, image, spec).maps >= 0.5
            truth = sample.masks(spec.kinds, image.shape[:2])
            overlap += (found & truth).sum(axis=(1, 2))
            union += (found | truth).sum(axis=(1, 2))
            present |= truth.any(axis=(1, 2))
        return float((overlap[present] / union[present]).mean()) if present.any() else 0.0

    return judge
