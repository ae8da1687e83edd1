"""The classifier as a whole, on squares that are plain, spotted or striped, with a small network of random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_set import CLASSES, labelled, picture, unlike

from flawsmith.core.config import load_settings
from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import Sample
from flawsmith.core.spec import fitted, predict_image, top_class
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.mix import Share
from flawsmith.dataset.write import write_dataset
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.line.engine import ONNX_FILE, open_engine
from flawsmith.model import features
from flawsmith.model.classify import (
    BackboneSettings,
    Classifier,
    ClassifySettings,
    LearnSettings,
    TuneSettings,
)
from flawsmith.model.few_shots import few_shots
from flawsmith.model.models import load_model
from flawsmith.model.run import torch_run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return labelled(tmp_path_factory.mktemp("squares") / "data", each=16)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def chosen(how: str = "frozen", **more) -> ClassifySettings:
    train = LearnSettings(steps=12, batch=6, warmup=2, validate_every=6, threads=1, learning_rate=3e-3)
    tune = TuneSettings(how=how, views=2, mixup=0.2, cutmix=0.2)  # type: ignore[arg-type]
    return ClassifySettings(backbone=BackboneSettings(name="small-cnn", side=32), tune=tune, train=train, **more)


def accuracy(model: Classifier, part: Dataset) -> float:
    said = [top_class(next(model.predict([s.image()])), model.spec)[0] for s in part]
    return float(np.mean([a == b for a, b in zip(said, part.column("label"), strict=True)]))


@pytest.mark.parametrize("how", ["frozen", "augmented", "last", "full", "scratch"])
def test_every_way_learns_comes_back_and_gives_probabilities(how: str, data: Dataset, tmp_path: Path) -> None:
    model = Classifier(chosen(how)).fit(data.split("train"), data.split("val"))
    assert model.spec.kinds == (*CLASSES, "faulty", "unknown")
    assert model.spec.healthy == ("good",)
    if how != "scratch":  # twelve steps from nothing are not enough
        assert accuracy(model, data.split("test")) >= 0.75
    model.save(tmp_path)
    again = load_model(tmp_path)
    for sample in data.split("test").take([0, 5, 9]):
        (a,), (b,) = (list(m.predict([sample.image()])) for m in (model, again))
        np.testing.assert_allclose(a.maps, b.maps, atol=1e-6)
        of = dict(zip(a.kinds, a.maps[:, 0, 0].tolist(), strict=True))
        assert sum(of[name] for name in CLASSES) == pytest.approx(1, abs=1e-5)
        assert of["faulty"] == pytest.approx(1 - of["good"], abs=1e-5)
        assert a.score == pytest.approx(max(of["faulty"], of["unknown"]), abs=1e-6)
    assert again.identity() == model.identity()


def test_one_changed_setting_leaves_the_other_defaults_of_its_group(tmp_path: Path) -> None:
    told = load_settings(ClassifySettings, None, ["train.steps=7", "augment.rotate_deg=3"])
    plain = ClassifySettings()
    assert (told.train.steps, told.augment.rotate_deg) == (7, 3)
    assert told.train.model_copy(update={"steps": plain.train.steps}) == plain.train
    assert told.augment.model_copy(update={"rotate_deg": plain.augment.rotate_deg}) == plain.augment


def test_labels_without_meaning_are_not_learnt(data: Dataset) -> None:
    model = Classifier(chosen()).fit(data.split("train"), data.split("val"))
    mixed_up = list(data.split("test").column("label"))
    np.random.default_rng(0).shuffle(mixed_up)
    said = [top_class(next(model.predict([s.image()])), model.spec)[0] for s in data.split("test")]
    assert np.mean([a == b for a, b in zip(said, mixed_up, strict=True)]) < 0.7


def test_strange_images_are_unknown_and_known_ones_are_not(data: Dataset) -> None:
    model = Classifier(chosen()).fit(data.split("train"), data.split("val"))

    def unknown(images: list[np.ndarray]) -> list[float]:
        return [float(p.maps[p.kinds.index("unknown"), 0, 0]) for p in model.predict(images)]

    assert np.mean(np.array(unknown([s.image() for s in data.split("test")])) < 0.5) >= 0.9
    assert np.mean(np.array(unknown(unlike(side=48))) >= 0.5) >= 0.75


def test_what_it_looked_at_is_where_the_spot_is(data: Dataset) -> None:
    model = Classifier(chosen()).fit(data.split("train"), data.split("val"))
    seen = next(model.look([picture("spotted", 99)]))
    assert seen.heat.max() == pytest.approx(1)
    assert seen.heat.min() >= 0
    assert seen.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert len(seen.nearest) == 3
    own = data.split("train")[0]
    assert next(model.look([own.image()])).nearest[0] == own.id


def test_the_exported_module_is_the_model(data: Dataset) -> None:
    model = Classifier(chosen()).fit(data.split("train"), data.split("val"))
    run = torch_run(model.module())
    for sample in data.split("test").take([1, 4]):
        one = predict_image(run, sample.image(), model.spec)
        np.testing.assert_allclose(one.maps, next(model.predict([sample.image()])).maps, atol=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "knn", "svm", "mlp"])
def test_every_head_is_exported_as_it_is(kind: str, data: Dataset) -> None:
    settings = chosen()
    head = settings.head.model_copy(update={"kind": kind})
    model = Classifier(settings.model_copy(update={"head": head})).fit(data.split("train"), data.split("val"))
    engine = open_engine("onnxruntime", {ONNX_FILE: export_onnx(model.module(), model.spec)}, model.spec, threads=1)
    for sample in data.split("test").take([0, 6, 11]):
        found = predict_image(engine, sample.image(), model.spec)
        np.testing.assert_allclose(found.maps, next(model.predict([sample.image()])).maps, atol=2e-4)


def test_sixteen_bits_are_learnt_too(tmp_path: Path) -> None:
    deep = labelled(tmp_path / "deep", each=8, dtype=np.uint16)
    model = Classifier(chosen()).fit(deep.split("train"), deep.split("val"))
    assert model.spec.bit_depth == 16
    with pytest.raises(DataError, match="8 bits"):
        next(model.predict([picture("good", 0)]))


def test_features_are_kept_and_damage_is_mended(data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = Classifier(chosen()).fit(data.split("train"))
    (kept,) = (tmp_path / "flawsmith" / "features").iterdir()

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked again")

    monkeypatch.setattr(features.Views, "all", refuse)
    again = Classifier(chosen()).fit(data.split("train"))
    assert again.identity() == first.identity()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept.write_bytes(b"damaged")
    assert Classifier(chosen()).fit(data.split("train")).identity() == first.identity()


def test_fine_tuning_resumes_to_the_same_weights(data: Dataset, tmp_path: Path) -> None:
    whole = Classifier(chosen("last")).fit(data.split("train"), data.split("val"), tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(progress) -> None:
        if progress.step == 8:
            raise Killed

    with pytest.raises(Killed):
        Classifier(chosen("last")).fit(data.split("train"), data.split("val"), tmp_path / "cut", on_step=kill)
    resumed = Classifier(chosen("last")).fit(data.split("train"), data.split("val"), tmp_path / "cut", resume=True)
    assert resumed.identity() == whole.identity()


def test_earlier_blocks_learn_more_slowly_and_frozen_ones_not_at_all(data: Dataset) -> None:
    settings = chosen("last")
    settings = settings.model_copy(update={"tune": settings.tune.model_copy(update={"blocks": 1})})
    model = Classifier(settings).fit(data.split("train"))
    fresh = Classifier(settings)
    _, net, _ = fresh.prepare(data.split("train"))

    def moved(index: int) -> bool:
        pairs = zip(
            model.net_.backbone.blocks[index].parameters(), net.backbone.blocks[index].parameters(), strict=True
        )
        return any(not torch.equal(a.detach().cpu(), b.detach().cpu()) for a, b in pairs)

    assert not moved(0)
    assert moved(-1)


def test_a_few_shots_are_drawn_judged_and_told(data: Dataset) -> None:
    found = few_shots(data, chosen(), (Share(None, 3),), 5)
    assert found.accuracy.shape == (5,)
    assert set(found.judged) == {48 - 9}
    assert found.as_json()["balanced_accuracy"]["mean"] > 0.6
    assert few_shots(data, chosen(), (Share(None, 3),), 5).as_json() == found.as_json()
    with pytest.raises(ConfigError, match="frozen or augmented"):
        few_shots(data, chosen("full"), (Share(None, 3),), 5)
    with pytest.raises(DataError, match="fewer shots"):
        few_shots(data, chosen(), (Share(None, 16),), 2)


def test_wrong_data_is_named(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'spotted'"):
        Classifier(chosen(classes=("good", "spoted"))).fit(data.split("train"))
    with pytest.raises(DataError, match="a classifier needs two"):
        Classifier(chosen(classes=("good",))).fit(data.split("train"))
    samples = [Sample(str(i), picture("good", i), healthy=bool(i % 2), label="odd", split="train") for i in range(4)]
    samples += [Sample(f"b{i}", picture("striped", i), False, "striped", split="train") for i in range(4)]
    both = write_dataset(tmp_path / "both", samples, DatasetInfo(name="both"))
    with pytest.raises(DataError, match="2 healthy and 2 faulty"):
        Classifier(chosen()).fit(both)
    named = [Sample(str(i), picture("good", i), False, ("unknown", "x")[i % 2], split="train") for i in range(4)]
    with pytest.raises(DataError, match="kept for verdicts"):
        Classifier(chosen()).fit(write_dataset(tmp_path / "named", named, DatasetInfo(name="named")))
    settings = chosen("last")
    knn = settings.model_copy(update={"head": settings.head.model_copy(update={"kind": "knn"})})
    with pytest.raises(ConfigError, match="knn has no weights"):
        Classifier(knn).fit(data.split("train"))


def test_parts_without_good_or_bad_have_no_faults(tmp_path: Path) -> None:
    samples = [
        Sample(f"{name}{i}", picture(name, i), False, name, split=("train", "val")[i % 2])
        for name in ("striped", "spotted")
        for i in range(8)
    ]
    data = write_dataset(tmp_path / "sorts", samples, DatasetInfo(name="sorts"))
    model = Classifier(chosen()).fit(data.split("train"), data.split("val"))
    assert model.spec.kinds == ("spotted", "striped", "unknown")
    assert next(model.predict([picture("striped", 50)])).score < 0.5


def test_an_image_is_shrunk_by_areas_and_cut_to_the_region(data: Dataset) -> None:
    model = Classifier(chosen())
    model.prepare(data)
    checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)  # shrunk by anything else it turns into stripes
    small = fitted(checks.astype(np.uint8), model.spec)
    assert small.shape == (32, 32, 1)
    assert np.ptp(small.astype(int)) <= 1
    roi = np.zeros((64, 64), bool)
    roi[8:40, 16:48] = True
    roi[8, 16] = False
    cut = fitted(np.full((64, 64), 200, np.uint8), model.spec, roi)
    assert cut[0, 0, 0] == 0
    assert (cut.ravel()[1:] == 200).all()
