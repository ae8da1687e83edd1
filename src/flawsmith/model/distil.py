"""Distillation: a small classifier learns what a large one, or several, say of disturbed views of the same images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.backbone import SMALL_CNN
from flawsmith.model.checkpoint import load_tensors, save_tensors
from flawsmith.model.classify import Classifier, ClassifySettings, Lesson
from flawsmith.model.ensemble import members_of
from flawsmith.model.features import Views, mixed
from flawsmith.model.loss import Loss
from flawsmith.model.train import Batch, Progress, TrainSettings

DISTIL = "distil.yaml"  # its settings, in the run folder
TAUGHT = "taught.safetensors"  # what the teacher said of each view
_AT_ONCE = 32


# A student learns for long: soft targets keep it from learning by heart (Beyer et al. 2022, arXiv:2106.05237).
_SMALL: dict[str, dict[str, Any]] = {
    "backbone": {"name": SMALL_CNN, "side": 128},
    "tune": {"how": "scratch"},
    "train": {"steps": 1500, "batch": 32, "learning_rate": 2e-3, "warmup": 50, "validate_every": 100},
}
_PRETRAINED: dict[str, dict[str, Any]] = {"tune": {"how": "full"}}


class DistilSettings(Settings):
    """Everything `flawsmith train distil` can be told.

    temperature: softens teacher and student alike, on top of the teacher's own, so that the same value means as soft a
                 target from any teacher; 1 is what the teacher says
    hard_share:  weight of the true label; the rest is the teacher's
    views:       disturbed views of each image, on which the teacher is asked once; what it said is kept. A teacher must
                 see the very view its student sees (Beyer et al. 2022, arXiv:2106.05237)
    student:     the classifier that learns: a small CNN from scratch, where nothing else is said
    """

    temperature: float = Field(default=4.0, gt=0)
    hard_share: float = Field(default=0.5, ge=0, le=1)
    views: int = Field(default=8, ge=1)
    student: ClassifySettings = ClassifySettings.model_validate(_SMALL)

    @field_validator("student", mode="before")
    @classmethod
    def _with_a_students_defaults(cls, given: Any) -> Any:
        """What is not said is as for a small CNN from scratch; of another backbone, as `train classify`, in full."""
        if not isinstance(given, dict):
            return given
        backbone = given.get("backbone")
        name = backbone.get("name", SMALL_CNN) if isinstance(backbone, dict) else SMALL_CNN
        groups = _SMALL if name == SMALL_CNN else _PRETRAINED
        merged = {key: {**group, **given[key]} for key, group in groups.items() if isinstance(given.get(key), dict)}
        return {**groups, **given, **merged}


def distil(
    teacher: Classifier,
    dataset: Dataset,
    validation: Dataset | None = None,
    settings: DistilSettings | None = None,
    run: Path | None = None,
    resume: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Classifier:
    """A classifier with the student's settings that has learnt from `teacher` and the true labels.

    Raises `DataError` for a class that the teacher does not know and images of another bit depth, and as
    `Classifier.fit`.

    >>> student = distil(Ensemble.load(run), data.split("train"), data.split("val"))     # doctest: +SKIP
    """
    return Student(teacher, settings or DistilSettings()).fit(dataset, validation, run, resume, on_step)


def own_settings(teacher: Classifier) -> ClassifySettings:
    """A student like its teacher, or like one of its members: self-distillation (Furlanello et al. 2018,
    arXiv:1805.04770, born-again networks)."""
    return members_of(teacher)[0].settings


class Student(Classifier):
    """A classifier whose batches come with what its teacher says; saved, it is a classifier as any other."""

    def __init__(self, teacher: Classifier, settings: DistilSettings) -> None:
        super().__init__(settings.student)
        self.teacher, self.distil = teacher, settings

    @property
    def _learns(self) -> bool:
        """Always, the head at least: none is fitted to soft targets at once."""
        return True

    def _lesson(self, views: Views, labels: np.ndarray, run: Path | None) -> Lesson:
        check_teacher(self.teacher, views)
        identity = {
            "teacher": self.teacher.identity(),
            "distil": self.distil.model_dump(mode="json", exclude={"student"}),
            "seed": views.seed,
            "augment": views.augment.model_dump(mode="json") if views.augment else None,
            "data": views.dataset.content_hash,
        }
        soft = _kept(run, identity, self.spec.classes)
        if soft is None:
            soft = taught(self.teacher, views, self.distil.views, self.distil.temperature)
            if run:
                meta = {**identity, "classes": list(self.spec.classes)}
                save_tensors(run / TAUGHT, {"soft": torch.from_numpy(soft)}, meta)
        tune, train = self.settings.tune, self.settings.train
        batch = batches(views, labels, soft, train, tune.mixup, tune.cutmix)
        return Lesson(batch, distil_loss(self.distil.temperature, self.distil.hard_share), {"taught": identity})


def distil_loss(temperature: float, hard_share: float) -> Loss:
    """Loss of logits (N, K) and targets (N, 2 K): truth, then what the teacher says at this temperature.

    hard_share · CE(truth) + (1 - hard_share) · T² · KL(teacher ‖ student at T), means over the batch. T² makes up for
    slopes that fall with it. Source: Hinton et al. 2015, arXiv:1503.02531.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        truth, soft = targets.chunk(2, dim=1)
        hard = functional.cross_entropy(logits, truth)
        apart = functional.kl_div(torch.log_softmax(logits / temperature, 1), soft, reduction="batchmean")
        return hard_share * hard + (1 - hard_share) * temperature**2 * apart

    return loss


def check_teacher(teacher: Classifier, views: Views) -> None:
    """Raise `DataError` where the teacher cannot say anything of these images."""
    strange = sorted(set(views.spec.classes) - set(teacher.spec.classes))
    if strange:
        raise DataError(
            f"{views.dataset.root} has classes that the teacher does not know: {', '.join(strange)}; it knows "
            f"{', '.join(teacher.spec.classes)}. Train it anew, or leave them out with student.classes"
        )
    if views.spec.bit_depth != teacher.spec.bit_depth:
        raise DataError(
            f"{views.dataset.root} has {views.spec.bit_depth} bits a channel, the teacher was trained on "
            f"{teacher.spec.bit_depth}"
        )


@torch.inference_mode()
def taught(teacher: Classifier, views: Views, rounds: int, temperature: float) -> np.ndarray:
    """float32 (1 + rounds, N, K): what the teacher says of every image, then of every disturbed view, softened.

    The teacher sees its own square of each view, moved and relit by the same draws as the student's. Classes that
    the student does not learn are left out of its sum.
    """
    own = Views(views.dataset, teacher.spec, views.augment, views.seed)
    columns = [teacher.spec.classes.index(name) for name in views.spec.classes]
    found, wanted = [], [(number, row) for number in range(1 + rounds) for row in range(len(views))]
    for start in range(0, len(wanted), _AT_ONCE):
        images = np.stack([_view(own, number, row) for number, row in wanted[start : start + _AT_ONCE]])
        x = torch.from_numpy(images.transpose(0, 3, 1, 2))
        found.append(softened(teacher, x, temperature)[:, columns].cpu().numpy())
    soft = np.concatenate(found)
    soft /= soft.sum(1, keepdims=True)
    return soft.reshape(1 + rounds, len(views), len(columns)).astype(np.float32)


def softened(teacher: Classifier, x: Tensor, temperature: float) -> Tensor:
    """Raw intensities (N, C, side, side) to probabilities (N, K): the mean of the members', each softened."""
    said, asked = [], {}
    for member in members_of(teacher):
        net = member.net_
        if id(net.backbone) not in asked:
            device = next(net.parameters()).device
            asked[id(net.backbone)] = net.features(x.to(device).contiguous(memory_format=torch.channels_last))
        logits = net.head(asked[id(net.backbone)])
        said.append(torch.softmax(logits / (member.temperature_ * temperature), dim=1))
    return torch.stack(said).mean(0)


def batches(
    views: Views, labels: np.ndarray, soft: np.ndarray, settings: TrainSettings, mixup: float, cutmix: float
) -> Batch:
    """As `Views.batches`, on the views that the teacher was asked about; targets (N, 2 K): truth, teacher."""
    count = soft.shape[2]
    rows = [np.flatnonzero(labels == k) for k in range(count)]

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([settings.seed, step])
        chosen = rng.integers(count, size=settings.batch)
        at = [int(rng.choice(rows[k])) for k in chosen]
        rounds = rng.integers(len(soft), size=settings.batch)
        images = np.stack([_view(views, int(n), row) for n, row in zip(rounds, at, strict=True)]).transpose(0, 3, 1, 2)
        targets = np.concatenate([np.eye(count, dtype=np.float32)[chosen], soft[rounds, at]], axis=1)
        return mixed(rng, np.ascontiguousarray(images), targets, mixup, cutmix)

    return batch


def _view(views: Views, number: int, row: int) -> np.ndarray:
    """float32 (side, side, C): number 0 is the image as it is, each other one disturbed by draws of its own."""
    if number == 0:
        return views.square(row).astype(np.float32)
    return views.disturbed(row, np.random.default_rng([views.seed, number, row]))


def _kept(run: Path | None, identity: dict, classes: tuple[str, ...]) -> np.ndarray | None:
    """What the teacher said in this run before it was stopped."""
    if run is None or not (run / TAUGHT).exists():
        return None
    tensors, meta = load_tensors(run / TAUGHT)
    return tensors["soft"].numpy() if meta == {**identity, "classes": list(classes)} else None


def check_classifier(model: object, where: Path) -> Classifier:
    """Raise `ConfigError` where the model is no classifier, and so can neither teach nor be joined."""
    if not isinstance(model, Classifier):
        raise ConfigError(f"{where} holds no classifier: train one with flawsmith train classify")
    return model
