"""Labels of several aspects: a combination that was never photographed is known by its values."""

from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_set import picture

from flawsmith.core.errors import DataError
from flawsmith.core.sample import Sample
from flawsmith.core.spec import top_class
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.model.aspects import by_aspect, combinations, fit_factored, healthy_combinations, places_of
from flawsmith.model.classify import BackboneSettings, Classifier, ClassifySettings, LearnSettings, TuneSettings
from flawsmith.model.few_shots import few_shots
from flawsmith.model.heads import HeadSettings, fit_head
from flawsmith.model.models import load_model

SEEN = ("dark+clean", "dark+striped", "light+clean")  # never photographed: light+striped
ALL = ("dark+clean", "dark+striped", "light+clean", "light+striped")


def shown(label: str, seed: int) -> np.ndarray:
    shade, condition = label.split("+")
    image = picture("striped" if condition == "striped" else "plain", seed).astype(float)
    return np.clip(image if shade == "dark" else image + 90, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    splits = ("train", "train", "val", "test")
    samples = [
        Sample(f"{label}/{i:02}", shown(label, i), healthy="clean" in label, label=label, split=splits[i % 4])
        for label in SEEN
        for i in range(16)
    ]
    return write_dataset(tmp_path_factory.mktemp("aspects") / "data", samples, DatasetInfo(name="aspects"))


def chosen(how: str = "frozen", aspects: tuple[str, ...] = ("shade", "condition")) -> ClassifySettings:
    return ClassifySettings(
        backbone=BackboneSettings(name="small-cnn", side=32),
        tune=TuneSettings(how=how),  # type: ignore[arg-type]
        train=LearnSettings(steps=40, batch=12, warmup=2, validate_every=20, learning_rate=3e-3, threads=1),
        aspects=aspects,
    )


@pytest.mark.parametrize("kind", ["logistic", "svm", "mlp"])  # the nearest photographs show another combination
def test_a_combination_nobody_photographed_is_known_by_its_values(kind: str) -> None:
    """On features in which the aspects lie apart, as they do in a good network's."""
    rng = np.random.default_rng(0)

    def features(label: str, count: int) -> np.ndarray:
        shade, condition = ALL.index(label) // 2, ALL.index(label) % 2
        middle = np.repeat([4.0 * shade, 4.0 * condition], 8)
        return (middle + rng.normal(0, 1, (count, 16))).astype(np.float32)

    labels = np.repeat([ALL.index(name) for name in SEEN], 30)
    x = np.concatenate([features(name, 30) for name in SEEN])
    settings = HeadSettings(kind=kind)  # type: ignore[arg-type]
    head = fit_factored(x, labels, ALL, ("shade", "condition"), settings, 0)
    bare = fit_head(x, np.searchsorted(np.unique(labels), labels), 3, settings)
    new = torch.from_numpy(features("light+striped", 50))
    with torch.inference_mode():
        said, plain = head(new).argmax(1).numpy(), bare(new).argmax(1).numpy()
    assert (said == ALL.index("light+striped")).mean() > 0.9
    assert set(plain) <= {0, 1, 2}, "the control: without aspects it has no name"


@pytest.mark.parametrize("how", ["frozen", "full"])
def test_classes_are_all_combinations_and_come_back(how: str, data: Dataset, tmp_path: Path) -> None:
    model = Classifier(chosen(how)).fit(data.split("train"), data.split("val"))
    assert model.spec.classes == ALL
    assert model.spec.healthy == ("dark+clean", "light+clean")
    test = data.split("test")
    said = [top_class(p, model.spec)[0] for p in model.predict(s.image() for s in test)]
    assert np.mean([a == b for a, b in zip(said, test.column("label"), strict=True)]) > 0.6
    model.save(tmp_path)
    again, images = load_model(tmp_path), [sample.image() for sample in test]
    for a, b in zip(model.predict(images), again.predict(images), strict=True):
        np.testing.assert_allclose(a.maps, b.maps, atol=1e-4)


def test_a_class_has_the_product_of_its_values(data: Dataset) -> None:
    model = Classifier(chosen()).fit(data.split("train"))
    with torch.inference_mode():
        features = torch.randn(5, model.net_.backbone.info.dim)
        joint = torch.softmax(model.net_.head(features), 1).numpy()
        shade, condition = (torch.softmax(head(features), 1).numpy() for head in model.net_.head.heads)  # type: ignore[union-attr]
    for k, name in enumerate(ALL):
        s, c = (("dark", "light").index(name.split("+")[0]), ("clean", "striped").index(name.split("+")[1]))
        np.testing.assert_allclose(joint[:, k], shade[:, s] * condition[:, c], rtol=1e-4)
    for found, wanted in zip(by_aspect(ALL, ("shade", "condition"), joint), (shade, condition), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_few_shots_judge_the_combinations_that_there_are(data: Dataset) -> None:
    from flawsmith.dataset.mix import Share

    found = few_shots(data, chosen(), (Share(None, 5),), 3)
    assert found.classes == SEEN
    assert found.accuracy.mean() > 0.6


def test_what_passes_without_having_been_photographed() -> None:
    classes = combinations(("a+ok", "b+bad", "b+ok", "c+bad"), ("kind", "state"))
    assert classes == ("a+bad", "a+ok", "b+bad", "b+ok", "c+bad", "c+ok")
    good = ("a+ok", "b+ok")
    # c has never been seen healthy: that it passes is not known
    assert healthy_combinations(classes, good, ("a+ok", "b+bad", "b+ok", "c+bad")) == ("a+ok", "b+ok")
    assert healthy_combinations(("a+x", "a+y", "b+x", "b+y"), ("a+x", "b+y"), ("a+x", "b+y")) == (
        "a+x",
        "a+y",
        "b+x",
        "b+y",
    )
    assert places_of(classes, ("kind", "state")).tolist() == [[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]]


def test_labels_that_do_not_say_all_aspects_are_refused(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"'dark.clean' has 2 parts, aspects .* want 3"):
        Classifier(chosen(aspects=("shade", "condition", "place"))).fit(data.split("train"))
    dark = data.where(np.char.startswith(np.array(data.column("label")), "dark"))
    with pytest.raises(DataError, match="all images have 'dark' as their shade"):
        Classifier(chosen()).fit(dark)
