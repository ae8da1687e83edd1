"""AnomalyDetector: learns from healthy images alone what a part looks like, and says where and how far one departs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flawsmith.core.config import validate
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.prediction import Prediction
from flawsmith.core.spec import ModelSpec, predict_image
from flawsmith.dataset.grouping import group_rows
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.anomaly.bank_file import load_detector, save_detector
from flawsmith.model.anomaly.dcgan.detect import Residuals, dcgan_spec, learn_dcgan, load_residuals
from flawsmith.model.anomaly.distance import Deployable, Distances
from flawsmith.model.anomaly.gaussian import PositionGaussian, learn_gaussian, load_gaussian
from flawsmith.model.anomaly.learn import Held, gather, gather_whole, unit_of
from flawsmith.model.anomaly.memory import MemoryBank, learn_memory, load_memory
from flawsmith.model.anomaly.settings import AnomalySettings
from flawsmith.model.anomaly.spots import DEFAULT_STAGES, SpotNet, Whitening, reach
from flawsmith.model.backbone import Backbone, open_backbone
from flawsmith.model.checkpoint import identity_of
from flawsmith.model.run import torch_run
from flawsmith.model.segment import WINDOW, bit_depth, measure
from flawsmith.model.train import pick_device

KIND = "anomaly"
_ENOUGH = 5  # held-out healthy images that tell the unit better than folds of the training images do
_WHOLE = 8192  # longest side, in the network's pixels, of images that are shown whole


@dataclass(frozen=True)
class MethodKind:
    """How a method learns and is loaded; `whole`: it knows positions, so that it takes images of one size only."""

    learn: Callable[[Held, np.ndarray, AnomalySettings], tuple[MemoryBank | PositionGaussian, np.ndarray]]
    load: Callable[[Mapping[str, Tensor]], MemoryBank | PositionGaussian]
    whole: bool = False


METHODS: dict[str, MethodKind] = {
    "memory": MethodKind(learn_memory, load_memory),
    "gaussian": MethodKind(learn_gaussian, load_gaussian, whole=True),
}


class AnomalyDetector:
    """`fit` learns from the healthy images of a data set, `predict` gives maps of scores, `save` and `load` keep it.

    >>> model = AnomalyDetector().fit(data.split("train"), data.split("val"))       # doctest: +SKIP
    >>> next(model.predict([image])).map.shape                                       # doctest: +SKIP
    (512, 512)
    """

    def __init__(self, settings: AnomalySettings | None = None) -> None:
        self.settings = settings or AnomalySettings()

    def fit(
        self,
        dataset: Dataset,
        validation: Dataset | None = None,
        on_image: Callable[[int], None] = lambda count: None,
    ) -> "AnomalyDetector":
        """Learn from the healthy images of `dataset`; those of `validation` tell how far healthy parts lie apart.

        on_image: told how many images are done

        Raises `DataError` for fewer than two healthy images, mixed bit depths, and images of several sizes where the
        method knows positions; `ConfigError` for stages that the backbone has not, and as `open_backbone`.
        """
        healthy = _healthy(dataset)
        chosen = self.settings
        if chosen.threads:
            torch.set_num_threads(chosen.threads)
        if chosen.method == "dcgan":
            return self._fit_generative(healthy, validation)
        method = METHODS[chosen.method]
        net = self.describer(healthy)
        if method.whole:
            held = gather_whole(net, healthy, self.spec, chosen.max_ram_mb, on_image)
        else:
            held = gather(net, healthy, self.spec, chosen, on_image)
        normal, apart = method.learn(held, part_numbers(healthy), chosen)
        self.images_ = dict(zip(healthy.column("id"), prints(healthy).tolist(), strict=True))
        if isinstance(normal, MemoryBank):
            normal = MemoryBank(normal.bank, torch.from_numpy(prints(healthy))[normal.owners])
        self.distances_: Distances | Residuals = (
            Distances(net, held.whitening, normal, chosen.smooth).to(pick_device()).eval()
        )
        self.unit_ = 1.0
        self.unit_ = unit_of(self._seen(validation, apart))
        return self

    def _fit_generative(self, healthy: Dataset, validation: Dataset | None) -> "AnomalyDetector":
        chosen = self.settings
        self.spec = dcgan_spec(healthy, chosen.dcgan, chosen.size)
        others = 0 if validation is None else validation.column("healthy").count(True)
        groups = part_numbers(healthy) if others < _ENOUGH else None
        learnt = learn_dcgan(healthy, self.spec, chosen.dcgan, chosen.seed, chosen.max_ram_mb, groups)
        self.images_ = dict(zip(healthy.column("id"), prints(healthy).tolist(), strict=True))
        self.distances_, self.unit_ = learnt.residuals, 1.0
        self.unit_ = unit_of(self._seen(validation, learnt.apart))
        return self

    def describer(self, healthy: Dataset) -> SpotNet:
        """The network that describes spots of such images, on the device; sets `spec`. Raises as `fit`."""
        backbone = self._backbone()
        net = self._net(backbone, bit_depth(healthy))
        self.spec = self._spec(healthy, net, backbone)
        return net.to(pick_device())

    def _backbone(self) -> Backbone:
        chosen = self.settings.features
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            return open_backbone(chosen.backbone, chosen.weights, hub=chosen.hub)

    def _net(self, backbone: Backbone, depth: int) -> SpotNet:
        chosen = self.settings.features
        last = len(backbone.stages)
        stages = chosen.stages or DEFAULT_STAGES.get(chosen.backbone, (max(last - 2, 1), max(last - 1, 1)))
        net = SpotNet(backbone, tuple(dict.fromkeys(stages)), chosen.pool, depth).eval()
        return net.requires_grad_(False)

    def _spec(self, healthy: Dataset, net: SpotNet, backbone: Backbone) -> ModelSpec:
        widths, heights = healthy.column("width"), healthy.column("height")
        longest = max(*widths, *heights)
        whole = METHODS[self.settings.method].whole
        if whole and len(set(zip(widths, heights, strict=True))) > 1:
            raise DataError(
                f"{healthy.root}: images of {min(widths)}x{min(heights)} to {max(widths)}x{max(heights)} px, and "
                f"method {self.settings.method} knows each position of one size: take --method memory, which takes "
                "any, or bring them to one size"
            )
        channels, _ = measure(healthy, "auto")
        stride, margin = reach(net)
        return ModelSpec(
            task="anomaly",
            kinds=(KIND,),
            channels=min(channels, 3 if net.mean.shape[1] == 3 else 1),  # type: ignore[arg-type]
            bit_depth=bit_depth(healthy),
            stride=stride,
            margin=margin + round(4 * self.settings.smooth * stride),
            max_side=_WHOLE if whole else WINDOW,
            sides=(min(*widths, *heights), longest),
            scale=min(1.0, self.settings.size / longest) if self.settings.size else 1.0,
            shape=(heights[0], widths[0]) if whole else None,
        )

    def _seen(self, validation: Dataset | None, apart: np.ndarray) -> np.ndarray:
        """Distances of healthy images that had no part in what they are compared with."""
        if validation is not None:
            keep = validation.where(np.array(validation.column("healthy"), bool))
            if len(keep) >= _ENOUGH:
                scores = np.array([p.map.max() for p in self.predict(s.image() for s in keep)], np.float64)
                return scores / (1 - scores)  # the unit is 1 here
        return apart

    def update(self, dataset: Dataset, remove: Sequence[str] = ()) -> "AnomalyDetector":
        """Without the images of `remove`, and with the healthy ones of `dataset` that are not known.

        Raises as `add` and `remove`.
        """
        if remove:
            self.remove(remove)
        known = np.isin(dataset.column("id"), [*self.images_, *remove])
        fresh = dataset.where(np.array(dataset.column("healthy"), bool) & ~known)
        if len(fresh):
            self.add(fresh)
        return self

    def add(self, dataset: Dataset) -> int:
        """Take in healthy images without learning anew; how many rows they gave. Scores stay comparable: whitening and
        unit are as they were. Raises `ConfigError` for a method that cannot, `DataError` for images that it knows."""
        bank = self._bank()
        healthy = _healthy(dataset, least=1)
        known = sorted(set(healthy.column("id")) & self.images_.keys())
        marks = prints(healthy)
        if known or np.isin(marks, list(self.images_.values())).any():
            raise DataError(f"{known[0] if known else 'an image'} is in the bank already: leave it out")
        assert isinstance(self.distances_, Distances)  # it has a bank
        chosen, whitening = self.settings, self.distances_.whitening.to("cpu")
        held = gather(self.distances_.net, healthy, self.spec, chosen, whitening=whitening)
        grown = bank.joined(held.spots, torch.from_numpy(marks)[held.owners], chosen.seed)
        self.images_ |= dict(zip(healthy.column("id"), marks.tolist(), strict=True))
        self._replace(grown)
        return len(grown) - len(bank)

    def remove(self, ids: Sequence[str]) -> int:
        """Take out the rows of these images; how many. Raises `ConfigError` for one that it did not learn from."""
        bank = self._bank()
        if strangers := [name for name in ids if name not in self.images_]:
            raise ConfigError(f"the bank did not learn from {strangers[0]!r}; it knows {len(self.images_)} images")
        less = bank.without(torch.tensor([self.images_[name] for name in ids]))
        self.images_ = {name: mark for name, mark in self.images_.items() if name not in set(ids)}
        self._replace(less)
        return len(bank) - len(less)

    def _bank(self) -> MemoryBank:
        if not isinstance(self.distances_, Distances) or not isinstance(self.distances_.normal, MemoryBank):
            raise ConfigError(
                f"images are added to and removed from a bank, and {self.settings.method} has none: train anew"
            )
        return self.distances_.normal.to("cpu")

    def _replace(self, bank: MemoryBank) -> None:
        assert isinstance(self.distances_, Distances)
        self.distances_.normal = bank
        self.distances_.to(pick_device())

    @property
    def rows(self) -> int | None:
        """Spots in the bank; None where there is none."""
        normal = self.distances_.normal if isinstance(self.distances_, Distances) else None
        return len(normal) if isinstance(normal, MemoryBank) else None

    @property
    def trained_on_(self) -> np.ndarray:
        """Int64 (N,), sorted: as `model.segment.fingerprints`, of the healthy images."""
        return np.sort(np.array(list(self.images_.values()), np.int64))

    def module(self) -> nn.Module:
        """The network to export, on the CPU, in eval mode; see `ModelSpec` for its contract.

        Raises `ConfigError` for a search that no exported network can do.
        """
        if isinstance(self.distances_, Residuals):
            self.distances_.check_exportable()
        return Deployable(self.distances_.to("cpu"), self.unit_).eval()

    def predict(self, images: Iterable[np.ndarray], roi: np.ndarray | None = None) -> Iterator[Prediction]:
        """Raw score maps, lazily, one image at a time. Raises as `predict_image`."""
        run = torch_run(Deployable(self.distances_, self.unit_))
        for image in images:
            yield predict_image(run, image, self.spec, roi)

    def identity(self, roi: np.ndarray | None = None) -> str:
        """Hex SHA-256 of the weights, the spec and the region of interest: what a calibration holds for."""
        tensors = {**self.distances_.state_dict(), "unit": torch.tensor(self.unit_)}
        return identity_of(tensors, self.spec, roi)

    def save(self, folder: Path) -> None:
        """`model.safetensors`: backbone, bank, settings and spec in one file that knows its own hash."""
        meta: dict[str, Any] = {"unit": self.unit_, "images": self.images_}
        save_detector(folder, self.distances_, self.settings, self.spec, meta)

    @classmethod
    def load(cls, folder: Path) -> "AnomalyDetector":
        """Raises `DataError` when the folder holds no model, or its file was changed or cut off."""
        tensors, meta = load_detector(folder)
        model = cls(validate(AnomalySettings, meta["settings"], str(folder)))
        model.spec = validate(ModelSpec, meta["spec"], str(folder))
        model.unit_, model.images_ = meta["unit"], meta["images"]
        chosen = model.settings
        if chosen.method == "dcgan":
            residuals = load_residuals(tensors["normal"], chosen.dcgan, model.spec, chosen.seed)
            model.distances_ = residuals.to(pick_device())
            return model
        with torch.random.fork_rng():
            backbone = open_backbone(chosen.features.backbone, pretrained=False)
        net = model._net(backbone, model.spec.bit_depth)
        net.load_state_dict(tensors["net"])
        whitening = Whitening(tensors["whitening"]["mean"], tensors["whitening"]["matrix"])
        normal = METHODS[chosen.method].load(tensors["normal"])
        model.distances_ = Distances(net, whitening, normal, chosen.smooth).to(pick_device()).eval()
        return model


def prints(dataset: Dataset) -> np.ndarray:
    """Int64 (N,) in the order of the rows: the first eight bytes of each image's SHA-256."""
    return np.array([int(sha[:16], 16) - 2**63 for sha in dataset.column("sha256")], np.int64)


def part_numbers(dataset: Dataset) -> np.ndarray:
    """Int (N,): images of one number are of one part. Where all are, each is its own: something must be compared."""
    numbers = group_rows(dataset, "auto").numbers
    return np.arange(len(dataset)) if len(np.unique(numbers)) < 2 else np.unique(numbers, return_inverse=True)[1]


def _healthy(dataset: Dataset, least: int = 2) -> Dataset:
    healthy = dataset.where(np.array(dataset.column("healthy"), bool))
    if len(healthy) < least:
        have = f"{len(healthy)} healthy image{'s' * (len(healthy) != 1)} of {len(dataset)} in this split"
        raise DataError(
            f"{dataset.root} has {have}: learning what is normal takes {least} at least, and 20 or more to be of use; "
            "add healthy photographs, or see flawsmith dataset split"
        )
    return healthy
