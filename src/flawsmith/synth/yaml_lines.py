"""YAML whose values remember the file, line and column that they were written at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flawsmith.core.errors import ConfigError

Key = str | int
MAX_NODES = 50_000


@dataclass(frozen=True)
class Mark:
    """Where a value is written; line and column count from 1, line 0 is outside any file."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Marked:
    """Plain values, and the mark of each by its path of keys and list places."""

    values: dict[str, Any]
    marks: Mapping[tuple[Key, ...], Mark] = field(default_factory=dict)

    def at(self, *path: Key) -> Mark:
        """The mark of `path`, or of the nearest thing above it that was written."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, Mark("settings"))


def read_marked(path: Path, name: str = "") -> Marked:
    """Raise `ConfigError` with the line for what is no YAML, is written twice, or is no mapping."""
    name = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}") from error
    return parse_marked(text, name)


def parse_marked(text: str, name: str) -> Marked:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Marked({}, {(): Mark(name, 1, 1)})
        _refuse_twice(root, name)
        values = loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = Mark(name, mark.line + 1, mark.column + 1) if mark else Mark(name)
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from None
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise ConfigError(f"{Mark(name, 1, 1)}: wanted 'key: value' lines, got a {type(values).__name__}")
    marks: dict[tuple[Key, ...], Mark] = {}
    _collect(root, (), name, marks)
    return Marked(values, marks)


def overlay(under: Marked, over: Marked) -> Marked:
    """`over` laid on `under`: mappings merge key by key, anything else replaces, `null` takes the key away.

    A mapping that holds another one-of (`{uniform: …}` over `{normal: …}`) replaces it, since both cannot hold.
    """
    values = dict(under.values)
    marks = {**under.marks, **{p: mark for p, mark in over.marks.items() if not p}}
    _lay(values, over.values, (), marks, over.marks)
    return Marked(values, marks)


def override(marked: Marked, settings: Iterable[str]) -> Marked:
    """`a.b=c` settings laid on top; a whole number in the path is a place in a list."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: wanted key=value, for example cameras.top.focal_mm=25")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting!r}: {text!r} cannot be read as YAML; quote it") from error
        path = tuple(int(k) if k.isdigit() else k for k in key.strip().split("."))
        marked = Marked(_put(marked.values, path, value, setting), _marked_at(marked.marks, path, setting))
    return marked


def _refuse_twice(root: yaml.Node, name: str) -> None:
    """PyYAML takes the last of two equal keys in silence; a spec with one light lost must not pass."""
    stack, seen = [root], 0
    while stack:
        node = stack.pop()
        seen += 1
        if seen > MAX_NODES:
            raise ConfigError(f"{name}: more than {MAX_NODES:,} values once its anchors are followed; write it smaller")
        if isinstance(node, yaml.MappingNode):
            first: dict[str, yaml.Mark] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in first:
                        where = Mark(name, key.start_mark.line + 1, key.start_mark.column + 1)
                        raise ConfigError(
                            f"{where}: {key.value!r} is already set in line {first[key.value].line + 1}; remove one"
                        )
                    first[key.value] = key.start_mark
                stack.append(value)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend(node.value)


def _collect(node: yaml.Node, path: tuple[Key, ...], name: str, marks: dict[tuple[Key, ...], Mark]) -> None:
    marks.setdefault(path, Mark(name, node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*path, key.value)
            marks[place] = Mark(name, key.start_mark.line + 1, key.start_mark.column + 1)
            _collect(value, place, name, marks)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect(value, (*path, index), name, marks)


DISTRIBUTIONS = ("uniform", "log_uniform", "normal", "von_mises", "choice")


def _lay(
    values: dict[str, Any],
    over: Mapping[str, Any],
    path: tuple[Key, ...],
    marks: dict[tuple[Key, ...], Mark],
    over_marks: Mapping[tuple[Key, ...], Mark],
) -> None:
    for key, value in over.items():
        place = (*path, key)
        old = values.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and not _rivals(old, value):
            values[key] = dict(old)
            marks[place] = over_marks.get(place, Mark("settings"))
            _lay(values[key], value, place, marks, over_marks)
            continue
        for stale in [p for p in marks if p[: len(place)] == place]:
            del marks[stale]
        if value is None:
            values.pop(key, None)
            continue
        values[key] = value
        marks.update({p: mark for p, mark in over_marks.items() if p[: len(place)] == place})


def _rivals(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether one is a distribution, or both are of a different kind: then keys of one mean nothing in the other."""
    if any(d in old or d in new for d in DISTRIBUTIONS):
        return True
    return "kind" in new and "kind" in old and new["kind"] != old["kind"]


def _put(values: Any, path: tuple[Key, ...], value: Any, setting: str) -> Any:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(values, list):
        if not isinstance(key, int) or key >= len(values):
            raise ConfigError(f"--set {setting!r}: {key!r} is no place in a list of {len(values)} (0 is the first)")
        return [_put(v, rest, value, setting) if i == key else v for i, v in enumerate(values)]
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"--set {setting!r}: {values!r} is a value, not a group of settings")
    return {**values, str(key): _put(values.get(str(key)), rest, value, setting)}


def _marked_at(
    marks: Mapping[tuple[Key, ...], Mark], path: tuple[Key, ...], setting: str
) -> dict[tuple[Key, ...], Mark]:
    kept = {p: mark for p, mark in marks.items() if p[: len(path)] != path}
    return {**kept, path: Mark(f"--set {setting}")}
