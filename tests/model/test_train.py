"""Training: learns, keeps the best, stops early, and goes on after kill -9 as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from flawsmith.core import ConfigError, DataError, Defect, Sample
from flawsmith.core.config import load_settings
from flawsmith.core.files import sha256_of
from flawsmith.dataset import Dataset, DatasetInfo, write_dataset
from flawsmith.dataset.augment import AugmentSettings
from flawsmith.dataset.few import with_labelled
from flawsmith.model.checkpoint import load_tensors, save_tensors
from flawsmith.model.crops import Crops, CropSettings
from flawsmith.model.segment import SEEN, WEIGHTS, Segmenter, SegmentSettings, auto_downscale, measure
from flawsmith.model.train import rate_at, use_bf16
from flawsmith.synth.surface import surfaces

TINY = ("net.filters=4", "net.depth=3", "train.crop=64", "train.batch=2", "train.warmup=5", "train.precision=fp32")
SCRIPT = """
import sys, time
from pathlib import Path
from flawsmith.core.config import load_settings
from flawsmith.dataset import Dataset
from flawsmith.model.segment import Segmenter, SegmentSettings
data, run, resume, pause = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "resume", float(sys.argv[4])
model = Segmenter(load_settings(SegmentSettings, None, sys.argv[5:]))
model.fit(Dataset.open(data)[:16], Dataset.open(data)[16:], run, resume, lambda now: time.sleep(pause))
model.save(run)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("surfaces") / "data"
    return write_dataset(out, surfaces(24, side=96), DatasetInfo(name="surfaces"))


def tiny(*more: str) -> SegmentSettings:
    return load_settings(SegmentSettings, None, [*TINY, *more])


def test_it_learns_and_keeps_the_best_weights(data: Dataset, tmp_path: Path) -> None:
    seen = []
    model = Segmenter(tiny("train.steps=80", "train.validate_every=20", "train.learning_rate=0.005"))
    model.fit(data[:16], data[16:], tmp_path, on_step=seen.append)
    losses = [p.loss for p in seen]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    state = model.state_
    assert state.best == max(h["score"] for h in state.history)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_saved_model_predicts_the_same(data: Dataset, tmp_path: Path) -> None:
    model = Segmenter(tiny("train.steps=4")).fit(data[:16])
    model.save(tmp_path)
    again = Segmenter.load(tmp_path)
    image = data[0].image()
    assert again.spec == model.spec
    assert again.settings == model.settings
    np.testing.assert_array_equal(next(again.predict([image])).maps, next(model.predict([image])).maps)


def test_patience_stops_a_run_that_no_longer_improves(data: Dataset) -> None:
    settings = tiny("train.steps=400", "train.validate_every=5", "train.patience=2", "train.learning_rate=0.01")
    state = Segmenter(settings).fit(data[:16], data[16:20]).state_
    assert state.step < 400
    assert state.step - state.best_step >= 10


def run_script(data: Dataset, run: Path, resume: str, pause: float) -> subprocess.Popen:
    options = [*TINY, "train.steps=24", "train.validate_every=4", "train.threads=1"]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data.root), str(run), resume, str(pause), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_killed_and_resumed_training_ends_with_the_same_weights(data: Dataset, tmp_path: Path) -> None:
    assert run_script(data, tmp_path / "whole", "new", 0).wait() == 0
    victim = run_script(data, tmp_path / "cut", "new", 0.15)
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    step = load_tensors(checkpoint)[1]["state"]["step"]
    assert 0 < step < 24
    assert run_script(data, tmp_path / "cut", "resume", 0).wait() == 0
    whole, cut = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert sha256_of(whole) == sha256_of(cut)
    other = Segmenter(tiny("train.steps=24", "train.validate_every=4", "train.seed=1")).fit(data[:16], data[16:])
    other.save(tmp_path / "other")
    assert sha256_of(tmp_path / "other" / "model.safetensors") != sha256_of(whole)


def test_a_checkpoint_of_other_settings_is_refused(data: Dataset, tmp_path: Path) -> None:
    Segmenter(tiny("train.steps=2", "train.validate_every=2")).fit(data[:16], run=tmp_path)
    with pytest.raises(ConfigError, match="other settings or data"):
        Segmenter(tiny("train.steps=4", "train.validate_every=2")).fit(data[:16], run=tmp_path, resume=True)


def test_a_damaged_checkpoint_is_named(data: Dataset, tmp_path: Path) -> None:
    settings = tiny("train.steps=2", "train.validate_every=2")
    Segmenter(settings).fit(data[:16], run=tmp_path)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(DataError, match="checkpoint"):
        Segmenter(settings).fit(data[:16], run=tmp_path, resume=True)


def test_batches_depend_on_seed_and_step_alone(data: Dataset) -> None:
    settings = CropSettings(64, 3, 0.5, SegmentSettings().augment)
    one = Crops(data, data.classes, 1, settings, seed=3)
    other = Crops(data, data.classes, 1, settings, seed=3, cache_bytes=1)
    one.batch(0)
    for mine, theirs in zip(one.batch(5), other.batch(5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(one.batch(5)[0], one.batch(6)[0])


def test_defect_crops_show_a_defect(data: Dataset) -> None:
    off = SegmentSettings().augment.model_copy(update={"translate": 0.0})
    crops = Crops(data, data.classes, 1, CropSettings(64, 8, 1.0, off), seed=0)
    assert all(crops.batch(step)[1].any(axis=(1, 2, 3)).all() for step in range(4))
    none = Crops(data, data.classes, 1, CropSettings(64, 8, 0.0, off), seed=0)
    assert not all(none.batch(step)[1].any(axis=(1, 2, 3)).all() for step in range(4))


def test_crops_of_a_downscaled_network_come_shrunk(data: Dataset) -> None:
    still = AugmentSettings(flip=False, zoom=0, translate=0, rotate_deg=0, shear_deg=0, light=0, cutout=0)
    full = Crops(data, data.classes, 1, CropSettings(64, 4, 1.0, still), seed=0).batch(0)
    half = Crops(data, data.classes, 1, CropSettings(32, 4, 1.0, still, scale=2), seed=0).batch(0)
    for big, small in zip(full, half, strict=True):
        mean = big.reshape(*big.shape[:2], 32, 2, 32, 2).mean(axis=(3, 5))
        np.testing.assert_allclose(small, mean, atol=1e-3)


def test_healthy_images_alone_cannot_train_a_segmenter(data: Dataset) -> None:
    healthy = data.where(np.array(data.column("healthy")))
    with pytest.raises(DataError, match="no marked defect"):
        Segmenter(tiny("train.steps=1")).fit(healthy)


def test_unknown_kind_and_unknown_key_are_named(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="dent"):
        Segmenter(tiny("kinds=[dent]")).fit(data)
    with pytest.raises(ConfigError, match="learning_rate"):
        tiny("train.learning_rte=1")


def test_few_labels_are_nested_and_balanced(data: Dataset) -> None:
    five, eight = with_labelled(data, 5), with_labelled(data, 8)
    bad5, bad8 = ({s.id for s in d if not s.healthy} for d in (five, eight))
    assert len(bad5) == 5
    assert bad5 < bad8
    assert sum(s.healthy for s in five) == sum(s.healthy for s in data)
    with pytest.raises(ConfigError, match="500"):
        with_labelled(data, 500)


def test_grey_in_rgb_is_learnt_as_grey(tmp_path: Path) -> None:
    from dataclasses import replace

    grey = list(surfaces(4, side=64))
    rgb = [replace(s, pixels=np.repeat(s.image()[:, :, None], 3, axis=2)) for s in grey]
    tinted = [replace(s, pixels=s.image() * np.array([1, 0, 1], np.uint8)) for s in rgb]
    as_rgb = write_dataset(tmp_path / "rgb", rgb, DatasetInfo(name="rgb"))
    as_colour = write_dataset(tmp_path / "colour", tinted, DatasetInfo(name="colour"))
    assert measure(as_rgb, "auto")[0] == 1
    assert measure(as_colour, "auto")[0] == 3


@pytest.mark.parametrize(("thick", "side", "scale"), [(20, 1000, 4), (20, 500, 2), (7, 1000, 2), (3, 1000, 1)])
def test_downscale_keeps_flaws_wide_enough(thick: int, side: int, scale: int, tmp_path: Path) -> None:
    mask = np.zeros((side, side), bool)
    mask[50 : 50 + thick, 50:200] = True
    image = np.zeros((side, side), np.uint8)
    marked = Sample("a", image, False, "scratch", (Defect.from_mask("scratch", mask),))
    boxed = Sample("b", image, False, "scratch", (Defect("scratch", (50, 50, 200, 50 + thick)),))
    masks = write_dataset(tmp_path / "masks", [marked], DatasetInfo(name="masks"))
    boxes = write_dataset(tmp_path / "boxes", [boxed], DatasetInfo(name="boxes"))
    assert auto_downscale(masks, ("scratch",)) == scale
    assert auto_downscale(boxes, ("scratch",)) == 1


def test_learning_rate_warms_up_and_falls() -> None:
    settings = SegmentSettings().train
    rates = [rate_at(step, settings) for step in range(settings.steps)]
    top = int(np.argmax(rates))
    assert settings.warmup - 1 <= top <= settings.warmup
    assert rates[-1] < 0.02 * settings.learning_rate
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))


def test_bf16_follows_the_choice() -> None:
    cpu = torch.device("cpu")
    assert use_bf16("bf16", cpu)
    assert not use_bf16("fp32", cpu)


def test_validation_that_finds_nothing_does_not_keep_the_first_checkpoint(data: Dataset) -> None:
    settings = tiny("train.steps=6", "train.validate_every=2", "train.learning_rate=0.0001")
    model = Segmenter(settings).fit(data[:16], data[16:])
    assert model.state_.best == 0
    alone = Segmenter(settings).fit(data[:16])
    for mine, theirs in zip(model.net_.state_dict().values(), alone.net_.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_healthy_validation_images_alone_judge_nothing(data: Dataset) -> None:
    healthy = data.where(np.array(data.column("healthy")))
    state = Segmenter(tiny("train.steps=4", "train.validate_every=2")).fit(data, healthy).state_
    assert all("score" not in record for record in state.history)


def test_a_model_that_does_not_say_what_it_learnt_from_is_refused(data: Dataset, tmp_path: Path) -> None:
    Segmenter(tiny("train.steps=2")).fit(data[:16]).save(tmp_path)
    tensors, meta = load_tensors(tmp_path / WEIGHTS)
    del tensors[SEEN]
    save_tensors(tmp_path / WEIGHTS, tensors, meta)
    with pytest.raises(DataError, match="train it again"):
        Segmenter.load(tmp_path)


def test_identity_is_that_of_weights_and_region(data: Dataset, tmp_path: Path) -> None:
    model = Segmenter(tiny("train.steps=2")).fit(data[:16])
    model.save(tmp_path)
    roi = np.ones((96, 96), bool)
    assert Segmenter.load(tmp_path).identity() == model.identity()
    assert Segmenter(tiny("train.steps=3")).fit(data[:16]).identity() != model.identity()
    assert model.identity(roi) != model.identity()
