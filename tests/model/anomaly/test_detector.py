"""One contract for every method: fit, predict, keep, export; and what it says of data that cannot serve."""

import numpy as np
import pytest
from healthy_set import BOX, plate, plates, quick
from sklearn.metrics import roc_auc_score

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec, predict_image
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.dataset.write import write_dataset
from flawsmith.deploy.onnx_graph import export_onnx
from flawsmith.line.engine import ONNX_FILE, open_engine
from flawsmith.model.anomaly import METHODS, AnomalyDetector
from flawsmith.model.models import load_model
from flawsmith.model.segment import fingerprints


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return plates(tmp_path_factory.mktemp("plates") / "data", healthy=24, scratched=4)


@pytest.fixture(scope="module", params=list(METHODS))
def model(request: pytest.FixtureRequest, data: Dataset) -> AnomalyDetector:
    return AnomalyDetector(quick(request.param)).fit(data.split("train"), data.split("val"))


def test_it_finds_the_scratch_and_where_it_is(model):
    images = [plate(100 + i, i % 2 == 1) for i in range(12)]
    found = list(model.predict(images))
    assert roc_auc_score([i % 2 for i in range(12)], [p.score for p in found]) == 1
    x0, y0, x1, y1 = BOX
    for prediction in found[1::2]:
        y, x = np.unravel_index(prediction.map.argmax(), prediction.map.shape)
        assert y0 - 8 <= y < y1 + 8
        assert x0 - 8 <= x < x1 + 8


def test_maps_are_of_the_images_size_and_scores_below_one(model):
    (found,) = model.predict([plate(3)])
    assert found.maps.shape == (1, 64, 96)
    assert found.maps.dtype == np.float32
    assert 0 <= found.maps.min() <= found.maps.max() < 1
    assert found.kinds == ("anomaly",)


def test_healthy_images_that_it_did_not_see_are_about_the_unit(model):
    scores = [p.score for p in model.predict(plate(200 + i) for i in range(20))]
    assert np.mean(np.array(scores) < 0.55) > 0.8


def test_the_same_images_give_the_same_model_and_others_do_not(model, data):
    settings = model.settings
    again = AnomalyDetector(settings).fit(data.split("train"), data.split("val"))
    assert again.identity() == model.identity()
    fewer = AnomalyDetector(settings).fit(data.split("train").take(range(8)), data.split("val"))
    assert fewer.identity() != model.identity()


def test_what_is_kept_is_what_was_learnt(model, tmp_path):
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert isinstance(again, AnomalyDetector)
    assert again.identity() == model.identity()
    assert again.spec == model.spec
    image = plate(7, True)
    (a,), (b,) = model.predict([image]), again.predict([image])
    np.testing.assert_allclose(a.maps, b.maps, atol=1e-6)  # tensors that lie elsewhere in memory are added up otherwise
    np.testing.assert_array_equal(again.trained_on_, model.trained_on_)


def test_onnx_gives_the_same_scores(model):
    engine = open_engine("onnxruntime", {ONNX_FILE: export_onnx(model.module(), model.spec)}, model.spec, 1)
    image = plate(8, True)
    (wanted,) = model.predict([image])
    np.testing.assert_allclose(predict_image(engine, image, model.spec).maps, wanted.maps, atol=2e-4)


def test_only_healthy_images_are_learnt_from(model, data):
    train = data.split("train")
    healthy = train.where(np.array(train.column("healthy")))
    np.testing.assert_array_equal(model.trained_on_, fingerprints(healthy))
    assert train.column("healthy").count(True) < len(train)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", [{"dtype": np.uint16}, {"colour": True}])
def test_sixteen_bits_and_colour(method, kind, tmp_path):
    found = AnomalyDetector(quick(method)).fit(plates(tmp_path / "data", 10, 0, ("train",), **kind))
    assert found.spec.bit_depth == (16 if "dtype" in kind else 8)
    assert found.spec.channels == (3 if "colour" in kind else 1)
    good, bad = found.predict([plate(90, False, **kind), plate(90, True, **kind)])
    assert bad.score > good.score
    if "dtype" in kind:
        with pytest.raises(DataError, match="8 bits a channel, the model was trained on 16"):
            next(found.predict([plate(90)]))


def test_the_region_of_interest_is_all_that_counts(model):
    roi = np.ones((64, 96), bool)
    roi[:, 30:70] = False
    (whole,), (part,) = model.predict([plate(9, True)]), model.predict([plate(9, True)], roi)
    assert part.map[:, 30:70].max() == 0
    assert part.score < whole.score
    assert model.identity(roi) != model.identity()


def test_another_size_is_taken_by_the_bank_and_refused_by_positions(model):
    other = np.pad(plate(5), ((0, 20), (0, 30)), mode="reflect")
    if model.spec.shape:
        with pytest.raises(DataError, match=r"each position of images of 96x64.*--method memory"):
            next(model.predict([other]))
    else:
        assert next(model.predict([other])).maps.shape == (1, 84, 126)
    with pytest.raises(DataError, match="another thing or scale"):
        next(model.predict([np.zeros((20, 20), np.uint8)]))


def test_tiles_show_no_seam(data):
    model = AnomalyDetector(quick()).fit(data.split("train"))
    image = np.concatenate([plate(i) for i in range(3)], axis=1)
    spec = model.spec.model_copy(update={"sides": None})
    whole = predict_image(_run(model), image, spec)
    assert spec.margin < 64
    pieces = predict_image(_run(model), image, spec.model_copy(update={"max_side": 192}))
    np.testing.assert_allclose(pieces.maps, whole.maps, atol=1e-5)
    blind = predict_image(_run(model), image, spec.model_copy(update={"max_side": 192, "margin": 0}))
    assert np.abs(blind.maps - whole.maps).max() > 1e-3  # control: without a margin the seam shows


def _run(model):
    from flawsmith.model.run import torch_run

    return torch_run(model.module())


def test_large_images_are_shrunk_alike_and_never_squashed(data):
    model = AnomalyDetector(quick(size=48)).fit(data.split("train"))
    assert model.spec.scale == 0.5
    (found,) = model.predict([plate(4, True)])
    assert found.maps.shape == (1, 64, 96)
    assert AnomalyDetector(quick(size=None)).fit(data.split("train")).spec.scale == 1
    assert AnomalyDetector(quick(size=4000)).fit(data.split("train")).spec.scale == 1


def test_little_memory_draws_fewer_spots_and_still_learns(data):
    small = AnomalyDetector(quick(max_ram_mb=16, memory={"rows": 20})).fit(data.split("train"))
    good, bad = small.predict([plate(77), plate(77, True)])
    assert bad.score > good.score
    assert small.rows == 20


def test_images_come_in_and_go_out_again_without_learning_anew(data):
    train = data.split("train")
    healthy = train.where(np.array(train.column("healthy")))
    model = AnomalyDetector(quick()).fit(healthy.take(range(6)))
    before, unit = model.identity(), model.unit_
    later = healthy.take(range(6, len(healthy)))
    grown = model.add(later)
    assert model.unit_ == unit
    assert len(model.images_) == len(healthy)
    assert set(model.trained_on_) == set(fingerprints(healthy))
    assert model.remove(later.column("id")) == grown
    assert model.identity() == before
    with pytest.raises(DataError, match="is in the bank already"):
        model.add(healthy.take([0]))
    with pytest.raises(ConfigError, match="did not learn from 'nobody'"):
        model.remove(["nobody"])


def test_a_new_sort_of_healthy_part_is_healthy_once_it_was_added(data, tmp_path):
    spots = [plate(300 + i) for i in range(6)]
    for image in spots:
        image[10:20, 70:86] = 250
    model = AnomalyDetector(quick()).fit(data.split("train"))
    (before,) = model.predict([spots[5]])
    samples = [Sample(f"new/{i}", image, healthy=True, split="train") for i, image in enumerate(spots[:5])]
    assert model.add(write_dataset(tmp_path / "new", samples, DatasetInfo(name="new"))) > 0
    (after,) = model.predict([spots[5]])
    assert after.score < before.score - 0.1


def test_positions_cannot_be_added(data):
    model = AnomalyDetector(quick("gaussian")).fit(data.split("train"))
    with pytest.raises(ConfigError, match="gaussian has none: train anew"):
        model.add(data.split("val"))


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.6), ("int8", 0.4)])
def test_a_bank_of_fewer_bits_is_smaller_and_exact_after_loading(precision, share, data, tmp_path):
    sizes = {}
    for name in ("fp32", precision):
        model = AnomalyDetector(quick(memory={"rows": 4000, "precision": name})).fit(data.split("train"))
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
        sizes[name] = (tmp_path / name / "model.safetensors").stat().st_size
        assert load_model(tmp_path / name).identity() == model.identity()
    owners = 8 * 4000
    assert sizes[precision] - owners < share * (sizes["fp32"] - owners) + 60_000


@pytest.mark.parametrize("spoil", ["truncated", "changed", "missing"])
def test_a_spoilt_file_is_named(spoil, model, tmp_path):
    model.save(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    if spoil == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif spoil == "changed":
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    else:
        path.unlink()
    with pytest.raises(DataError, match=r"model\.safetensors is (missing|not what was written)"):
        load_model(tmp_path)


@pytest.mark.parametrize("method", list(METHODS))
def test_no_or_one_healthy_image_is_too_little(method, tmp_path):
    with pytest.raises(DataError, match=r"has 0 healthy images of 3 in this split.*2 at least"):
        AnomalyDetector(quick(method)).fit(plates(tmp_path / "none", 0, 3, ("train",)))
    with pytest.raises(DataError, match=r"has 1 healthy image of 1 in this split.*add healthy photographs"):
        AnomalyDetector(quick(method)).fit(plates(tmp_path / "one", 1, 0, ("train",)))


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("flat", [False, True])
def test_identical_healthy_images_give_a_model_that_works(method, flat, tmp_path):
    image = np.full((64, 96), 90, np.uint8) if flat else plate(0)
    samples = [Sample(f"good/{i}", image, healthy=True, split="train") for i in range(5)]
    model = AnomalyDetector(quick(method)).fit(write_dataset(tmp_path / "data", samples, DatasetInfo(name="same")))
    good, bad = model.predict([image, plate(1, True)])
    assert good.score < 0.6 < bad.score


def test_images_of_several_sizes_need_the_bank(tmp_path):
    samples = [
        Sample(f"good/{i}", plate(i, shape=(64, 96 + 32 * (i % 2))), healthy=True, split="train") for i in range(6)
    ]
    data = write_dataset(tmp_path / "data", samples, DatasetInfo(name="two sizes"))
    with pytest.raises(DataError, match=r"64x64 to 128x64 px|96x64 to 128x64 px.*--method memory"):
        AnomalyDetector(quick("gaussian")).fit(data)
    assert AnomalyDetector(quick()).fit(data).spec.sides == (64, 128)


def test_the_spec_of_other_models_is_as_it_was():
    plain = ModelSpec(kinds=("scratch",))
    assert {"scale", "shape"}.isdisjoint(plain.model_dump())
    assert ModelSpec(task="anomaly", kinds=("anomaly",), scale=0.5).model_dump()["scale"] == 0.5
    for wrong in ({"scale": 0.5}, {"shape": (64, 64)}):
        with pytest.raises(ValueError, match="of models of anomalies"):
            ModelSpec.model_validate({"kinds": ("scratch",), **wrong})
