"""Classifier: learns from the labels of whole images what they show, from a handful of photographs of each class."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from flawsmith.core.config import Settings, validate
from flawsmith.core.errors import ConfigError, DataError, nearest
from flawsmith.core.prediction import Prediction
from flawsmith.core.spec import FAULTY, UNKNOWN, ModelSpec, class_score, fitted, predict_image
from flawsmith.dataset.augment import AugmentSettings
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.aspects import combinations, empty_factored, fit_factored, healthy_combinations
from flawsmith.model.backbone import SMALL_CNN, Backbone, open_backbone
from flawsmith.model.checkpoint import identity_of, load_tensors, save_tensors, under
from flawsmith.model.classify_net import TOPS, ClassifyNet, Deployable
from flawsmith.model.features import Views, features_of
from flawsmith.model.heads import HeadSettings, empty_head, fit_head
from flawsmith.model.loss import Loss
from flawsmith.model.novelty import fit_novelty, load_novelty
from flawsmith.model.run import torch_run
from flawsmith.model.segment import SEEN, WEIGHTS, bit_depth, fingerprints, measure
from flawsmith.model.small_cnn import SmallCnnSettings, sized_to
from flawsmith.model.temperature import fit_temperature
from flawsmith.model.train import Batch, Progress, State, TrainSettings, pick_device, train

LEARNT = "learnt.safetensors"  # features of the training images, to show the nearest ones
LEARNING = ("last", "full", "scratch")  # ways in which the network itself learns


class BackboneSettings(Settings):
    """Which network gives the features; see `model.backbone`.

    weights: file or folder of its weights, where they are in no package
    side:    pixels that it sees of each image, which is shrunk or stretched to a square; None: what it was made for
    small:   of small-cnn; None: sized to the data set where it learns from scratch
    """

    name: str = "efficientnet-lite0"
    weights: Path | None = None
    side: int | None = Field(default=None, ge=16)
    hub: bool = False
    small: SmallCnnSettings | None = None


class TuneSettings(Settings):
    """How the network learns.

    "frozen" leaves it as it is and fits the head alone; "augmented" too, on `views` disturbed views of each image
    besides; "last" goes on to train the last `blocks` blocks with the head, each earlier one more slowly by `decay`;
    "full" all of them; "scratch" starts from random weights.
    """

    how: Literal["frozen", "augmented", "last", "full", "scratch"] = "frozen"
    views: int = Field(default=8, ge=1)
    blocks: int = Field(default=2, ge=1)
    decay: float = Field(default=0.7, gt=0, le=1)
    mixup: float = Field(default=0.0, ge=0)  # of the beta distribution; 0: off
    cutmix: float = Field(default=0.0, ge=0)


class LearnSettings(TrainSettings):
    """Of images in classes; a class of its own, so that one changed setting leaves the other defaults alone."""

    steps: int = Field(default=200, ge=1)
    batch: int = Field(default=16, ge=1)
    loss: Literal["sum", "adaptive", "classes"] = "classes"
    learning_rate: float = Field(default=3e-4, gt=0)
    encoder_rate: float = Field(default=1.0, ge=0, le=1)
    warmup: int = Field(default=20, ge=0)
    validate_every: int = Field(default=40, ge=1)


class ViewSettings(AugmentSettings):
    """How far the whole image may be moved and scaled: less than a crop of it."""

    zoom: float = Field(default=0.1, ge=0, lt=1)
    translate: float = Field(default=0.08, ge=0, le=0.5)


class ClassifySettings(Settings):
    """Everything `flawsmith train classify` can be told."""

    backbone: BackboneSettings = BackboneSettings()
    head: HeadSettings = HeadSettings()
    tune: TuneSettings = TuneSettings()
    train: LearnSettings = LearnSettings()
    augment: ViewSettings = ViewSettings()
    classes: tuple[str, ...] | None = None  # labels to learn; None: all of the data set
    aspects: tuple[str, ...] = ()  # names of what labels as bolt+dirt+left say, each judged by a head of its own


@dataclass(frozen=True, eq=False)
class Seen:
    """One image through a classifier, with what its verdict rests on.

    probabilities: float32 (K,), in the order of the spec's classes
    unknown:  0 … 1
    features: float32 (D,)
    heat:     float32 (h, w) in [0, 1]: where the most probable class was seen, by the gradient of its logit (Grad-CAM,
              Selvaraju et al. 2017, arXiv:1610.02391)
    nearest:  ids of the training images with the most similar features, the most similar first
    """

    probabilities: np.ndarray
    unknown: float
    features: np.ndarray
    heat: np.ndarray
    nearest: tuple[str, ...]

    def prediction(self, spec: ModelSpec) -> Prediction:
        """What `Classifier.predict` gives of the same image."""
        passing = np.isin(spec.classes, spec.healthy)
        faulty = [float(np.clip(self.probabilities[~passing].sum(), 0, 1))] if FAULTY in spec.kinds else []
        planes = np.array([*self.probabilities, *faulty, self.unknown], np.float32)
        return Prediction(spec.kinds, planes[:, None, None], class_score(planes, spec))


@dataclass(frozen=True)
class Lesson:
    """What a network learns from: batches, the loss (None: the settings' own), and JSON that tells it from others."""

    batch: Batch
    loss: Loss | None
    identity: dict[str, Any]


class Classifier:
    """`fit` learns from a data set's labels, `predict` gives the probability of each class, `save` and `load` keep it.

    >>> model = Classifier().fit(data.split("train"), data.split("val"))       # doctest: +SKIP
    >>> next(model.predict([image])).maps[:, 0, 0]                               # doctest: +SKIP
    array([0.97, 0.02, 0.01, 0.03, 0.08], dtype=float32)
    """

    def __init__(self, settings: ClassifySettings | None = None) -> None:
        self.settings = settings or ClassifySettings()

    def fit(
        self,
        dataset: Dataset,
        validation: Dataset | None = None,
        run: Path | None = None,
        resume: bool = False,
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> "Classifier":
        """Learn from `dataset`; temperature and the limit of "unknown" come from `validation` where there is one.

        Raises `DataError` for fewer than two classes and mixed bit depths, `ConfigError` for a class of which the data
        set has no image, and as `open_backbone`.
        """
        views, net, labels = self.prepare(dataset)
        chosen = self.settings
        self.trained_on_ = fingerprints(views.dataset)
        self.learnt_ids_ = tuple(views.dataset.column("id"))
        rounds = chosen.tune.views * (chosen.tune.how == "augmented")
        features = features_of(net.backbone, net.features, views, rounds, keep=chosen.tune.how != "scratch")
        seen, classes = np.tile(labels, 1 + rounds), self.spec.classes
        net.head = self.fit_head(features, seen).to(pick_device())
        self.state_ = State(done=True)
        if self._learns:
            self.state_ = self._tune(net, views, labels, validation, run, resume, on_step)
            features = features_of(net.backbone, net.eval().features, views, keep=False)
        self.net_ = net.eval()
        self._make_honest(features[: len(labels)], labels, validation, classes)
        return self

    def prepare(self, dataset: Dataset) -> tuple[Views, ClassifyNet, np.ndarray]:
        """The images of the classes, a network without a head, and each image's class; sets `spec`. Raises as `fit`."""
        classes = self._classes(dataset)
        dataset = dataset.where(np.isin(dataset.column("label"), classes))
        chosen = self.settings = _sized(self.settings, len(dataset))
        backbone = self._backbone(pretrained=chosen.tune.how != "scratch").to(pick_device())
        depth, healthy = bit_depth(dataset), _healthy(dataset, classes)
        if chosen.aspects:
            healthy = healthy_combinations(classes, healthy, dataset.column("label"))
        channels, _ = measure(dataset, "auto")
        mixed = bool(healthy) and len(healthy) < len(classes)
        sizes = (*dataset.column("width"), *dataset.column("height"))
        self.spec = ModelSpec(
            task="classify",
            kinds=(*classes, *([FAULTY] if mixed else []), UNKNOWN),
            healthy=healthy,
            channels=channels,
            bit_depth=depth,
            side=chosen.backbone.side or backbone.info.side_px,
            sides=(min(sizes), max(sizes)),
        )
        views = Views(dataset, self.spec, chosen.augment, chosen.train.seed)
        net = ClassifyNet(backbone, nn.Identity(), TOPS[depth]).eval()
        return views, net.to(pick_device()), _numbers(dataset, classes)

    def fit_head(self, features: np.ndarray, labels: np.ndarray) -> nn.Module:
        """On features (N, D) of the classes (N,): one head, or one for each aspect. `prepare` comes first."""
        chosen, classes = self.settings, self.spec.classes
        if chosen.aspects:
            return fit_factored(features, labels, classes, chosen.aspects, chosen.head, chosen.train.seed)
        return fit_head(features, labels, len(classes), chosen.head, chosen.train.seed)

    def _classes(self, dataset: Dataset) -> tuple[str, ...]:
        counted, aspects = Counter(dataset.column("label")), self.settings.aspects
        classes = self.settings.classes or tuple(sorted(counted))
        if aspects:
            return combinations(classes, aspects)
        for name in classes:
            if not counted.get(name):
                raise ConfigError(f"{dataset.root} has no image of class {name!r}.{nearest(name, sorted(counted))}")
        if len(classes) < 2:
            raise DataError(f"{dataset.root} has one class, {list(classes)}: a classifier needs two, or train anomaly")
        if taken := {FAULTY, UNKNOWN} & set(classes):
            raise DataError(
                f"{dataset.root} has classes named {sorted(taken)}, which are kept for verdicts: rename them"
            )
        return classes

    def _backbone(self, pretrained: bool) -> Backbone:
        chosen = self.settings.backbone
        weights, hub = (chosen.weights, chosen.hub) if pretrained else (None, False)
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.train.seed)
            backbone = open_backbone(chosen.name, weights, pretrained=pretrained, hub=hub, small=chosen.small)
        side, step = chosen.side or backbone.info.side_px, backbone.info.multiple_px
        if side % step:
            raise ConfigError(f"backbone.side {side}: {chosen.name} wants a multiple of {step}")
        return backbone

    def _tune(
        self,
        net: ClassifyNet,
        views: Views,
        labels: np.ndarray,
        validation: Dataset | None,
        run: Path | None,
        resume: bool,
        on_step: Callable[[Progress], None],
    ) -> State:
        """Train blocks and head together, from the head that fits the features as they were (Kumar et al. 2022)."""
        chosen = self.settings
        if chosen.head.kind == "knn":
            raise ConfigError("head.kind knn has no weights to train: take logistic, svm or mlp, or tune.how frozen")
        net.keeps_statistics = chosen.tune.how != "scratch"
        blocks = net.backbone.blocks
        count = {"last": chosen.tune.blocks, "full": len(blocks), "scratch": len(blocks)}.get(chosen.tune.how, 0)
        net.requires_grad_(False)
        net.head.requires_grad_(True)
        for back, block in enumerate(blocks[::-1][:count]):
            block.requires_grad_(True)
            block.rate = chosen.tune.decay ** (back + 1) if chosen.tune.how != "scratch" else 1.0  # type: ignore[assignment]
        judge = _judge(validation, self.spec) if validation is not None and len(validation) else None
        lesson = self._lesson(views, labels, run)
        settings = {"settings": chosen.model_dump(mode="json"), "data": views.dataset.content_hash}
        identity, measure = {**settings, **lesson.identity}, "balanced accuracy"
        return train(net, lesson.batch, judge, chosen.train, run, identity, resume, on_step, measure, lesson.loss)

    @property
    def _learns(self) -> bool:
        """Whether weights are trained step by step; else the head is fitted at once and is all that is learnt."""
        return self.settings.tune.how in LEARNING

    def _lesson(self, views: Views, labels: np.ndarray, run: Path | None) -> Lesson:
        """Disturbed images and their true classes; a student learns from its teacher besides (`model.distil`)."""
        tune = self.settings.tune
        batch = views.batches(labels, len(self.spec.classes), self.settings.train, tune.mixup, tune.cutmix)
        return Lesson(batch, None, {})

    def _make_honest(
        self, features: np.ndarray, labels: np.ndarray, validation: Dataset | None, classes: tuple[str, ...]
    ) -> None:
        """Temperature and the limit of "unknown", on images that were not learnt from where there are any."""
        known = None
        self.temperature_ = 1.0
        if validation is not None and len(validation):
            kept = validation.where(np.isin(validation.column("label"), classes))
            if len(kept):
                keep = self.settings.tune.how not in LEARNING
                known = features_of(self.net_.backbone, self.net_.features, Views(kept, self.spec), keep=keep)
                self.temperature_ = fit_temperature(self._logits(known), _numbers(kept, classes))
        self.novelty_ = fit_novelty(features, labels, known).to(self._device)
        self.learnt_ = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

    @property
    def _device(self) -> torch.device:
        return next(self.net_.parameters()).device

    @torch.inference_mode()
    def _logits(self, features: np.ndarray) -> np.ndarray:
        return self.net_.head(torch.from_numpy(features).to(self._device)).cpu().numpy()

    def module(self) -> nn.Module:
        """The network to export, on the CPU, in eval mode; see `ModelSpec` for its contract."""
        self.net_.to("cpu")
        self.novelty_.to("cpu")
        return self.deployable().eval()

    def deployable(self) -> nn.Module:
        """As `module`, on whatever device the network is."""
        return Deployable(self.net_, self.novelty_, self.temperature_, self.spec).to(self._device)

    def predict(self, images: Iterable[np.ndarray], roi: np.ndarray | None = None) -> Iterator[Prediction]:
        """Probabilities as maps of one pixel, lazily. Raises as `predict_image`."""
        run = torch_run(self.deployable())
        for image in images:
            yield predict_image(run, image, self.spec, roi)

    def look(self, images: Iterable[np.ndarray], nearest: int = 3, roi: np.ndarray | None = None) -> Iterator[Seen]:
        """What `predict` says and why, one image at a time."""
        backbone, top = self.net_.backbone, self.net_
        for image in images:
            pixels = torch.from_numpy(fitted(image, self.spec, roi).transpose(2, 0, 1)[None].astype(np.float32))
            with torch.no_grad():
                x = top.normalised(pixels.to(self._device))
                features, where = backbone(x), backbone.feature_map(x)[0]
                unknown = float(self.novelty_(features)[0])
            features.requires_grad_(True)
            logits = top.head(features)[0]
            (slope,) = torch.autograd.grad(logits.max(), features)
            # a pooled feature is the mean of its map, so its slope weighs the map; extra features come first
            heat = torch.relu(torch.einsum("d,dhw->hw", slope[0, -len(where) :], where))
            found = features.detach()[0].cpu().numpy()
            likeness = self.learnt_ @ (found / max(float(np.linalg.norm(found)), 1e-12))
            yield Seen(
                probabilities=torch.softmax(logits.detach() / self.temperature_, dim=0).cpu().numpy(),
                unknown=unknown,
                features=found,
                heat=(heat / heat.max().clamp(min=1e-12)).cpu().numpy(),
                nearest=tuple(self.learnt_ids_[row] for row in np.argsort(-likeness, kind="stable")[:nearest]),
            )

    def identity(self, roi: np.ndarray | None = None) -> str:
        """Hex SHA-256 of weights, spec and region of interest: what a calibration holds for."""
        return identity_of(self._tensors(), self.spec, roi)

    def _tensors(self) -> dict[str, Tensor]:
        parts = {"net": self.net_, "novelty": self.novelty_}
        found = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        found["temperature"] = torch.tensor(self.temperature_, dtype=torch.float64)
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}

    def save(self, folder: Path) -> None:
        """`model.safetensors`: weights, settings and spec; `learnt.safetensors`: features of the training images."""
        meta = {"spec": self.spec.model_dump(mode="json"), "settings": self.settings.model_dump(mode="json")}
        save_tensors(folder / WEIGHTS, {**self._tensors(), SEEN: torch.from_numpy(self.trained_on_)}, meta)
        learnt = {"features": torch.from_numpy(self.learnt_.astype(np.float16))}
        save_tensors(folder / LEARNT, learnt, {"ids": list(self.learnt_ids_)})

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Raises `DataError` when the folder holds no classifier."""
        tensors, meta = load_tensors(folder / WEIGHTS)
        model = cls(validate(ClassifySettings, meta["settings"], str(folder)))
        model.spec = validate(ModelSpec, meta["spec"], str(folder))
        model.trained_on_ = tensors.pop(SEEN).numpy()
        model.temperature_ = float(tensors.pop("temperature"))
        backbone = model._backbone(pretrained=False)
        empty = empty_factored if model.settings.aspects else empty_head
        head = empty(under("net.head", tensors), model.settings.head)
        model.net_ = ClassifyNet(backbone, head, TOPS[model.spec.bit_depth])
        model.net_.load_state_dict(under("net", tensors))
        model.net_.to(pick_device()).eval()
        model.novelty_ = load_novelty(under("novelty", tensors)).to(pick_device())
        learnt, told = load_tensors(folder / LEARNT)
        model.learnt_, model.learnt_ids_ = learnt["features"].numpy().astype(np.float32), tuple(told["ids"])
        return model


def _sized(settings: ClassifySettings, images: int) -> ClassifySettings:
    """With the size of a small CNN that is trained from scratch written down. Raises `ConfigError` as `sized_to`."""
    chosen = settings.backbone
    if chosen.small and chosen.small.channels != 3:
        raise ConfigError("backbone.small.channels: a classifier shows its network three, grey as three equal ones")
    if chosen.name != SMALL_CNN or chosen.small or settings.tune.how != "scratch":
        return settings
    small = sized_to(images, chosen.side or SmallCnnSettings().side_px)
    return settings.model_copy(update={"backbone": chosen.model_copy(update={"small": small})})


def _numbers(dataset: Dataset, classes: tuple[str, ...]) -> np.ndarray:
    """int64 (N,): the place of each image's label among the classes. Images of other labels must be left out before."""
    at = {name: number for number, name in enumerate(classes)}
    return np.array([at[label] for label in dataset.column("label")], np.int64)


def _healthy(dataset: Dataset, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes whose images are all healthy. Raises `DataError` for a class of both kinds."""
    told = Counter(zip(dataset.column("label"), dataset.column("healthy"), strict=True))
    for name in classes:
        if told[name, True] and told[name, False]:
            raise DataError(
                f"class {name!r} has {told[name, True]} healthy and {told[name, False]} faulty images: "
                "one label must mean one of the two; correct the labels at their source"
            )
    return tuple(name for name in classes if told[name, True])


def _judge(validation: Dataset, spec: ModelSpec) -> Callable[[nn.Module], float]:
    """Balanced accuracy on the validation images of the classes."""
    kept = validation.where(np.isin(validation.column("label"), spec.classes))
    views, labels = Views(kept, spec), _numbers(kept, spec.classes)

    @torch.inference_mode()
    def judge(net: nn.Module) -> float:
        assert isinstance(net, ClassifyNet)
        features = features_of(net.backbone, net.features, views, keep=False)
        device = next(net.parameters()).device
        said = net.head(torch.from_numpy(features).to(device)).argmax(1).cpu().numpy()
        return float(np.mean([(said[labels == k] == k).mean() for k in np.unique(labels)]))

    return judge
