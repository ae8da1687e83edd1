"""What is wrong with a scene file, one line per mistake: file, line, column, key, and what to write instead."""

from collections.abc import Iterator, Sequence
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from flawsmith.core.errors import nearest
from flawsmith.synth.yaml_lines import Key, Marked

Path = tuple[Key, ...]


def explained(model: type[BaseModel], error: ValidationError, marked: Marked) -> str:
    """All mistakes, in the order in which they stand in the file."""
    found: dict[Path, str] = {}
    for detail in error.errors():
        path = _written(marked.values, detail["loc"])
        if path not in found:
            found[path] = _message(model, path, dict(detail), marked)
    # A union reports each of its members: what is said of a part of a value is nearer than what is said of the whole.
    kept = [p for p in found if not any(len(q) > len(p) and q[: len(p)] == p for q in found)]
    kept.sort(key=lambda p: (marked.at(*p).source, marked.at(*p).line, marked.at(*p).column))
    return "\n".join(f"{marked.at(*path)}: {found[path]}" for path in kept)


def _written(values: Any, loc: Sequence[Key]) -> Path:
    """The keys of `loc` that are in the file; pydantic puts names of union members between them."""
    path: list[Key] = []
    for key in loc:
        holds = range(len(values)) if isinstance(values, list) else values if isinstance(values, dict) else ()
        if key in holds:
            values = cast(Any, values)[key]
            path.append(key)
    return tuple(path)


def _message(model: type[BaseModel], path: Path, detail: dict[str, Any], marked: Marked) -> str:
    dotted = ".".join(str(k) for k in path)
    kind, given = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {dotted!r}.{nearest(str(path[-1]), known_keys(model, path[:-1]))}"
    if kind == "missing":
        return f"{dotted or 'the file'} lacks {detail['loc'][-1]!r}: add it"
    if kind == "union_tag_not_found":
        return f"{dotted} lacks {context['discriminator']}: add it"
    if kind == "union_tag_invalid":
        known = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
        return f"{dotted}: {context['discriminator']} {context['tag']!r} is not known.{nearest(context['tag'], known)}"
    text = detail["msg"].removeprefix("Value error, ")
    return f"{dotted}: {text}, got {_brief(given)}" if kind != "value_error" else f"{dotted}: {text}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """Every key that may stand at `path`, whichever member of a union is meant there."""
    places: list[Any] = [model]
    for key in path:
        places = [inner for place in places for inner in _below(place, key)]
    return sorted({name for place in places if _is_model(place) for name in place.model_fields})


def _below(place: Any, key: Key) -> Iterator[Any]:
    """What a type holds at `key`, unions and Annotated taken apart."""
    if _is_model(place):
        if key in place.model_fields:
            yield from _members(place.model_fields[str(key)].annotation)
        return
    inside = [a for a in get_args(place) if a is not Ellipsis]
    if get_origin(place) is dict:
        inside = inside[1:]
    for inner in inside:
        yield from _members(inner)


def _members(annotation: Any) -> Iterator[Any]:
    if _is_model(annotation) or get_origin(annotation) in (dict, tuple, list):
        yield annotation
        return
    for inner in get_args(annotation):
        yield from _members(inner)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
