"""Settings that a user writes: YAML into pydantic models, `--set a.b=c`, errors that name the nearest key."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from flawsmith.core.errors import ConfigError, nearest


class Settings(BaseModel):
    """Base of every settings model: immutable, unknown keys refused, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


S = TypeVar("S", bound=BaseModel)


def load_settings(model: type[S], path: Path | None = None, overrides: Iterable[str] = ()) -> S:
    """Defaults, then the YAML file, then `a.b=c` overrides. Raises `ConfigError` naming the key and the remedy."""
    values = read_yaml(path) if path else {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override!r}: wanted key=value, for example train.steps=400")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override!r}: {text!r} cannot be read as YAML; quote it") from error
        _put(values, key.strip().split("."), value, override)
    return validate(model, values, str(path or "settings"))


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: wanted 'key: value' lines, got a {type(values).__name__}")
    return values


def validate(model: type[S], values: Any, where: str) -> S:
    """`values` as `model`, or a `ConfigError` with one line per mistake."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_line(model, dict(e)) for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(lines)) from None


def _put(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {key!r} holds a value, not a group of settings")
    values[keys[-1]] = value


def _line(model: type[BaseModel], error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}.{nearest(str(error['loc'][-1]), _keys(model, error['loc'][:-1]))}"
    return f"{key + ': ' if key else ''}{error['msg']}, got {_brief(error['input'])}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(model: type[BaseModel], path: tuple) -> list[str]:
    """The keys known at `path`; parts of it that are no field are the free keys of a mapping or places in a list."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = _model_in(field.annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings model in `Model`, `Model | None`, `dict[str, Model]` or `tuple[Model, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
