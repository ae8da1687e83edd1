"""Settings that a user writes: every mistake is named with its remedy."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from flawsmith.core.config import Settings, load_settings, read_yaml
from flawsmith.core.errors import ConfigError


class Training(Settings):
    steps: int = Field(400, ge=1)
    rate: float = 0.001
    engine: Literal["cpu", "cuda"] = "cpu"


class Recipe(Settings):
    name: str = "part"
    train: Training = Training()


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_then_file_then_overrides(tmp_path):
    path = written(tmp_path, "name: Welle Ø8\ntrain: {steps: 50, rate: 0.5}")
    settings = load_settings(Recipe, path, ["train.steps=60", " train.engine = cuda"])
    assert settings == Recipe(name="Welle Ø8", train=Training(steps=60, rate=0.5, engine="cuda"))
    assert load_settings(Recipe) == Recipe()
    assert load_settings(Recipe, written(tmp_path, "")) == Recipe()


def test_settings_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam: x", r"unknown key 'nam'. Did you mean 'name'\?"),
        ("train: {step: 3}", r"unknown key 'train.step'. Did you mean 'steps'\?"),
        ("train: {zzz: 3}", "unknown key 'train.zzz'. Known: engine, rate, steps."),
        ("train: {rate: .nan}", "train.rate: Input should be a finite number, got nan"),
        ("train: {rate: .inf}", "train.rate: Input should be a finite number, got inf"),
        ("train: {steps: 0}", "train.steps: Input should be greater than or equal to 1, got 0"),
        ("train: {steps: many}", "train.steps: .*got 'many'"),
        ("train: {engine: gpu}", "train.engine: Input should be 'cpu' or 'cuda', got 'gpu'"),
        ("nam: x\ntrain: {steps: 0}", "train.steps.*; unknown key 'nam'|unknown key 'nam'.*; train.steps"),
        ("- a\n- b", "wanted 'key: value' lines, got a list"),
        ("a: [1", "cannot be read as YAML"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as raised:
        load_settings(Recipe, path)
    assert str(path) in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", "wanted key=value, for example"),
        ("train.step=3", r"unknown key 'train.step'. Did you mean 'steps'\?"),
        ("train.rate=.nan", "finite number"),
        ("name.x=3", "name: Input should be a valid string"),
        ("train={steps: 0}", "greater than or equal to 1"),
        ("train=[1", "cannot be read as YAML"),
    ],
)
def test_mistakes_in_an_override_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(Recipe, overrides=[override])


def test_an_override_does_not_reach_into_a_value(tmp_path):
    with pytest.raises(ConfigError, match="'name' holds a value, not a group of settings"):
        load_settings(Recipe, written(tmp_path, "name: part"), ["name.x=3"])


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing.yaml does not exist"):
        read_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        read_yaml(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        read_yaml(tmp_path / "binary.yaml")
