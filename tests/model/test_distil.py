"""Distillation: the loss against SciPy, what the teacher is asked, and a student that follows its teacher."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from labelled_set import CLASSES, labelled
from scipy.special import log_softmax, softmax

from flawsmith.core.config import load_settings
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.spec import top_class
from flawsmith.dataset.manifest import Dataset
from flawsmith.model import distil as distilling
from flawsmith.model.classify import BackboneSettings, Classifier, ClassifySettings
from flawsmith.model.distil import (
    DistilSettings,
    Student,
    batches,
    check_classifier,
    distil,
    distil_loss,
    own_settings,
    taught,
)
from flawsmith.model.ensemble import Ensemble
from flawsmith.model.models import load_model
from flawsmith.model.small_cnn import sized_to


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return labelled(tmp_path_factory.mktemp("squares") / "data", each=16)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def small(side: int = 32) -> ClassifySettings:
    return ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=side))


@pytest.fixture(scope="module")
def teacher(data: Dataset) -> Ensemble:
    return Ensemble(small(), members=2).fit(data.split("train"), data.split("val"))


def quick(how: str = "scratch", steps: int = 12, **more) -> DistilSettings:
    train = {"steps": steps, "batch": 6, "warmup": 2, "validate_every": 6, "threads": 1}
    student = {"backbone": {"name": "small-cnn", "side": 32}, "tune": {"how": how}, "train": train}
    return DistilSettings.model_validate({"views": 2, "student": student, **more})


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.3), (4.0, 0.1), (2.5, 0.0), (3.0, 1.0)])
def test_the_loss_is_hintons(temperature: float, share: float) -> None:
    rng = np.random.default_rng(0)
    logits, other = rng.normal(0, 3, (2, 7, 4))
    truth, soft = np.eye(4)[rng.integers(0, 4, 7)], softmax(other / temperature, axis=1)
    hard = -(truth * log_softmax(logits, axis=1)).sum(1).mean()
    apart = (soft * (np.log(soft) - log_softmax(logits / temperature, axis=1))).sum(1).mean()
    found = distil_loss(temperature, share)(
        torch.from_numpy(logits), torch.from_numpy(np.concatenate([truth, soft], 1))
    )
    assert float(found) == pytest.approx(share * hard + (1 - share) * temperature**2 * apart, rel=1e-9)
    same = np.concatenate([truth, softmax(logits / temperature, axis=1)], 1)
    assert float(distil_loss(temperature, 0.0)(torch.from_numpy(logits), torch.from_numpy(same))) == pytest.approx(0)


def test_the_teacher_says_of_an_image_what_it_predicts(teacher: Ensemble, data: Dataset) -> None:
    train = data.split("train")
    views, _, _ = Student(teacher, quick()).prepare(train)
    plain = taught(teacher, views, 2, 1.0)
    assert plain.shape == (3, len(train), 3)
    mean = np.mean(
        [[next(m.predict([s.image()])).maps[:3, 0, 0] for s in train.take([0, 9, 20])] for m in teacher.members_],
        axis=0,
    )
    np.testing.assert_allclose(plain[0, [0, 9, 20]], mean, atol=1e-5)
    assert np.abs(plain[1] - plain[0]).max() > 0.01  # a disturbed view is another image
    single = teacher.members_[0]
    softer = taught(single, views, 1, 4.0)
    sharp = taught(single, views, 1, 1.0).astype(float) ** 0.25
    np.testing.assert_allclose(softer, sharp / sharp.sum(2, keepdims=True), atol=1e-4)


def test_teacher_and_student_see_the_same_view_at_their_own_sides(data: Dataset) -> None:
    views, _, _ = Classifier(small(side=32)).prepare(data.split("train"))
    sixteen = ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=16))
    other, _, _ = Classifier(sixteen).prepare(data.split("train"))
    row = data.split("train").column("label").index("spotted")
    for number in (1, 2, 3):
        wide, narrow = (distilling._view(v, number, row)[:, :, 0] for v in (views, other))
        shrunk = wide.reshape(16, 2, 16, 2).mean((1, 3))
        assert np.corrcoef(shrunk.ravel(), narrow.ravel())[0, 1] > 0.9
    unlike = distilling._view(other, 4, row)[:, :, 0]
    assert np.corrcoef(unlike.ravel(), shrunk.ravel())[0, 1] < 0.9


def test_targets_are_truth_and_teacher_and_may_be_mixed(teacher: Ensemble, data: Dataset) -> None:
    settings = quick()
    views, _, labels = Student(teacher, settings).prepare(data.split("train"))
    soft = taught(teacher, views, 2, 4.0)
    images, targets = batches(views, labels, soft, settings.student.train, 0.0, 0.0)(3)
    assert images.shape == (6, 1, 32, 32)
    for target in targets:
        k = int(target[:3].argmax())
        assert any(np.array_equal(target[3:], said) for said in soft[:, labels == k].reshape(-1, 3))
    _, blended = batches(views, labels, soft, settings.student.train, 0.4, 0.4)(3)
    np.testing.assert_allclose(blended.sum(1), 2, atol=1e-5)


def test_a_student_follows_its_teacher_and_not_the_labels_where_it_is_told_so(data: Dataset) -> None:
    train, val = data.split("train"), data.split("val")
    other = {"good": "striped", "striped": "good", "spotted": "spotted"}
    at = train.table.schema.get_field_index("label")
    names = pa.array([other[label] for label in train.column("label")])
    healthy = pa.array([other[label] == "good" for label in train.column("label")])
    table = train.table.set_column(at, "label", names)
    table = table.set_column(table.schema.get_field_index("healthy"), "healthy", healthy)
    misled = Classifier(small()).fit(Dataset(train.root, train.info, table))
    test = data.split("test").where(np.array(data.split("test").column("label")) != "spotted")

    def right(share: float) -> float:
        settings = quick("frozen", steps=60, hard_share=share)
        learn = settings.student.train.model_copy(update={"learning_rate": 0.05, "validate_every": 60})
        student = settings.student.model_copy(update={"train": learn})
        found = distil(misled, train, None, settings.model_copy(update={"student": student}))
        said = [top_class(next(found.predict([s.image()])), found.spec)[0] for s in test]
        return float(np.mean([a == b for a, b in zip(said, test.column("label"), strict=True)]))

    assert right(0.0) <= 0.25
    assert right(1.0) >= 0.75
    assert len(val)


@pytest.mark.parametrize("how", ["scratch", "last", "frozen"])
def test_a_student_is_a_classifier_as_any_other(how: str, teacher: Ensemble, data: Dataset, tmp_path: Path) -> None:
    student = distil(teacher, data.split("train"), data.split("val"), quick(how), tmp_path)
    student.save(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is Classifier
    assert again.identity() == student.identity()
    assert again.spec.kinds == teacher.spec.kinds
    assert student.state_.step == 12
    image = data.split("test")[0].image()
    np.testing.assert_allclose(next(again.predict([image])).maps, next(student.predict([image])).maps, atol=1e-6)


def test_a_stopped_student_goes_on_to_the_same_weights_without_asking_again(
    teacher: Ensemble, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = data.split("train"), data.split("val")
    whole = distil(teacher, train, val, quick(), tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(progress) -> None:
        if progress.step == 8:
            raise Killed

    with pytest.raises(Killed):
        distil(teacher, train, val, quick(), tmp_path / "cut", on_step=kill)

    def refuse(*_: object) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(distilling, "taught", refuse)
    resumed = distil(teacher, train, val, quick(), tmp_path / "cut", resume=True)
    assert resumed.identity() == whole.identity()
    with pytest.raises(AssertionError, match="asked again"):
        distil(teacher, train, val, quick(temperature=2.0), tmp_path / "cut", resume=True)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"taught\.distil\.hard_share"):
        distil(teacher, train, val, quick(hard_share=0.9), tmp_path / "cut", resume=True)


def test_what_the_teacher_cannot_teach_is_named(teacher: Ensemble, data: Dataset, tmp_path: Path) -> None:
    two = ClassifySettings(backbone=small().backbone, classes=("good", "spotted"))
    narrow = Classifier(two).fit(data.split("train"))
    with pytest.raises(DataError, match=r"does not know: striped; it knows good, spotted"):
        distil(narrow, data.split("train"), None, quick())
    deep = labelled(tmp_path / "deep", each=4, dtype=np.uint16)
    with pytest.raises(DataError, match="16 bits a channel, the teacher was trained on 8"):
        distil(teacher, deep.split("train"), None, quick())
    with pytest.raises(ConfigError, match="holds no classifier"):
        check_classifier(object(), tmp_path)
    knn = quick("frozen").student.head.model_copy(update={"kind": "knn"})
    student = quick("frozen").student.model_copy(update={"head": knn})
    with pytest.raises(ConfigError, match="knn has no weights"):
        distil(teacher, data.split("train"), None, quick().model_copy(update={"student": student}))


def test_a_student_may_know_fewer_classes_than_its_teacher(teacher: Ensemble, data: Dataset) -> None:
    settings = quick()
    fewer = settings.student.model_copy(update={"classes": ("good", "striped")})
    student = Student(teacher, settings.model_copy(update={"student": fewer}))
    views, _, _ = student.prepare(data.split("train"))
    soft, whole = taught(teacher, views, 1, 1.0), taught(teacher, views, 1, 4.0)
    np.testing.assert_allclose(soft.sum(2), 1, atol=1e-5)
    assert (np.abs(whole - 0.5) <= np.abs(soft - 0.5) + 1e-3).all()


def test_one_changed_setting_leaves_a_students_other_defaults_alone() -> None:
    default = DistilSettings()
    assert default.student.backbone.name == "small-cnn"
    assert default.student.tune.how == "scratch"
    changed = load_settings(DistilSettings, None, ["student.train.steps=7", "student.backbone.side=64"])
    assert changed.student.train == default.student.train.model_copy(update={"steps": 7})
    assert changed.student.backbone.name == "small-cnn"
    assert changed.student.tune == default.student.tune
    other = load_settings(DistilSettings, None, ["student.backbone.name=efficientnet-lite0"]).student
    assert other.tune.how == "full"
    assert other.train == ClassifySettings().train
    assert DistilSettings.model_validate(changed.model_dump(mode="json")) == changed
    with pytest.raises(ConfigError, match="Did you mean 'steps'"):
        load_settings(DistilSettings, None, ["student.train.stepps=7"])


def test_itself_is_the_first_member(teacher: Ensemble) -> None:
    assert own_settings(teacher) == teacher.members_[0].settings
    assert own_settings(teacher.members_[1]) == teacher.members_[1].settings


def test_a_small_cnn_from_scratch_is_sized_to_its_data(teacher: Ensemble, data: Dataset, tmp_path: Path) -> None:
    train = data.split("train")
    student = distil(teacher, train, None, quick())
    assert student.settings.backbone.small == sized_to(len(train), 32)
    assert student.net_.backbone.blocks[0][0].out_channels == 8  # type: ignore[index]
    assert teacher.members_[0].settings.backbone.small is None  # drawn at random and left so
    said = {"student": {"backbone": {"side": 32, "small": {"filters": 4, "depth": 2}}, "train": {"steps": 2}}}
    own = distil(teacher, train, None, DistilSettings.model_validate(said))
    assert own.net_.backbone.info.dim == 8
    own.save(tmp_path)
    again = load_model(tmp_path)
    assert again.identity() == own.identity()
    wrong = DistilSettings.model_validate({"student": {"backbone": {"side": 32, "small": {"channels": 1}}}})
    with pytest.raises(ConfigError, match="shows its network three"):
        distil(teacher, train, None, wrong)
    assert teacher.spec.classes == CLASSES
