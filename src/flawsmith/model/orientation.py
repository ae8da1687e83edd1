"""Orienter: learns from renders of known pose how a part lies: stable pose, in-plane angle and centre."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from flawsmith.core.config import Settings, validate
from flawsmith.core.errors import ConfigError
from flawsmith.core.orientation import Orientation, RestingPose, angle_apart, kinds_of, read_planes
from flawsmith.core.prediction import Prediction
from flawsmith.core.spec import UNKNOWN, ModelSpec, predict_image, shown
from flawsmith.dataset.augment import AugmentSettings
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.backbone import SMALL_CNN, Backbone, open_backbone
from flawsmith.model.checkpoint import identity_of, load_tensors, save_tensors, under
from flawsmith.model.classify import BackboneSettings
from flawsmith.model.classify_net import TOPS, ClassifyNet
from flawsmith.model.features import Views, features_of
from flawsmith.model.novelty import Novelty, fit_novelty, load_novelty
from flawsmith.model.orientation_data import Truths, part_of, resting_poses, shown_poses, truths
from flawsmith.model.orientation_views import CELLS, batches, check_honest, likelihood
from flawsmith.model.run import torch_run
from flawsmith.model.segment import SEEN, WEIGHTS, bit_depth, fingerprints, measure
from flawsmith.model.small_cnn import SmallCnnSettings
from flawsmith.model.train import Progress, State, TrainSettings, pick_device, train

_DEPTH = 5  # of a small CNN: a cell of its map sees 94 px
_SWING = 8.0  # a bell of a bin's width has waves of up to 130, which a layer that begins near 0 reaches slowly
_NEAR_DEG = 2.0  # an angle that is so wrong counts half in validation


class OrientBackbone(BackboneSettings):
    """A small network from scratch: renders turn for free, so images are plenty, and one of its steps costs a tenth of
    one of EfficientNet-Lite0's at 128 px. It is deep enough for a cell of its map to see a part whole."""

    name: str = SMALL_CNN
    side: int | None = Field(default=96, ge=16)


class OrientTrain(TrainSettings):
    """fp32: in bf16 it had not learnt the waves of an angle."""

    steps: int = Field(default=1500, ge=1)
    batch: int = Field(default=32, ge=1)
    warmup: int = Field(default=50, ge=0)
    validate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=20, ge=1)
    precision: Literal["auto", "bf16", "fp32"] = "fp32"


class OrientAugment(AugmentSettings):
    """What a label can follow: rolls, small shifts and zooms, and light."""

    flip: bool = False
    zoom: float = Field(default=0.05, ge=0, lt=1)
    translate: float = Field(default=0.06, ge=0, le=0.5)
    rotate_deg: float = Field(default=180.0, ge=0, le=180)
    shear_deg: float = Field(default=0.0, ge=0, lt=45)


class OrientationSettings(Settings):
    """Everything `flawsmith train orientation` can be told.

    decay:         each earlier block of a pretrained backbone learns more slowly by this
    hidden, dropout: of the head's layers; channels: those of which the places are kept, for the centre
    waves:         round the circle, of which the probability of an angle is made up
    bins_per_turn: angles that are told apart in 360°, before the mean between them
    soft_bins:     standard deviation of the target, in bins
    """

    backbone: OrientBackbone = OrientBackbone()
    decay: float = Field(default=0.85, gt=0, le=1)
    channels: int = Field(default=16, ge=1)
    hidden: int = Field(default=192, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    waves: int = Field(default=6, ge=1)
    bins_per_turn: int = Field(default=72, ge=8, le=720)
    soft_bins: float = Field(default=1.0, gt=0)
    train: OrientTrain = OrientTrain()
    augment: OrientAugment = OrientAugment()


class OrientHead(nn.Module):
    """A feature map (N, D, h, w) to logits (N, bins + 1 + 2 `CELLS`), as `target` has them.

    Pose and angle come from the cells that it looks at, wherever they are; the centre from where they are. It learns
    waves round the circle, not bins: what it learns of one angle holds for the angles beside it. The first wave alone
    is von Mises' bell; the others tell what looks alike from two sides.
    """

    def __init__(self, width: int, cells: int, poses: tuple[RestingPose, ...], chosen: OrientationSettings) -> None:
        super().__init__()
        waves = [_waves(pose.bins, chosen.waves if pose.symmetry else 0) for pose in poses]
        basis = torch.block_diag(*waves, torch.ones(1, 1))  # the last: that there is no part
        self.basis = nn.Buffer(basis, persistent=False)
        self.mix = nn.Sequential(nn.Conv2d(width, chosen.hidden, 1), nn.ReLU())
        self.look = nn.Conv2d(chosen.hidden, 1, 1)
        self.angle = nn.Sequential(
            nn.Linear(chosen.hidden, chosen.hidden),
            nn.ReLU(),
            nn.Dropout(chosen.dropout),
            nn.Linear(chosen.hidden, basis.shape[1]),
        )
        self.few = nn.Sequential(nn.Conv2d(chosen.hidden, chosen.channels, 1), nn.ReLU(), nn.Flatten())
        self.centre = nn.Linear(chosen.channels * cells, 2 * CELLS)

    def forward(self, where: Tensor) -> Tensor:
        return self.both(where)[0]

    def both(self, where: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the features (N, hidden) of what it looks at, which tell a part from an empty stage."""
        mixed = self.mix(where)
        looks = torch.softmax(self.look(mixed).flatten(2), 2)
        seen = (mixed.flatten(2) * looks).sum(2)
        return torch.cat([self.angle(seen) @ self.basis.T, self.centre(self.few(mixed))], 1), seen


def _waves(bins: int, most: int) -> Tensor:
    """(bins, 1 + 2 H): a constant, then cosines and sines of 1 … H periods."""
    turn = 2 * torch.pi * torch.arange(bins) / bins
    orders = torch.arange(1, min(most, (bins - 1) // 2) + 1)
    angles = turn[:, None] * orders
    return torch.cat([torch.ones(bins, 1), _SWING * torch.cos(angles), _SWING * torch.sin(angles)], 1)


class OrientNet(ClassifyNet):
    """Raw intensities (N, C, side, side) to logits (N, bins of all poses + 1 + 2 `CELLS`).

    Its head sees where in the map a feature is: a pooled one would have lost how the part lies.
    """

    def map(self, x: Tensor) -> Tensor:
        """(N, D, h, w)"""
        return self.backbone.feature_map(self.normalised(x))

    def features(self, x: Tensor) -> Tensor:
        """(N, hidden): by which strange images are known."""
        return self.looked(x)[1]

    def looked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `OrientHead.both`."""
        assert isinstance(self.head, OrientHead)
        return self.head.both(self.map(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.map(x))


class Deployable(nn.Module):
    """What is exported: integer pixels (N, side, side, C) to planes (N, kinds, 1, 1); see `ModelSpec`."""

    def __init__(self, net: OrientNet, novelty: Novelty) -> None:
        super().__init__()
        self.net, self.novelty = net, novelty
        self.cells = nn.Buffer((torch.arange(CELLS) + 0.5) / CELLS)

    def forward(self, pixels: Tensor) -> Tensor:
        logits, seen = self.net.looked(pixels.permute(0, 3, 1, 2).to(torch.float32))
        joint = logits.shape[1] - 2 * CELLS
        angle, x, y = logits.split([joint, CELLS, CELLS], 1)
        centre = [(torch.softmax(axis, 1) * self.cells).sum(1, keepdim=True).clamp(0, 1) for axis in (x, y)]
        shares = torch.softmax(angle, 1)
        unknown = torch.maximum(self.novelty(seen).unsqueeze(1), shares[:, -1:])
        return torch.cat([shares[:, :-1], *centre, unknown], 1)[:, :, None, None]


class Orienter:
    """`fit` learns from renders, `predict` gives raw planes, `orient` what they mean; `save` and `load` keep it.

    >>> model = Orienter().fit(data.split("train"), data.split("val"))         # doctest: +SKIP
    >>> next(model.orient([image])).angle_deg                                    # doctest: +SKIP
    127.4
    """

    def __init__(
        self, settings: OrientationSettings | None = None, poses: tuple[RestingPose, ...] | None = None
    ) -> None:
        """poses: of the part, by `resting_poses`; None: those that the images show, of the part that they name"""
        self.settings, self.poses = settings or OrientationSettings(), poses

    def fit(
        self,
        dataset: Dataset,
        validation: Dataset | None = None,
        run: Path | None = None,
        resume: bool = False,
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> "Orienter":
        """Learn from `dataset`; the best step and the limit of "unknown" come from `validation` where there is one.

        Raises `DataError` for images whose pose is not known or that show no part or several, and for mixed bit depths,
        `ConfigError` for disturbances that no label can follow, and as `open_backbone`.
        """
        chosen = self.settings
        check_honest(chosen.augment)
        poses = self.poses or resting_poses(part_of(dataset), shown_poses(dataset), chosen.bins_per_turn)
        truth = truths(dataset, poses)
        self.spec = self._spec(dataset, poses)
        views = Views(dataset, self.spec, chosen.augment, chosen.train.seed)
        net = self._net(pretrained=True).to(pick_device())
        for back, block in enumerate(reversed(net.backbone.blocks)):
            block.rate = 1.0 if chosen.backbone.name == SMALL_CNN else chosen.decay ** (back + 1)  # type: ignore[assignment]
        held_out = Views(validation, self.spec) if validation is not None and len(validation) else None
        judge = _judge(held_out, truths(held_out.dataset, poses)) if held_out else None
        identity = {"settings": chosen.model_dump(mode="json"), "data": dataset.content_hash}
        batch = batches(views, truth, chosen.train.batch, chosen.soft_bins)
        self.state_ = train(
            net, batch, judge, chosen.train, run, identity, resume, on_step, "agreement", loss_of=likelihood
        )
        self.net_, self.trained_on_ = net.eval(), fingerprints(dataset)
        seen = features_of(net, net.features, views, keep=False)
        known = features_of(net, net.features, held_out, keep=False) if held_out else None
        self.novelty_ = fit_novelty(seen, truth.pose, known).to(self._device)
        return self

    def _spec(self, dataset: Dataset, poses: tuple[RestingPose, ...]) -> ModelSpec:
        sizes = (*dataset.column("width"), *dataset.column("height"))
        channels, _ = measure(dataset, "auto")
        return ModelSpec(
            task="orient",
            kinds=(*kinds_of(poses), UNKNOWN),
            channels=channels,
            bit_depth=bit_depth(dataset),
            side=self.settings.backbone.side or self._backbone(pretrained=False).info.side_px,
            sides=(min(sizes), max(sizes)),
            poses=poses,
        )

    def _backbone(self, pretrained: bool) -> Backbone:
        chosen = self.settings.backbone
        weights, hub = (chosen.weights, chosen.hub) if pretrained else (None, False)
        small = chosen.small
        if chosen.name == SMALL_CNN and small is None:
            small = SmallCnnSettings(side_px=chosen.side or 96, depth=_DEPTH)
        return open_backbone(chosen.name, weights, pretrained=pretrained, hub=hub, small=small)

    def _net(self, pretrained: bool) -> OrientNet:
        """With a head for `spec`. Raises `ConfigError` for a side that the backbone cannot take."""
        chosen, spec = self.settings, self.spec
        assert spec.side is not None
        with torch.random.fork_rng():
            torch.manual_seed(chosen.train.seed)
            backbone = self._backbone(pretrained)
            if spec.side % (step := backbone.info.multiple_px):
                raise ConfigError(f"backbone.side {spec.side}: {chosen.backbone.name} wants a multiple of {step}")
            with torch.no_grad():
                _, width, *cells = backbone.eval().feature_map(torch.zeros(1, 3, spec.side, spec.side)).shape
            head = OrientHead(width, cells[0] * cells[1], spec.poses, chosen)
        net = OrientNet(backbone, head, TOPS[spec.bit_depth])
        net.keeps_statistics = chosen.backbone.name != SMALL_CNN
        return net

    @property
    def _device(self) -> torch.device:
        return next(self.net_.parameters()).device

    def module(self) -> Deployable:
        """The network to export, on the CPU, in eval mode; see `ModelSpec` for its contract."""
        return Deployable(self.net_.to("cpu"), self.novelty_.to("cpu")).eval()

    def predict(self, images: Iterable[np.ndarray], roi: np.ndarray | None = None) -> Iterator[Prediction]:
        """Planes as maps of one pixel, lazily. Raises as `predict_image`."""
        run = torch_run(Deployable(self.net_, self.novelty_).to(self._device))
        for image in images:
            yield predict_image(run, image, self.spec, roi)

    def orient(self, images: Iterable[np.ndarray], roi: np.ndarray | None = None) -> Iterator[Orientation]:
        """How each part lies in its picture; `core.orientation.placed` adds where on the stage."""
        run = torch_run(Deployable(self.net_, self.novelty_).to(self._device))
        for image in images:
            yield shown(predict_image(run, image, self.spec, roi), image, self.spec, roi)

    def identity(self, roi: np.ndarray | None = None) -> str:
        """Hex SHA-256 of weights, spec and region of interest: what a calibration holds for."""
        return identity_of(self._tensors(), self.spec, roi)

    def _tensors(self) -> dict[str, Tensor]:
        parts = {"net": self.net_, "novelty": self.novelty_}
        found = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}

    def save(self, folder: Path) -> None:
        """`model.safetensors`: weights, settings and spec."""
        meta = {"spec": self.spec.model_dump(mode="json"), "settings": self.settings.model_dump(mode="json")}
        save_tensors(folder / WEIGHTS, {**self._tensors(), SEEN: torch.from_numpy(self.trained_on_)}, meta)

    @classmethod
    def load(cls, folder: Path) -> "Orienter":
        """Raises `DataError` when the folder holds no model of orientation."""
        tensors, meta = load_tensors(folder / WEIGHTS)
        model = cls(validate(OrientationSettings, meta["settings"], str(folder)))
        model.spec = validate(ModelSpec, meta["spec"], str(folder))
        model.trained_on_ = tensors.pop(SEEN).numpy()
        model.poses, model.state_ = model.spec.poses, State(done=True)
        model.net_ = model._net(pretrained=False)
        model.net_.load_state_dict(under("net", tensors))
        model.net_.to(pick_device()).eval()
        model.novelty_ = load_novelty(under("novelty", tensors)).to(pick_device())
        return model


def _judge(views: Views, truth: Truths) -> Callable[[nn.Module], float]:
    """Mean over the images of 1 / (1 + angle's error / 2°), 0 for a wrong pose."""
    joint = sum(pose.bins for pose in truth.poses)

    @torch.inference_mode()
    def judge(net: nn.Module) -> float:
        assert isinstance(net, OrientNet)
        device, scores = next(net.parameters()).device, []
        for row, square in enumerate(views.all(0)):
            logits = net(torch.from_numpy(square.transpose(2, 0, 1)[None]).to(device))
            shares = torch.softmax(logits[:, : joint + 1], 1)[:, :joint]
            said = read_planes(np.append(shares[0].float().cpu().numpy(), (0, 0, 0)), truth.poses, (1, 1))
            pose = truth.poses[truth.pose[row]]
            apart = angle_apart(said.angle_deg, truth.angle_deg[row], pose.period_deg)
            scores.append((said.pose == pose.number) / (1 + apart / _NEAR_DEG))
        return float(np.mean(scores))

    return judge
