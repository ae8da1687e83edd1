"""Candidates: the triangles and edges of a part that a `Where` allows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flawsmith.core.errors import ConfigError, nearest
from flawsmith.part.part import Component, Part
from flawsmith.synth.defect.cut import closed, open_solid
from flawsmith.synth.defect.settings import Where
from flawsmith.synth.defect.soup import soup_of


@dataclass(frozen=True, eq=False)
class Candidates:
    """Of every allowed component which triangles of its soup are allowed; their areas are how likely they are."""

    components: tuple[Component, ...]
    allowed: tuple[np.ndarray, ...]  # bool (T,) each


def candidates(part: Part, where: Where, world_from_part: np.ndarray | None, solid: bool) -> Candidates:
    """Raises `ConfigError` that names the first constraint after which no surface is left."""
    chosen = _named(part, where)
    usable = [component for component in chosen if not solid or closed(component)]
    if not usable:
        raise ConfigError(open_solid(chosen[0].name))
    allowed = [np.ones(len(soup_of(component)), bool) for component in usable]
    for what, keep in _tests(part, where, world_from_part):
        allowed = [mask & keep(component) for component, mask in zip(usable, allowed, strict=True)]
        if not any(mask.any() for mask in allowed):
            raise ConfigError(f"part {part.name!r}: no surface is left for a defect after where.{what}; loosen it")
    kept = [(c, mask) for c, mask in zip(usable, allowed, strict=True) if mask.any()]
    return Candidates(tuple(c for c, _ in kept), tuple(mask for _, mask in kept))


def _named(part: Part, where: Where) -> list[Component]:
    names = [component.name for component in part.components]
    for name in where.components:
        if name not in names:
            raise ConfigError(f"where.components: part {part.name!r} has no {name!r}.{nearest(name, names)}")
    return [c for c in part.components if not where.components or c.name in where.components]


def _tests(
    part: Part, where: Where, world_from_part: np.ndarray | None
) -> list[tuple[str, Callable[[Component], np.ndarray]]]:
    """Each constraint with the test that it puts to a component's triangles."""
    tests: list[tuple[str, Callable[[Component], np.ndarray]]] = []
    if where.faces:
        _check_faces(part, where)
        tests.append((f"faces {list(where.faces)}", lambda component: _on_faces(component, where.faces)))
    if where.normal is not None:
        axis = facing_axis(where, world_from_part)
        least = np.cos(np.radians(where.normal.max_deg))
        words = f"normal within {where.normal.max_deg:g}° of {list(where.normal.axis)}"
        tests.append((words, lambda component: soup_of(component).flat @ axis >= least))
    if where.region is not None:
        low, high = np.array(where.region.low), np.array(where.region.high)

        def reaches(component: Component) -> np.ndarray:
            points = soup_of(component).points
            return ((points.min(1) <= high) & (points.max(1) >= low)).all(1)

        tests.append((f"region {list(where.region.low)} … {list(where.region.high)}", reaches))
    return tests


def facing_axis(where: Where, world_from_part: np.ndarray | None) -> np.ndarray:
    """The wanted normal in the part's frame, unit."""
    assert where.normal is not None
    axis = np.array(where.normal.axis) / np.linalg.norm(where.normal.axis)
    if where.normal.frame == "part":
        return axis
    if world_from_part is None:
        raise ConfigError("where.normal.frame is 'stage', but the part does not stand on one here; wanted 'part'")
    return world_from_part[:3, :3].T @ axis


def _check_faces(part: Part, where: Where) -> None:
    names = [name for component in part.components for name in component.face_names]
    for face in where.faces:
        if isinstance(face, str) and face not in names:
            known = nearest(face, names) if names else " It names none: use face numbers, where.normal or where.region."
            raise ConfigError(f"where.faces: part {part.name!r} has no face {face!r}.{known}")
    if all(component.face_of is None for component in part.components):
        raise ConfigError(
            f"where.faces: part {part.name!r} was not read with its CAD faces (meshes have none); "
            "use where.normal or where.region"
        )


def _on_faces(component: Component, faces: tuple[str | int, ...]) -> np.ndarray:
    soup = soup_of(component)
    if component.face_of is None:
        return np.zeros(len(soup), bool)
    numbers = {component.face_names.index(f) if isinstance(f, str) else f for f in faces if _has(component, f)}
    return np.isin(component.face_of[soup.face], list(numbers))


def _has(component: Component, face: str | int) -> bool:
    return not isinstance(face, str) or face in component.face_names
