"""Ensembles of tiny classifiers: the mean of their members, in Python, on disk and as a graph."""

from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_set import CLASSES, labelled, picture

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.dataset.grouping import group_rows
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.classify import BackboneSettings, Classifier, ClassifySettings
from flawsmith.model.ensemble import DeployableEnsemble, Ensemble, _folds, _rows, members_of, tempered
from flawsmith.model.heads import HeadSettings
from flawsmith.model.models import load_model
from flawsmith.model.train import Progress


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return labelled(tmp_path_factory.mktemp("squares") / "data", each=16)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def chosen(side: int = 32, seed: int = 0, **more) -> ClassifySettings:
    settings = ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=side), **more)
    return settings.model_copy(update={"train": settings.train.model_copy(update={"seed": seed})})


@pytest.fixture(scope="module")
def members(data: Dataset) -> list[Classifier]:
    """Two of one backbone with other heads, and one of another backbone."""
    kinds = (("logistic", 0), ("svm", 0), ("logistic", 1))
    return [
        Classifier(chosen(seed=seed, head=HeadSettings(kind=kind))).fit(data.split("train"))  # type: ignore[arg-type]
        for kind, seed in kinds
    ]


def planes(model: Classifier, image: np.ndarray) -> np.ndarray:
    return next(model.predict([image])).maps[:, 0, 0]


def test_it_is_the_mean_of_its_members(members: list[Classifier]) -> None:
    model = Ensemble.of(members)
    for name in CLASSES:
        image = picture(name, 77)
        np.testing.assert_allclose(
            planes(model, image), np.mean([planes(m, image) for m in members], axis=0), atol=1e-6
        )
        seen = next(model.look([image]))
        np.testing.assert_allclose(seen.probabilities, planes(model, image)[:3], atol=1e-6)
        assert seen.unknown == pytest.approx(planes(model, image)[-1], abs=1e-6)
        assert len(seen.nearest) == 3


def test_its_temperature_divides_the_logarithms_of_the_mean(members: list[Classifier]) -> None:
    mean = torch.tensor([[0.7, 0.2, 0.1]])
    expected = np.array([0.7, 0.2, 0.1]) ** (1 / 1.7)
    np.testing.assert_allclose(tempered(mean, 1.7)[0], expected / expected.sum(), atol=1e-6)
    torch.testing.assert_close(tempered(mean, 1.0), mean)
    model, image = Ensemble.of(members), picture("striped", 78)
    before = planes(model, image)[:3]
    model.temperature_ = 2.5
    np.testing.assert_allclose(planes(model, image)[:3], before**0.4 / (before**0.4).sum(), atol=1e-5)


def test_a_shared_backbone_is_kept_and_run_once(members: list[Classifier]) -> None:
    model = Ensemble.of(members)
    module = model.module()
    assert isinstance(module, DeployableEnsemble)
    assert module.asked == [0, 0, 2]
    own = [sum(p.numel() for p in m.net_.backbone.parameters()) for m in members]
    heads = sum(p.numel() for m in members for p in m.net_.head.parameters())
    assert sum(p.numel() for p in module.parameters()) == own[0] + own[2] + heads
    calls = []
    for member in (members[0], members[2]):
        member.net_.backbone.register_forward_hook(lambda *_: calls.append(1))
    planes(model, picture("good", 3))
    assert len(calls) == 2


def test_saved_it_comes_back_and_a_swapped_member_is_refused(
    members: list[Classifier], data: Dataset, tmp_path: Path
) -> None:
    model = Ensemble.of(members, data.split("val"))
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, Ensemble)
    assert again.identity() == model.identity() != members[0].identity()
    assert again.spec == model.spec
    assert again.temperature_ == model.temperature_
    assert set(again.trained_on_) == set(members[0].trained_on_)
    assert len(members_of(again)) == 3
    image = picture("spotted", 5)
    np.testing.assert_allclose(planes(again, image), planes(model, image), atol=1e-6)
    members[0].save(tmp_path / "member-2")
    with pytest.raises(DataError, match="join them again"):
        load_model(tmp_path)
    members[0].save(tmp_path / "single")
    with pytest.raises(DataError, match="holds no ensemble"):
        Ensemble.load(tmp_path / "single")


def test_members_that_only_fit_a_head_each_do_without_another_fold(data: Dataset) -> None:
    train = data.split("train")
    rows, groups = _rows(train, chosen(), 4), group_rows(train, "auto").numbers
    assert (np.bincount(np.concatenate(rows), minlength=len(train)) == 3).all()
    for mine in rows:
        left_out = np.setdiff1d(np.arange(len(train)), mine)
        assert not np.isin(groups[left_out], groups[mine]).any()
        assert set(np.array(train.column("label"))[mine]) == set(CLASSES)
    learning = chosen().model_copy(update={"tune": chosen().tune.model_copy(update={"how": "last"})})
    assert all(len(mine) == len(train) for mine in _rows(train, learning, 4))


def test_folds_keep_groups_together_and_spread_rare_classes() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 30, 200)
    labels = np.where(groups < 5, "rare", np.where(rng.random(200) < 0.5, "a", "b"))
    folds = _folds(labels, groups, 5, seed=1)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    assert set(folds[labels == "rare"]) == set(range(5))


def test_a_class_of_one_group_is_known_to_every_member(data: Dataset) -> None:
    train = data.split("train")
    labels = np.array(train.column("label"))
    few = train.take(np.concatenate([np.flatnonzero(labels != "good"), np.flatnonzero(labels == "good")[:1]]))
    model = Ensemble(chosen(), members=2).fit(few)
    assert all(member.spec.classes == CLASSES for member in members_of(model))


def test_finished_members_are_taken_when_it_goes_on(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Ensemble(chosen(), members=2).fit(data.split("train"), data.split("val"), tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("a member was trained again")

    monkeypatch.setattr(Classifier, "fit", refuse)
    again = Ensemble(chosen(), members=2).fit(data.split("train"), data.split("val"), tmp_path, resume=True)
    assert again.identity() == whole.identity()
    assert {member.settings.train.seed for member in members_of(again)} == {0, 1}
    with pytest.raises(ConfigError, match="other settings or data"):
        Ensemble(chosen(seed=5), members=2).fit(data.split("train"), None, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="other settings or data"):
        Ensemble(chosen(), members=2).fit(data.split("val"), None, tmp_path, resume=True)


def test_members_that_do_not_fit_are_named(members: list[Classifier], data: Dataset, tmp_path: Path) -> None:
    train = data.split("train")
    with pytest.raises(DataError, match=r"member 1 has side 16, member 0 has 32: training and every engine"):
        Ensemble.of([members[0], Classifier(chosen(side=16)).fit(train)])
    two = ClassifySettings(backbone=chosen().backbone, classes=("good", "spotted"))
    with pytest.raises(DataError, match="member 1 has classes"):
        Ensemble.of([members[0], Classifier(two).fit(train)])
    deep = labelled(tmp_path / "deep", each=4, dtype=np.uint16, splits=("train", "train"))
    with pytest.raises(DataError, match="bit_depth 16"):
        Ensemble.of([members[0], Classifier(chosen()).fit(deep)])
    with pytest.raises(DataError, match="an ensemble itself"):
        Ensemble.of([members[0], Ensemble.of(members)])
    with pytest.raises(ConfigError, match="2 members or more"):
        Ensemble.of(members[:1])
    with pytest.raises(ConfigError, match="2 members or more"):
        Ensemble.of([])


def test_steps_of_all_members_are_told(data: Dataset) -> None:
    settings = chosen()
    train = settings.train.model_copy(update={"steps": 3, "batch": 4, "threads": 1})
    settings = settings.model_copy(
        update={"train": train, "tune": settings.tune.model_copy(update={"how": "last", "blocks": 1})}
    )
    told: list[Progress] = []
    model = Ensemble(settings, members=2).fit(data.split("train"), None, on_step=told.append)
    assert [progress.step for progress in told] == [1, 2, 3, 1, 2, 3]
    first, second = members_of(model)
    assert first.identity() != second.identity()
