"""Ensemble: classifiers asked together, the mean of their probabilities; behind the same door as one of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from flawsmith.core.config import validate
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.prediction import Prediction
from flawsmith.core.spec import ModelSpec
from flawsmith.dataset.grouping import group_rows
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.checkpoint import load_tensors, named, save_tensors
from flawsmith.model.classify import LEARNING, LEARNT, Classifier, ClassifySettings, Seen
from flawsmith.model.classify_net import Deployable
from flawsmith.model.segment import SEEN, WEIGHTS, fingerprints
from flawsmith.model.temperature import fit_temperature
from flawsmith.model.train import Progress, State

MEMBERS = 5
_LEAST = 1e-9  # probability, before its logarithm
_SAME = ("classes", "healthy", "channels", "bit_depth", "side")


class DeployableEnsemble(nn.Module):
    """What is exported: as `Deployable`, of all members in one graph. A backbone that several share is run once."""

    def __init__(self, members: Sequence[Deployable], temperature: float) -> None:
        super().__init__()
        self.members, self.temperature = nn.ModuleList(members), temperature
        backbones = [member.net.backbone for member in members]
        self.asked = [next(i for i, b in enumerate(backbones) if b is backbone) for backbone in backbones]

    def forward(self, pixels: Tensor) -> Tensor:
        members, x = [cast(Deployable, member) for member in self.members], pixels.permute(0, 3, 1, 2).to(torch.float32)
        features = {i: members[i].net.features(x) for i in sorted(set(self.asked))}
        seen = [features[i] for i in self.asked]
        mean = torch.stack([m.probabilities(f) for m, f in zip(members, seen, strict=True)]).mean(0)
        unknown = torch.stack([m.novelty(f) for m, f in zip(members, seen, strict=True)]).mean(0)
        return members[0].planes(tempered(mean, self.temperature), unknown)


def tempered(probabilities: Tensor, temperature: float) -> Tensor:
    """(N, K) to (N, K): their logarithms divided by the temperature.

    The mean of honest members is too modest, so it gets a temperature of its own (Rahaman and Thiery 2021,
    arXiv:2007.08792).
    """
    return torch.softmax(torch.log(probabilities.clamp(min=_LEAST)) / temperature, dim=1)


class Ensemble(Classifier):
    """Classifiers of the same classes that see the same pixels; `fit` trains them, `Ensemble.of` joins trained ones.

    Members whose network learns differ by their seed alone (Lakshminarayanan et al. 2017, arXiv:1612.01474). Where only
    the head is fitted a seed changes next to nothing: there each member does without another fold of the groups, so
    with 5 members it sees 80 % of them (Krogh and Vedelsby 1995; Parmanto et al. 1996).

    >>> model = Ensemble(settings, members=5).fit(data.split("train"), data.split("val"))     # doctest: +SKIP
    >>> model = Ensemble.of([Classifier.load(run) for run in runs], data.split("val"))         # doctest: +SKIP
    """

    def __init__(self, settings: ClassifySettings | None = None, members: int = MEMBERS) -> None:
        super().__init__(settings)
        if members < 2:
            raise ConfigError(f"an ensemble of {members}: it takes 2 members or more")
        self.count = members

    @classmethod
    def of(cls, members: Sequence[Classifier], validation: Dataset | None = None) -> "Ensemble":
        """Join trained classifiers; the temperature of their mean comes from `validation` where there is one.

        Raises `ConfigError` for fewer than two, `DataError` for ensembles and where they know or see different things.
        """
        if not members:
            raise ConfigError("an ensemble of 0: it takes 2 members or more")
        return cls(members[0].settings, len(members))._join(members, validation)

    def fit(
        self,
        dataset: Dataset,
        validation: Dataset | None = None,
        run: Path | None = None,
        resume: bool = False,
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> "Ensemble":
        """Train every member in `run`/member-NUMBER; `resume` takes those that are finished. Raises as `Classifier`."""
        members = []
        kept = _rows(dataset, self.settings, self.count)
        for number in range(self.count):
            member = Classifier(self.member_settings(number))
            folder, part = run / member_folder(number) if run else None, dataset.take(kept[number])
            if resume and folder and (folder / LEARNT).exists():
                members.append(_finished(folder, member.settings, part))
                continue
            member.fit(part, validation, folder, resume, on_step)
            if folder:
                member.save(folder)
            members.append(member)
        return self._join(members, validation)

    def member_settings(self, number: int) -> ClassifySettings:
        """Those of the ensemble with a seed of the member's own."""
        train = self.settings.train
        return self.settings.model_copy(update={"train": train.model_copy(update={"seed": train.seed + number})})

    def _join(self, members: Sequence[Classifier], validation: Dataset | None) -> "Ensemble":
        _check_alike(members)
        self.members_ = tuple(members)
        _share_backbones(self.members_)
        self.net_ = members[0].net_
        sides = [member.spec.sides for member in members]
        widest = (min(s[0] for s in sides if s), max(s[1] for s in sides if s)) if all(sides) else None
        self.spec = members[0].spec.model_copy(update={"sides": widest})
        self.trained_on_ = np.unique(np.concatenate([member.trained_on_ for member in members]))
        self.learnt_ids_ = tuple(dict.fromkeys(name for member in members for name in member.learnt_ids_))
        self.state_, self.temperature_ = State(done=True), 1.0
        if validation is not None:
            kept = validation.where(np.isin(validation.column("label"), self.spec.classes))
            if len(kept):
                self.temperature_ = self._fitted_temperature(kept)
        return self

    def _fitted_temperature(self, known: Dataset) -> float:
        count = len(self.spec.classes)
        said = [next(self.predict([sample.image()])).maps[:count, 0, 0] for sample in known]
        labels = np.array([self.spec.classes.index(label) for label in known.column("label")], np.int64)
        return fit_temperature(np.log(np.maximum(np.stack(said), _LEAST)), labels)

    def deployable(self) -> nn.Module:
        """As `module`, on whatever device the members are."""
        each = [Deployable(m.net_, m.novelty_, m.temperature_, m.spec).to(self._device) for m in self.members_]
        return DeployableEnsemble(each, self.temperature_)

    def module(self) -> nn.Module:
        """All members in one graph to export, on the CPU, in eval mode; see `ModelSpec` for its contract."""
        for member in self.members_:
            member.module()
        return self.deployable().eval()

    def look(self, images: Iterable[np.ndarray], nearest: int = 3, roi: np.ndarray | None = None) -> Iterator[Seen]:
        """What `predict` says, one image at a time; features, heat and nearest images are those of the first member."""
        for image in images:
            said: Prediction = next(self.predict([image], roi))
            maps, count = said.maps[:, 0, 0], len(self.spec.classes)
            first = next(self.members_[0].look([image], nearest, roi))
            yield replace(first, probabilities=maps[:count], unknown=float(maps[-1]))

    def _tensors(self) -> dict[str, Tensor]:
        found = {"temperature": torch.tensor(self.temperature_, dtype=torch.float64)}
        for number, member in enumerate(self.members_):
            found |= named(member_folder(number), member._tensors())
        return found

    def save(self, folder: Path) -> None:
        """`model.safetensors`: temperature and spec; each member in a run folder of its own, `member-NUMBER`."""
        for number, member in enumerate(self.members_):
            member.save(folder / member_folder(number))
        meta = {"spec": self.spec.model_dump(mode="json"), "members": [m.identity() for m in self.members_]}
        tensors = {"temperature": torch.tensor(self.temperature_, dtype=torch.float64)}
        save_tensors(folder / WEIGHTS, {**tensors, SEEN: torch.from_numpy(self.trained_on_)}, meta)

    @classmethod
    def load(cls, folder: Path) -> "Ensemble":
        """Raises `DataError` when the folder holds no ensemble, or a member is missing or another than was saved."""
        tensors, meta = load_tensors(folder / WEIGHTS)
        if "members" not in meta:
            raise DataError(f"{folder} holds no ensemble")
        members = [Classifier.load(folder / member_folder(number)) for number in range(len(meta["members"]))]
        for number, member in enumerate(members):
            if member.identity() != meta["members"][number]:
                where = folder / member_folder(number)
                raise DataError(f"{where} is not the member that the ensemble was made with: join them again")
        model = cls(members[0].settings, len(members))._join(members, None)
        model.spec = validate(ModelSpec, meta["spec"], str(folder))
        model.trained_on_, model.temperature_ = tensors[SEEN].numpy(), float(tensors["temperature"])
        return model


def members_of(model: Classifier) -> tuple[Classifier, ...]:
    """Of an ensemble its members, of a single classifier itself."""
    return model.members_ if isinstance(model, Ensemble) else (model,)


def member_folder(number: int) -> str:
    return f"member-{number}"


def _finished(folder: Path, settings: ClassifySettings, part: Dataset) -> Classifier:
    """Raises `ConfigError` for a member of other settings or images."""
    member = Classifier.load(folder)
    small = settings.backbone.small or member.settings.backbone.small  # training writes the size down
    wanted = settings.model_copy(update={"backbone": settings.backbone.model_copy(update={"small": small})})
    if member.settings != wanted or not np.isin(member.trained_on_, fingerprints(part)).all():
        raise ConfigError(f"{folder} was trained with other settings or data: use those, or choose another --out")
    return member


def _check_alike(members: Sequence[Classifier]) -> None:
    first = members[0].spec
    for number, member in enumerate(members):
        if isinstance(member, Ensemble):
            raise DataError(f"member {number} is an ensemble itself: join its members with the others")
        for name in _SAME:
            ours, theirs = getattr(first, name), getattr(member.spec, name)
            if theirs != ours:
                why = ": training and every engine must see the same pixels" if name == "side" else ""
                raise DataError(
                    f"member {number} has {name} {_told(theirs)}, member 0 has {_told(ours)}{why}; "
                    "train them with the same data and backbone.side"
                )


def _told(value: object) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _share_backbones(members: Sequence[Classifier]) -> None:
    """Members whose backbones have the same weights get the same one: it is then kept and run once for all of them."""
    distinct: list[nn.Module] = []
    for member in members:
        mine = member.net_.backbone
        same = next((known for known in distinct if _equal(known, mine)), None)
        if same is None:
            distinct.append(mine)
        else:
            member.net_.backbone = same  # type: ignore[assignment]


def _equal(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[name].shape == theirs[name].shape and torch.equal(ours[name], theirs[name]) for name in ours
    )


def _rows(dataset: Dataset, settings: ClassifySettings, members: int) -> list[np.ndarray]:
    """The rows that each member learns from."""
    everything = np.arange(len(dataset))
    if settings.tune.how in LEARNING:
        return [everything] * members
    labels = np.array(dataset.column("label"))
    folds = _folds(labels, group_rows(dataset, "auto").numbers, members, settings.train.seed)
    found = []
    for number in range(members):
        lost = set(labels) - set(labels[folds != number])  # a class of one group: every member must know it
        found.append(np.flatnonzero((folds != number) | np.isin(labels, sorted(lost))))
    return found


def _folds(labels: np.ndarray, groups: np.ndarray, members: int, seed: int) -> np.ndarray:
    """(N,) fold of each image: the groups of each class, the rarest class first, are dealt out in turn."""
    rng, fold = np.random.default_rng(seed), np.full(len(labels), -1)
    names, counts = np.unique(labels, return_counts=True)
    dealt = 0
    for name in names[np.argsort(counts, kind="stable")]:
        for group in rng.permutation(np.unique(groups[(labels == name) & (fold < 0)])):
            fold[groups == group] = dealt % members
            dealt += 1
    return fold
